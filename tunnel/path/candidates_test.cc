#include "tunnel/path/candidates.h"

#include <gtest/gtest.h>

#include "base/core/limits.h"

namespace tunnel {
namespace {

base::IpPort at(const char* s) { return *base::IpPort::parse(s); }
CandidateRules rules() {
  CandidateRules r;
  r.refused = {*base::Cidr::parse("100.64.0.0/10"), *base::Cidr::parse("10.42.0.0/16")};
  r.tun = "em-tun0";
  r.interfaces_exclude = {"wg*", "eth9"};
  return r;
}

TEST(Candidates, APeerCannotAimChecksWhereTheyDoHarm) {
  for (const char* bad : {"127.0.0.1:20006", "[::1]:20006", "0.0.0.0:20006", "[::]:20006", "169.254.169.254:20006", "[fe80::1]:20006",
                          "224.0.0.1:20006", "239.1.2.3:20006", "[ff02::1]:20006", "255.255.255.255:20006", "100.64.1.2:20006",
                          "10.42.3.4:20006", "[::ffff:127.0.0.1]:20006", "192.0.2.1:53", "192.0.2.1:1023", "192.0.2.1:0"})
    EXPECT_FALSE(may_check(at(bad), rules())) << bad;
  for (const char* good : {"192.0.2.1:1024", "192.168.1.5:20006", "[2001:db8::5]:65535"}) EXPECT_TRUE(may_check(at(good), rules())) << good;
}

TEST(Candidates, ForeignInterfacesAreNotOffered) {
  for (const char* name : {"lo", "docker0", "cni0", "veth12ab", "br-4f", "em-tun0", "wg0", "eth9", "flannel.1", "edgemesh0"})
    EXPECT_TRUE(is_interface_excluded(name, rules())) << name;
  for (const char* name : {"eth0", "eth90", "enp3s0", "wlan0", "wwan0", "lo0x"}) EXPECT_FALSE(is_interface_excluded(name, rules())) << name;
}

TEST(Candidates, OnlyIncludedInterfacesAreOfferedAndExcludedOnesNever) {
  CandidateRules r = rules();
  r.interfaces_include = {"eth*", "docker0", "wg0"};
  for (const char* name : {"eth0", "docker0"}) EXPECT_FALSE(is_interface_excluded(name, r)) << name;
  for (const char* name : {"wlan0", "eth9", "wg0", "em-tun0", "lo"}) EXPECT_TRUE(is_interface_excluded(name, r)) << name;
}

TEST(Candidates, OfTheHostAreUsableAddressesOfUsableInterfaces) {
  std::vector<base::netlink::Link> links(5);
  const char* names[] = {"lo", "eth0", "docker0", "eth1", "em-tun0"};
  for (int i = 0; i < 5; i++) {
    links[size_t(i)].index = i + 1;
    links[size_t(i)].name = names[i];
    links[size_t(i)].up = i != 3;
    links[size_t(i)].loopback = i == 0;
  }
  auto address = [](int link, const char* ip) {
    base::netlink::Address a;
    a.link = link;
    a.ip = *base::IpAddr::parse(ip);
    return a;
  };
  for (size_t i = 0; i < 5; i++) links[i].mtu = uint32_t(i == 1 ? 1400 : 9000);
  EXPECT_EQ(usable_mtu(links, {address(2, "192.168.1.5"), address(3, "172.17.0.1"), address(5, "100.64.0.9")}, rules()), 1400u);
  EXPECT_EQ(usable_mtu(links, {}, rules()), 1500u);
  auto found = host_candidates(links, {address(1, "127.0.0.1"), address(2, "192.168.1.5"), address(2, "fe80::1"), address(2, "2001:db8::5"),
                                       address(3, "172.17.0.1"), address(4, "10.0.0.1"), address(5, "100.64.0.9"), address(9, "10.9.9.9")},
                               20006, rules());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].at.str(), "192.168.1.5:20006");
  EXPECT_EQ(found[1].at.str(), "[2001:db8::5]:20006");
}

TEST(Candidates, TheMostUsefulSurviveTheBound) {
  std::vector<Candidate> many;
  for (uint32_t i = 0; i < 40; i++) many.push_back({CandidateKind::host, {base::IpAddr::v4(0xc0a80001u + i), 20006}});
  many.push_back({CandidateKind::srflx, at("198.51.100.1:4001")});
  many.push_back({CandidateKind::host, at("198.51.100.1:4001")});  // the same address again
  many.push_back({CandidateKind::advertised, at("203.0.113.9:20006")});
  many.push_back({CandidateKind::host, at("[2001:db8::5]:20006")});
  auto kept = bounded(many);
  ASSERT_EQ(kept.size(), base::limits::kCandidatesPerPeerMax);
  EXPECT_EQ(kept[0].at.str(), "203.0.113.9:20006");
  EXPECT_EQ(kept[1].at.str(), "198.51.100.1:4001");
  EXPECT_EQ(kept[1].kind, CandidateKind::srflx);
  EXPECT_EQ(kept[2].at.str(), "[2001:db8::5]:20006");  // no NAT in between
  EXPECT_EQ(std::count_if(kept.begin(), kept.end(), [](const auto& c) { return c.at == at("198.51.100.1:4001"); }), 1);
}

}  // namespace
}  // namespace tunnel
