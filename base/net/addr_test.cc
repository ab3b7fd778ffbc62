#include "base/net/addr.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace base {
namespace {

TEST(IpAddr, ParsesAndPrintsBothFamilies) {
  for (const char* s : {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::1:2", "2001:db8::a"})
    EXPECT_EQ(IpAddr::parse(s).value().str(), s);
  EXPECT_EQ(IpAddr::parse("2001:0DB8:0::A")->str(), "2001:db8::a");
}

TEST(IpAddr, AMappedAddressIsIpv4) {
  IpAddr a = IpAddr::parse("::ffff:1.2.3.4").value();
  EXPECT_TRUE(a.is_v4());
  EXPECT_EQ(a, IpAddr::v4(0x01020304));
}

TEST(IpAddr, RefusesWhatIsNoAddress) {
  using namespace std::literals;
  for (std::string_view s : {""sv, "1.2.3"sv, "1.2.3.4.5"sv, "256.1.1.1"sv, " 1.2.3.4"sv, "1.2.3.4 "sv, ":::"sv, "fe80::1%eth0"sv, "[::1]"sv,
                             "1.2.3.4\0"sv, "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"sv})
    EXPECT_FALSE(IpAddr::parse(s)) << s;
}

TEST(IpAddr, KnowsItsRange) {
  auto p = [](const char* s) { return IpAddr::parse(s).value(); };
  EXPECT_TRUE(p("127.9.9.9").is_loopback() && p("::1").is_loopback());
  EXPECT_FALSE(p("128.0.0.1").is_loopback() || p("::2").is_loopback() || p("::").is_loopback());
  EXPECT_TRUE(p("169.254.96.16").is_link_local() && p("fe80::1").is_link_local() && p("febf::1").is_link_local());
  EXPECT_FALSE(p("169.253.0.1").is_link_local() || p("fec0::1").is_link_local());
  EXPECT_TRUE(p("224.0.0.1").is_multicast() && p("239.1.1.1").is_multicast() && p("ff02::1").is_multicast());
  EXPECT_FALSE(p("240.0.0.1").is_multicast() || p("fe02::1").is_multicast());
  for (const char* s : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.0.1", "fd00::1", "fc00::1"})
    EXPECT_TRUE(p(s).is_private()) << s;
  for (const char* s : {"11.0.0.1", "172.32.0.1", "192.169.0.1", "100.128.0.1", "8.8.8.8", "fe00::1", "2001:db8::1"})
    EXPECT_FALSE(p(s).is_private()) << s;
  EXPECT_TRUE(p("0.0.0.0").is_any() && p("::").is_any() && IpAddr().is_any());
}

TEST(IpPort, RoundTripsWithBracketsForIpv6) {
  for (const char* s : {"10.0.0.1:53", "[fd00::1]:65535", "0.0.0.0:0"}) EXPECT_EQ(IpPort::parse(s).value().str(), s);
  for (const char* s : {"10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:5x", "fd00::1:53", "[10.0.0.1]:53", "[]:1", ":1"})
    EXPECT_FALSE(IpPort::parse(s)) << s;
}

TEST(Cidr, HostBitsAreDropped) {
  EXPECT_EQ(Cidr::parse("10.1.2.3/12")->str(), "10.0.0.0/12");
  EXPECT_EQ(Cidr::parse("fd00:ffff::1/17")->str(), "fd00:8000::/17");
  EXPECT_EQ(Cidr::parse("1.2.3.4")->str(), "1.2.3.4/32");
  EXPECT_EQ(Cidr::parse("1.2.3.4/0")->str(), "0.0.0.0/0");
  for (const char* s : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "/8"}) EXPECT_FALSE(Cidr::parse(s)) << s;
}

TEST(Cidr, ContainsAndOverlaps) {
  auto c = [](const char* s) { return Cidr::parse(s).value(); };
  auto a = [](const char* s) { return IpAddr::parse(s).value(); };
  EXPECT_TRUE(c("10.0.0.0/9").contains(a("10.127.0.1")));
  EXPECT_FALSE(c("10.0.0.0/9").contains(a("10.128.0.1")));
  EXPECT_TRUE(c("0.0.0.0/0").contains(a("1.1.1.1")));
  EXPECT_FALSE(c("0.0.0.0/0").contains(a("::1")));
  EXPECT_TRUE(c("fd00::/8").contains(c("fd12::/16")));
  EXPECT_FALSE(c("fd12::/16").contains(c("fd00::/8")));
  EXPECT_TRUE(c("fd12::/16").overlaps(c("fd00::/8")));
  EXPECT_FALSE(c("10.0.0.0/16").overlaps(c("10.1.0.0/16")));
}

TEST(IpAddr, HashesApart) {
  std::unordered_set<IpPort> s;
  for (uint16_t i = 0; i < 1000; ++i) s.insert({IpAddr::v4(0x0a000000u + i), uint16_t(1000 + i)});
  EXPECT_EQ(s.size(), 1000u);
  EXPECT_TRUE(s.contains(IpPort::parse("10.0.3.231:1999").value()));
}

}  // namespace
}  // namespace base
