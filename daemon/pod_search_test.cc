#include "daemon/pod_search.h"

#include <gtest/gtest.h>

namespace edgemeshd {
namespace {

using base::conf::DnsAutopath;
using base::kube::Object;
using base::kube::PackedObject;
using base::kube::PodObject;

struct PodSearchTest : testing::Test {
  PodSearch search{"node-a"};
  PackedObject pod(const char* ns, const char* name, const char* ip, const char* label = "",
                   PodObject body = {.node = "node-a", .phase = "Running"}) {
    Object o;
    o.id = {ns, name};
    if (*label) o.labels[PodSearch::kLabel] = label;
    body.ips = {*base::IpAddr::parse(ip)};
    o.body = body;
    return o;
  }
  std::string at(const char* ip) {
    auto* ns = search.namespace_of(*base::IpAddr::parse(ip));
    return ns ? *ns : "-";
  }
};

TEST_F(PodSearchTest, LabelledPodsOptInAndUnderAllSomeOptOut) {
  search.changed({}, pod("shop", "a", "10.1.0.1", "true"));
  search.changed({}, pod("shop", "b", "10.1.0.2"));
  search.changed({}, pod("shop", "c", "10.1.0.3", "false"));
  EXPECT_EQ(at("10.1.0.1"), "-") << "nobody, unless it is configured";
  search.choose(DnsAutopath::labelled);
  EXPECT_EQ(at("10.1.0.1"), "shop");
  EXPECT_EQ(at("10.1.0.2"), "-");
  search.choose(DnsAutopath::all);
  EXPECT_EQ(at("10.1.0.2"), "shop");
  EXPECT_EQ(at("10.1.0.3"), "-");
  EXPECT_EQ(at("10.1.0.9"), "-");
}

TEST_F(PodSearchTest, FollowsLabelAddressAndEnd) {
  search.choose(DnsAutopath::labelled);
  auto a = pod("shop", "a", "10.1.0.1"), b = pod("shop", "a", "10.1.0.1", "true"), c = pod("shop", "a", "10.1.0.7", "true");
  search.changed({}, a);
  EXPECT_EQ(at("10.1.0.1"), "-");
  search.changed(a, b);
  EXPECT_EQ(at("10.1.0.1"), "shop");
  search.changed(b, c);
  EXPECT_EQ(at("10.1.0.1"), "-");
  EXPECT_EQ(at("10.1.0.7"), "shop");
  search.changed(c, {});
  EXPECT_EQ(at("10.1.0.7"), "-");
}

TEST_F(PodSearchTest, AnAddressThatTwoPodsHaveIsNobodysUnlessTheyAgree) {
  search.choose(DnsAutopath::all);
  auto a = pod("shop", "a", "10.1.0.1"), b = pod("bank", "b", "10.1.0.1"), c = pod("shop", "c", "10.1.0.1");
  search.changed({}, a);
  search.changed({}, b);
  EXPECT_EQ(at("10.1.0.1"), "-") << "the address was given to another pod, and the first one is not known to have ended";
  search.changed(a, {});
  EXPECT_EQ(at("10.1.0.1"), "bank");
  search.changed(b, {});
  search.changed({}, c);
  search.changed({}, a);
  EXPECT_EQ(at("10.1.0.1"), "shop");
}

TEST_F(PodSearchTest, NotPodsOfOtherNodesOfTheHostsNetworkOrThatEnded) {
  search.choose(DnsAutopath::all);
  search.changed({}, pod("shop", "far", "10.1.0.1", "", {.node = "node-b", .phase = "Running"}));
  search.changed({}, pod("shop", "host", "10.1.0.2", "", {.node = "node-a", .phase = "Running", .host_network = true}));
  search.changed({}, pod("shop", "done", "10.1.0.3", "", {.node = "node-a", .phase = "Succeeded"}));
  search.changed({}, pod("shop", "anywhere", "10.1.0.4", "", {.phase = "Pending"}));
  EXPECT_EQ(at("10.1.0.1") + at("10.1.0.2") + at("10.1.0.3"), "---");
  EXPECT_EQ(at("10.1.0.4"), "shop");
}

}  // namespace
}  // namespace edgemeshd
