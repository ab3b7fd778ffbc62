#include "tunnel/stun/nat_class.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

base::IpPort at(const char* s) { return *base::IpPort::parse(s); }
const std::vector<base::IpPort> kOwn = {at("192.168.1.10:20006")};
const char *kOne = "198.51.100.1:443", *kTwo = "198.51.100.2:443", *kTwoOther = "198.51.100.2:444";

NatClass of(std::vector<std::pair<const char*, const char*>> seen, std::vector<base::IpPort> own = kOwn) {
  std::vector<NatSample> samples;
  for (auto [server, mapped] : seen) samples.push_back({at(server), at(mapped)});
  return classify_nat(samples, own);
}

TEST(NatClass, OneServerTellsNothingButThatThereIsNoNat) {
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}}).mapping, NatMapping::unknown);
  EXPECT_EQ(of({}).mapping, NatMapping::unknown);
  EXPECT_EQ(of({{kOne, "203.0.113.1:20006"}}, {at("10.0.0.1:20006"), at("203.0.113.1:20006")}).mapping, NatMapping::none);
}

TEST(NatClass, OneAddressSeenByAllIsIndependent) {
  NatClass c = of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:5000"}});
  EXPECT_EQ(c.mapping, NatMapping::independent);
  EXPECT_FALSE(c.keeps_port);
  EXPECT_FALSE(c.is_hard());
  EXPECT_TRUE(of({{kOne, "203.0.113.1:20006"}, {kTwo, "203.0.113.1:20006"}}).keeps_port);
}

TEST(NatClass, TheSecondPortOfOneAddressTellsWhatItDependsOn) {
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:41000"}, {kTwoOther, "203.0.113.1:41000"}}).mapping, NatMapping::address);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:41000"}, {kTwoOther, "203.0.113.1:2000"}}).mapping, NatMapping::endpoint);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:41000"}}).mapping, NatMapping::endpoint);
}

TEST(NatClass, PortsThatGoUpSlowlyCanBePredicted) {
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:5001"}, {kTwoOther, "203.0.113.1:5003"}}).delta, 1);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:4998"}, {kTwoOther, "203.0.113.1:4996"}}).delta, -2);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:5001"}, {kTwoOther, "203.0.113.1:4999"}}).delta, 0);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:5100"}}).delta, 0);
  EXPECT_EQ(of({{kOne, "203.0.113.1:5000"}, {kTwo, "203.0.113.1:5001"}}).str(), "address-and-port-dependent, ports +1");
}

TEST(NatClass, Ipv6SaysNothingAboutTheNatOfIpv4) {
  EXPECT_EQ(of({{"[2001:db8::1]:443", "[2001:db8::9]:7"}, {kOne, "203.0.113.1:5000"}}).mapping, NatMapping::unknown);
}

}  // namespace
}  // namespace tunnel
