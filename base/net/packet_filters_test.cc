// Filters as docker, ufw, firewalld and operators write them, in namespaces of the test's own.
#include "base/net/packet_filters.h"

#include "base/net/netns_testing.h"

namespace base {
namespace {

using testing::InNs;
using testing::NetNs;

struct Filters : ::testing::Test {
  NetNs ns;
  void SetUp() override {
    if (!ns.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
    ns.sh("ip link add cni0 type bridge; ip link add docker0 type bridge; ip link add edgemesh0 type bridge");
  }
  void nft(std::string text) {  // nft wants a line's end between closing braces
    for (size_t at; (at = text.find("} }")) != text.npos;) text.replace(at, 3, "}\n}");
    ASSERT_EQ(ns.sh("nft -f - <<'X'\n" + text + "\nX\n"), 0) << text;
  }
  static TriedPacket through(bool dnat = true, const std::string& iif = "cni0", const std::string& oif = "edgemesh0") {
    return {nft::Hook::forward, iif, oif, *IpAddr::parse("10.244.1.2"), *IpAddr::parse("100.64.0.2"), Proto::tcp, 20001, dnat};
  }
  static TriedPacket to_dns(const std::string& iif = "cni0") {
    return {nft::Hook::input, iif, "", *IpAddr::parse("10.244.1.2"), *IpAddr::parse("169.254.96.16"), Proto::udp, 53, false};
  }
  std::string refused(const TriedPacket& p) {
    InNs in(ns);
    auto f = PacketFilters::read("edgemesh");
    if (!f) return f.error().what;
    auto r = f->refuses(p);
    return r ? r->where() : "";
  }
};

TEST_F(Filters, AnOpenHostRefusesNothing) {
  EXPECT_EQ(refused(through()), "");
  nft("table ip filter { chain FORWARD { type filter hook forward priority filter; policy accept; } }");
  EXPECT_EQ(refused(through()), "");
}

TEST_F(Filters, DockersPolicyIsNamedUntilTheOperatorsRuleOpensIt) {
  nft(R"(table ip filter {
    chain DOCKER-USER { return
    }
    chain FORWARD { type filter hook forward priority filter; policy drop;
      jump DOCKER-USER
      oifname "docker0" ct state established,related accept
      iifname "docker0" oifname != "docker0" accept
    } })");
  EXPECT_EQ(refused(through()), "chain FORWARD of table ip filter (its policy drops)");
  EXPECT_EQ(refused(through(true, "docker0")), "") << "docker lets its own bridge out";
  nft("insert rule ip filter DOCKER-USER ct status dnat accept");
  EXPECT_EQ(refused(through()), "");
  EXPECT_NE(refused(through(false)), "") << "what is not rewritten stays closed";
  nft("insert rule ip filter DOCKER-USER oifname \"edgemesh0\" accept");
  EXPECT_EQ(refused(through(false)), "");
}

TEST_F(Filters, ATerminalRejectClosesAsAPolicyDoes) {
  nft(R"(table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
    ct state established,related accept
    iifname "lo" accept
    jump zones
    reject with icmpx type admin-prohibited
  }
  chain zones { iifname "eth0" drop
  } })");
  EXPECT_EQ(refused(through()), "chain filter_FORWARD of table inet firewalld (a rule of chain filter_FORWARD drops)");
  EXPECT_EQ(refused(through(true, "eth0")), "chain filter_FORWARD of table inet firewalld (a rule of chain zones drops)");
}

TEST_F(Filters, AddressesAreCompared) {
  nft(R"(table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop;
    ip saddr 10.244.0.0/16 accept
  } })");
  EXPECT_EQ(refused(through()), "");
  auto p = through();
  p.src = *IpAddr::parse("10.245.1.2");
  EXPECT_NE(refused(p), "");
}

TEST_F(Filters, WhatIsNotUnderstoodDecidesNothing) {
  nft(R"(table ip filter {
    set some { type ipv4_addr; elements = { 10.244.1.2 } }
    chain FORWARD { type filter hook forward priority filter; policy drop; ip saddr @some accept
    }
    chain INPUT { type filter hook input priority filter; policy accept; ip saddr @some drop
    } })");
  EXPECT_NE(refused(through()), "");
  EXPECT_EQ(refused(to_dns()), "");
}

TEST_F(Filters, InputAndItsOpeningByUs) {
  nft(R"(table inet site { chain in { type filter hook input priority filter; policy drop;
    iifname "lo" accept
    tcp dport 22 accept
  } })");
  EXPECT_EQ(refused(to_dns()), "chain in of table inet site (its policy drops)");
  EXPECT_EQ(refused(to_dns("lo")), "");
  std::string before = ns.out("nft list ruleset");
  {
    InNs in(ns);
    auto r = PacketFilters::read("edgemesh")->refuses(to_dns());
    ASSERT_TRUE(insert_accept(*r, *IpAddr::parse("169.254.96.16"), "edgemeshd test"));
  }
  EXPECT_EQ(refused(to_dns()), "");
  EXPECT_NE(ns.out("nft list ruleset").find("ip daddr 169.254.96.16 counter packets 0 bytes 0 accept comment \"edgemeshd test\""), std::string::npos)
      << ns.out("nft list ruleset");
  {
    InNs in(ns);
    EXPECT_EQ(remove_tagged_rules("edgemeshd test").value_or(0), 1u);
  }
  EXPECT_EQ(ns.out("nft list ruleset"), before);
}

// iptables in both its forms, where it is installed.
TEST_F(Filters, Iptables) {
  if (ns.sh("command -v iptables-nft iptables-legacy >/dev/null")) GTEST_SKIP() << "iptables is not installed";
  for (std::string tool : {"iptables-nft", "iptables-legacy"}) {
    std::string suffix = tool == "iptables-nft" ? "" : " (iptables-legacy)";
    if (ns.sh(tool + " -P FORWARD DROP")) continue;  // a kernel without ip_tables
    ns.sh(tool + " -N A; " + tool + " -A FORWARD -j A; " + tool + " -A A -o docker0 -j ACCEPT; " + tool + " -A A -j RETURN");
    EXPECT_EQ(refused(through()), "chain FORWARD of table ip filter" + suffix + " (its policy drops)") << tool;
    EXPECT_EQ(refused(through(true, "cni0", "docker0")), "") << tool;
    ns.sh(tool + " -I A -m conntrack --ctstate DNAT -m comment --comment mesh -j ACCEPT");
    EXPECT_EQ(refused(through()), "") << tool;
    EXPECT_NE(refused(through(false)), "") << tool;
    ns.sh(tool + " -A INPUT -i cni0 -p tcp -j ACCEPT; " + tool + " -A INPUT -i cni0 -j REJECT");
    EXPECT_NE(refused(to_dns()).find("chain INPUT of table ip filter" + suffix), std::string::npos) << refused(to_dns());
    EXPECT_EQ(refused(to_dns("docker0")), "") << tool;
    ns.sh(tool + " -P FORWARD ACCEPT; " + tool + " -F");
    EXPECT_EQ(refused(through()), "") << tool;
  }
}

TEST_F(Filters, AChangeIsSeen) {
  auto state = [&] { InNs in(ns); return PacketFilters::state(); };
  std::string first = state();
  EXPECT_EQ(state(), first);
  nft("table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; } }");
  std::string second = state();
  EXPECT_NE(second, first);
  EXPECT_EQ(state(), second);
  if (ns.sh("iptables-legacy -P INPUT DROP 2>/dev/null") == 0) EXPECT_NE(state(), second);
}

}  // namespace
}  // namespace base
