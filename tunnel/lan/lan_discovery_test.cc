#include "tunnel/lan/lan_discovery.h"

#include <gtest/gtest.h>

#include <set>

#include "base/sim/sim_loop.h"
#include "base/sim/sim_net.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::IpAddr ip(const std::string& s) { return *base::IpAddr::parse(s); }
const base::IpPort kGroup{ip("224.0.0.251"), 5353};

// A LAN of SimNet with processes that find each other; each counts what it sends.
struct Lan {
  explicit Lan(uint64_t seed = 1) : net(loop, seed), rng(seed) {}
  struct Node {
    base::Metrics metrics;
    std::unique_ptr<base::SimSocket> socket;
    std::unique_ptr<LanDiscovery> lan;
    std::unique_ptr<base::Timer> timer;
    std::set<LanTag> peers;
    std::vector<std::pair<base::Instant, LanTag>> told;
    std::vector<base::Instant> sent;
    size_t responses = 0, largest = 0;
    bool deaf = false;
  };
  base::SimHost& host(const std::string& address, const std::string& site = "198.51.100.1") {
    auto& h = hosts[address + site];
    if (!h) h = &net.nat_host(address, ip(address), {.public_ip = ip(site), .keep_port = true});
    return *h;
  }
  Node& start(LanTag tag, const std::string& address, std::set<LanTag> peers, const std::string& site = "198.51.100.1") {
    auto& n = *nodes.emplace_back(std::make_unique<Node>());
    n.peers = std::move(peers);
    n.lan = std::make_unique<LanDiscovery>(
        LanDiscovery::Config{{tag}, 20006, 20007},
        LanDiscovery::Hooks{[this, &n](int, base::ByteView b) {
                              n.sent.push_back(loop.now());
                              n.largest = std::max(n.largest, b.size());
                              auto m = read_lan(b);
                              EXPECT_TRUE(m);
                              n.responses += m && m->response;
                              n.socket->send(kGroup, b);
                            },
                            [&n](LanTag t) { return n.peers.contains(t); }, [this, &n](LanTag t) { n.told.push_back({loop.now(), t}); }},
        rng, n.metrics);
    n.socket = host(address, site).bind(5353, [this, &n](base::IpPort from, base::ByteView b) {
      if (n.deaf) return;
      n.lan->on_datagram(1, from, b, loop.now());
      arm(n);
    });
    n.timer = loop.timer([this, &n] {
      n.lan->tick(loop.now());
      arm(n);
    });
    n.lan->set_links({{1, "eth0", {ip(address)}, {ip(address)}, {*base::Cidr::parse(address + "/24")}}}, loop.now());
    arm(n);
    return n;
  }
  void arm(Node& n) {
    if (n.lan->next_deadline() != base::Instant::max()) n.timer->arm(n.lan->next_deadline() - loop.now());
  }
  void say(const std::string& from, base::ByteView b) {
    host(from).bind(5353, [](base::IpPort, base::ByteView) {})->send(kGroup, b);
  }
  base::SimLoop loop;
  base::SimNet net;
  base::SeededRng rng;
  std::map<std::string, base::SimHost*> hosts;
  std::vector<std::unique_ptr<Node>> nodes;
};

std::vector<std::string> texts(const std::vector<base::IpPort>& list) {
  std::vector<std::string> out;
  for (const auto& a : list) out.push_back(a.str());
  return out;
}
using Texts = std::vector<std::string>;

TEST(LanDiscovery, TwoNodesFindEachOtherWithinASecond) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    Lan lan(seed);
    auto& a = lan.start(1, "192.168.1.10", {2});
    auto& b = lan.start(2, "192.168.1.20", {1});
    lan.loop.run_for(1500ms);
    EXPECT_EQ(texts(a.lan->udp_at(2)), Texts{"192.168.1.20:20006"}) << seed;
    EXPECT_EQ(texts(b.lan->udp_at(1)), Texts{"192.168.1.10:20006"}) << seed;
    EXPECT_EQ(texts(b.lan->signal_at(1)), Texts{"192.168.1.10:20007"});
    EXPECT_EQ(b.told.size(), 1u) << "the same news once";
    EXPECT_TRUE(a.lan->udp_at(3).empty());
  }
}

TEST(LanDiscovery, OneThatComesLaterIsHeardAtOnceAndHearsTheOthers) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.loop.run_for(600s);
  auto& b = lan.start(2, "192.168.1.20", {1});
  lan.loop.run_for(1500ms);
  EXPECT_FALSE(a.lan->udp_at(2).empty());
  EXPECT_FALSE(b.lan->udp_at(1).empty());
}

TEST(LanDiscovery, OtherLansHearNothing) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  auto& b = lan.start(2, "192.168.1.20", {1}, "198.51.100.2");
  lan.loop.run_for(10s);
  EXPECT_TRUE(a.lan->found().empty());
  EXPECT_TRUE(b.lan->found().empty());
}

TEST(LanDiscovery, AQuietLinkStaysQuietAndKnowsItsNodesForHours) {
  Lan lan;
  for (LanTag t = 1; t <= 20; t++) lan.start(t, "192.168.1." + std::to_string(t), {1, 2, 3});
  lan.loop.run_for(10s);
  std::vector<size_t> before;
  for (auto& n : lan.nodes) before.push_back(n->sent.size());
  lan.loop.run_for(6h);
  for (size_t i = 0; i < lan.nodes.size(); i++) {
    EXPECT_EQ(lan.nodes[i]->lan->found().size(), 19u);
    EXPECT_LE(lan.nodes[i]->sent.size() - before[i], 6u * 22);  // its question each hour, and an answer to each of the others'
    EXPECT_LE(lan.nodes[i]->largest, 1300u);
  }
}

TEST(LanDiscovery, ARestartedNodeIsOneNodeAtItsNewAddress) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.start(2, "192.168.1.20", {1});
  lan.loop.run_for(2s);
  lan.nodes.pop_back();  // killed: no goodbye
  lan.start(2, "192.168.1.77", {1});
  lan.loop.run_for(2s);
  EXPECT_EQ(texts(a.lan->udp_at(2)), (Texts{"192.168.1.77:20006", "192.168.1.20:20006"})) << "the last heard first";
}

TEST(LanDiscovery, AGoodbyeIsForgottenAfterASecond) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  auto& b = lan.start(2, "192.168.1.20", {1});
  lan.loop.run_for(3s);
  b.lan->say_goodbye();
  lan.nodes.pop_back();
  lan.loop.run_for(100ms);
  EXPECT_FALSE(a.lan->udp_at(2).empty());
  lan.loop.run_for(1s);
  EXPECT_TRUE(a.lan->udp_at(2).empty());
  EXPECT_EQ(a.told.size(), 2u);
}

TEST(LanDiscovery, AMissedNodeIsAskedForAgainButNotTooOften) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  auto& b = lan.start(2, "192.168.1.20", {1});
  b.deaf = a.deaf = true;
  lan.loop.run_for(3000s);
  a.deaf = b.deaf = false;
  ASSERT_TRUE(a.lan->udp_at(2).empty());
  a.lan->look(lan.loop.now());
  lan.arm(a);
  lan.loop.run_for(300ms);
  EXPECT_FALSE(a.lan->udp_at(2).empty());
  size_t before = a.sent.size();
  for (int i = 0; i < 300; i++) {
    a.lan->look(lan.loop.now());
    lan.arm(a);
    lan.loop.run_for(10ms);
  }
  EXPECT_LE(a.sent.size() - before, 4u);
}

// A neighbour can only name neighbours, and only what is on the link it speaks on.
TEST(LanDiscovery, AddressesThatAreNotOnTheLinkAreNotTaken) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.loop.run_for(2s);
  LanService s{{2, 7}, 20006, 20006, {ip("203.0.113.9"), ip("127.0.0.1"), ip("192.168.1.10"), ip("192.168.1.66")}, 4500};
  lan.say("192.168.1.66", make_lan_response({s}));
  lan.loop.run_for(100ms);
  EXPECT_EQ(texts(a.lan->udp_at(2)), Texts{"192.168.1.66:20006"}) << "neither others' networks nor ourselves";
  s.label.tag = 3, s.addresses = {ip("203.0.113.9")};
  lan.say("192.168.1.66", make_lan_response({s}));
  lan.loop.run_for(100ms);
  EXPECT_TRUE(a.lan->udp_at(3).empty());
  a.lan->on_datagram(1, {ip("203.0.113.9"), 5353}, make_lan_response({{{4, 1}, 1024, 1024, {ip("192.168.1.66")}, 4500}}), lan.loop.now());
  EXPECT_TRUE(a.lan->udp_at(4).empty()) << "from beyond the link";
  a.lan->on_datagram(2, {ip("192.168.1.66"), 5353}, make_lan_response({{{4, 1}, 1024, 1024, {ip("192.168.1.66")}, 4500}}), lan.loop.now());
  EXPECT_TRUE(a.lan->udp_at(4).empty()) << "of a link that is not ours";
}

TEST(LanDiscovery, AFloodOfStrangersNeitherGrowsNorPushesPeersOut) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.start(2, "192.168.1.20", {1});
  lan.loop.run_for(2s);
  for (uint32_t i = 0; i < 1500; i++) {
    lan.say("192.168.1.66", make_lan_response({{{1000 + i, i}, 20006, 20006, {ip("192.168.1.66")}, 4500}}));
    lan.loop.run_for(25ms);
  }
  EXPECT_EQ(a.lan->found().size(), kLanFoundMax);
  EXPECT_EQ(texts(a.lan->udp_at(2)), Texts{"192.168.1.20:20006"});
}

TEST(LanDiscovery, ForgedInstancesOfAPeerAreBoundedToo) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.loop.run_for(2s);
  for (uint32_t i = 0; i < 100; i++) {
    lan.say("192.168.1.66", make_lan_response({{{2, i}, uint16_t(2000 + i), 20006, {ip("192.168.1.66")}, 4500}}));
    lan.loop.run_for(50ms);
  }
  EXPECT_LE(a.lan->found().size(), 3u);
}

TEST(LanDiscovery, AFloodOfQuestionsIsAnsweredOnceASecond) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  lan.loop.run_for(5s);
  size_t before = a.responses;
  for (int i = 0; i < 1000; i++) {
    lan.say("192.168.1.66", make_lan_query({}));
    lan.loop.run_for(10ms);
  }
  EXPECT_GE(a.responses - before, 5u);
  EXPECT_LE(a.responses - before, 11u);
}

TEST(LanDiscovery, WhatIsKnownNeedNotBeTold) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {});
  std::optional<LanLabel> label;
  auto listener = lan.host("192.168.1.66").bind(5353, [&](base::IpPort, base::ByteView b) {
    if (auto m = read_lan(b); m && m->response && !m->services.empty()) label = m->services[0].label;
  });
  lan.loop.run_for(5s);
  ASSERT_TRUE(label);
  size_t before = a.responses;
  listener->send(kGroup, make_lan_query({{*label, 4000}}));
  lan.loop.run_for(2s);
  EXPECT_EQ(a.responses, before);
  listener->send(kGroup, make_lan_query({{*label, 1000}}));
  lan.loop.run_for(2s);
  EXPECT_EQ(a.responses, before + 1) << "known, but not for long any more";
}

// Somebody claims our instance on purpose: we take another, a few times, and then go on as if nothing were said.
TEST(LanDiscovery, ADisputedInstanceIsGivenUpAFewTimesOnly) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {});
  std::set<LanLabel> labels;
  std::optional<LanLabel> last;
  auto attacker = lan.host("192.168.1.66").bind(5353, [&](base::IpPort, base::ByteView b) {
    auto m = read_lan(b);
    if (m && m->services.size() == 1) labels.insert(m->services[0].label), last = m->services[0].label;
  });
  for (int i = 0; i < 100; i++) {
    lan.loop.run_for(500ms);
    if (last) attacker->send(kGroup, make_lan_response({{*last, 1, 1, {ip("192.168.1.66")}, 4500}}));
  }
  EXPECT_GE(labels.size(), 2u);
  EXPECT_LE(labels.size(), 6u);
  EXPECT_LE(a.sent.size(), 100u);
}

TEST(LanDiscovery, TwoInterfacesOnOneLinkAreNoDispute) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {});
  LanLink eth0{1, "eth0", {ip("192.168.1.10")}, {ip("192.168.1.10"), ip("fe80::1")}, {*base::Cidr::parse("192.168.1.0/24")}};
  LanLink eth1{2, "eth1", {ip("192.168.1.11")}, {ip("192.168.1.11"), ip("fe80::2")}, {*base::Cidr::parse("192.168.1.0/24")}};
  std::set<LanLabel> labels;
  auto hear = [&](base::IpPort, base::ByteView b) {
    auto m = read_lan(b);
    if (m && m->services.size() == 1) labels.insert(m->services[0].label);
    for (const char* from : {"192.168.1.10", "fe80::1"}) a.lan->on_datagram(2, {ip(from), 5353}, b, lan.loop.now());
    a.lan->on_datagram(1, {ip("fe80::2"), 5353}, b, lan.loop.now());
  };
  auto wire = lan.host("192.168.1.66").bind(5353, hear);
  a.lan->set_links({eth0, eth1}, lan.loop.now());
  lan.arm(a);
  lan.loop.run_for(30s);
  EXPECT_EQ(labels.size(), 1u);
  EXPECT_TRUE(a.lan->found().empty());
}

TEST(LanDiscovery, AMovedNodeIsKnownAtItsNewAddressOnly) {
  Lan lan;
  auto& a = lan.start(1, "192.168.1.10", {2});
  auto& b = lan.start(2, "192.168.1.20", {1});
  lan.loop.run_for(3s);
  lan.host("192.168.1.20").move_behind(lan.net.nat({.public_ip = ip("198.51.100.1")}), ip("192.168.1.21"));
  b.lan->set_links({{1, "eth0", {ip("192.168.1.21")}, {ip("192.168.1.21")}, {*base::Cidr::parse("192.168.1.0/24")}}}, lan.loop.now());
  lan.arm(b);
  lan.loop.run_for(1500ms);
  EXPECT_EQ(texts(a.lan->udp_at(2)), Texts{"192.168.1.21:20006"});
}

}  // namespace
}  // namespace tunnel
