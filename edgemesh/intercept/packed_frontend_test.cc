#include "edgemesh/intercept/packed_frontend.h"

#include <gtest/gtest.h>

#include "edgemesh/intercept/address_counts.h"

namespace edgemesh::detail {
namespace {

base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

TEST(PackedFrontend, GivesBackEveryField) {
  Frontend f{Frontend::Mode::hold, Frontend::Policy::source_hash, std::chrono::seconds(0), {{ip("10.0.0.1"), 80, 3}, {ip("fd00::1"), 65535, 0}}};
  EXPECT_EQ(unpack(pack(f)), f);
  EXPECT_EQ(unpack(pack(Frontend())), Frontend());
  Frontend other = f;
  other.backends[1].weight = 1;
  EXPECT_NE(pack(f).view(), pack(other).view());
  other = f;
  other.backends[0].here = false;
  EXPECT_EQ(unpack(pack(other)), other);
}

TEST(AddressCounts, CountsUpAndDown) {
  AddressCounts c;
  c.add({{ip("10.0.0.2"), 1}, {ip("10.0.0.1"), 2}});
  c.add({{ip("10.0.0.3"), 1}, {ip("10.0.0.1"), -1}, {ip("10.0.0.2"), -1}, {ip("10.0.0.9"), 0}});
  EXPECT_EQ(c.of(ip("10.0.0.1")), 1);
  EXPECT_EQ(c.of(ip("10.0.0.2")), 0);
  EXPECT_EQ(c.of(ip("10.0.0.3")), 1);
  EXPECT_EQ(c.all(), (std::vector<base::IpAddr>{ip("10.0.0.1"), ip("10.0.0.3")}));
  std::map<base::IpAddr, int> up, down;
  for (uint32_t i = 0; i < 100; ++i) up[base::IpAddr::v4(i + 1)] = 1, down[base::IpAddr::v4(i + 1)] = -1;
  for (int round = 0; round < 3; ++round) {
    c.add(up);
    EXPECT_EQ(c.all().size(), 102u);
    c.add({{base::IpAddr::v4(uint32_t(7)), -1}});
    EXPECT_EQ(c.of(base::IpAddr::v4(uint32_t(7))), 0);
    EXPECT_EQ(c.all().size(), 101u);
    c.add({{base::IpAddr::v4(uint32_t(7)), 1}});
    c.add(down);
    EXPECT_EQ(c.all(), (std::vector<base::IpAddr>{ip("10.0.0.1"), ip("10.0.0.3")}));
  }
}

}  // namespace
}  // namespace edgemesh::detail
