#include "daemon/pod_index.h"

#include <gtest/gtest.h>

#include "dns/zone/memory_table.h"

namespace edgemeshd {
namespace {

TEST(PodIndex, KnowsAnAddressInItsNamespaceOnlyAndFollowsTheTable) {
  base::kube::Service s;
  s.id = {"shop", "web"};
  base::kube::Endpoint e;
  e.ip = *base::IpAddr::parse("172.17.0.2");
  base::kube::ServicePort p;
  p.endpoints = {e};
  s.ports = {p};
  dns::testing::MemoryTable table;
  PodIndex pods;
  EXPECT_FALSE(pods.exists(table, "shop", e.ip));
  table.put(s);
  table.gen++;
  EXPECT_TRUE(pods.exists(table, "shop", e.ip));
  EXPECT_FALSE(pods.exists(table, "bank", e.ip));
  EXPECT_FALSE(pods.exists(table, "shop", *base::IpAddr::parse("172.17.0.3")));
}

}  // namespace
}  // namespace edgemeshd
