#include "base/sim/sim_net.h"

#include <gtest/gtest.h>

namespace base {
namespace {

IpAddr ip(const char* s) { return IpAddr::parse(s).value(); }
IpPort at(const char* s) { return IpPort::parse(s).value(); }

struct Inbox {  // a socket and what it received
  std::vector<std::pair<IpPort, std::string>> got;
  std::unique_ptr<SimSocket> socket;
  Inbox(SimHost& h, uint16_t port) : socket(h.bind(port, [this](IpPort f, ByteView b) { got.push_back({f, std::string(as_text(b))}); })) {}
  void send(IpPort to, const char* text) { socket->send(to, as_bytes(text)); }
  IpPort last_from() const { return got.empty() ? IpPort{} : got.back().first; }
};

struct SimNetTest : testing::Test {
  SimLoop loop;
  SimNet net{loop, 1};
  void settle() { loop.run_for(1s); }
};

TEST_F(SimNetTest, PacketsTakeBothLinksLatency) {
  SimHost &a = net.host("a", ip("203.0.113.1")), &b = net.host("b", ip("2001:db8::b"));
  a.add_public_address(ip("2001:db8::a"));
  a.set_link({.latency = 30ms});
  Inbox ia(a, 100), ib(b, 200);
  Instant start = loop.now();
  ia.send(at("[2001:db8::b]:200"), "hi");
  EXPECT_TRUE(loop.run_until([&] { return !ib.got.empty(); }, 1s));
  EXPECT_EQ(loop.now() - start, 35ms);
  EXPECT_EQ(ib.last_from(), at("[2001:db8::a]:100"));
  EXPECT_EQ(ib.got[0].second, "hi");
}

TEST_F(SimNetTest, NothingArrivesWhereNobodyListensOrIsUp) {
  SimHost &a = net.host("a", ip("203.0.113.1")), &b = net.host("b", ip("203.0.113.2"));
  Inbox ia(a, 100), ib(b, 200);
  ia.send(at("203.0.113.2:201"), "closed port");
  ia.send(at("203.0.113.9:200"), "no such host");
  ia.send(at("[::9]:200"), "no such family");
  b.set_up(false);
  ia.send(at("203.0.113.2:200"), "down");
  settle();
  EXPECT_TRUE(ib.got.empty());
  EXPECT_EQ(net.dropped(), 4u);
  b.set_up(true);
  ia.send(at("203.0.113.2:200"), "up");
  settle();
  EXPECT_EQ(ib.got.size(), 1u);
}

TEST_F(SimNetTest, PartitionsCutAndHeal) {
  SimHost &a = net.host("a", ip("203.0.113.1")), &b = net.host("b", ip("203.0.113.2"));
  Inbox ia(a, 1), ib(b, 1);
  net.block(a, b);
  ia.send(at("203.0.113.2:1"), "x");
  ib.send(at("203.0.113.1:1"), "y");
  settle();
  EXPECT_EQ(ib.got.size(), 0u);
  EXPECT_EQ(ia.got.size(), 1u);
  net.heal(a, b);
  ia.send(at("203.0.113.2:1"), "x");
  settle();
  EXPECT_EQ(ib.got.size(), 1u);
}

TEST_F(SimNetTest, LinksLoseDuplicateReorderAndHaveAnMtu) {
  SimHost &a = net.host("a", ip("203.0.113.1")), &b = net.host("b", ip("203.0.113.2"));
  Inbox ia(a, 1), ib(b, 1);
  a.set_link({.loss = 0.25});
  for (int i = 0; i < 1000; ++i) ia.send(at("203.0.113.2:1"), "x");
  settle();
  EXPECT_NEAR(double(ib.got.size()), 750, 60);
  ib.got.clear();
  a.set_link({.duplicate = 0.5});
  for (int i = 0; i < 1000; ++i) ia.send(at("203.0.113.2:1"), "x");
  settle();
  EXPECT_NEAR(double(ib.got.size()), 1500, 80);
  ib.got.clear();
  a.set_link({.reorder = 0.5});
  for (char c = 'a'; c <= 'z'; ++c) ia.send(at("203.0.113.2:1"), std::string(1, c).c_str());
  settle();
  EXPECT_EQ(ib.got.size(), 26u);
  EXPECT_FALSE(std::is_sorted(ib.got.begin(), ib.got.end(), [](auto& x, auto& y) { return x.second < y.second; }));
  ib.got.clear();
  a.set_link({.mtu = 1280});
  for (size_t n : {1252u, 1253u}) ia.send(at("203.0.113.2:1"), std::string(n, 'm').c_str());
  settle();
  ASSERT_EQ(ib.got.size(), 1u);
  EXPECT_EQ(ib.got[0].second.size(), 1252u);
}

// One host behind a NAT, three remotes: two ports of one address and another address.
struct NatClass : SimNetTest {
  SimHost &one = net.host("one", ip("198.51.100.1")), &two = net.host("two", ip("198.51.100.2"));
  Inbox p{one, 1000}, q{one, 1001}, r{two, 1000};
  std::unique_ptr<Inbox> in;
  SimHost* inside = nullptr;
  NatSpec spec{.public_ip = ip("203.0.113.7")};
  void build() {
    inside = &net.nat_host("in", ip("192.168.1.2"), spec);
    in = std::make_unique<Inbox>(*inside, 500);
  }
  void call_all() {
    for (const char* to : {"198.51.100.1:1000", "198.51.100.1:1001", "198.51.100.2:1000"}) in->send(at(to), "call");
    settle();
  }
};

TEST_F(NatClass, MappingIndependent) {
  build();
  call_all();
  EXPECT_EQ(p.last_from().ip, ip("203.0.113.7"));
  EXPECT_EQ(p.last_from(), q.last_from());
  EXPECT_EQ(p.last_from(), r.last_from());
}

TEST_F(NatClass, MappingPerAddress) {
  spec.mapping = NatRule::address;
  build();
  call_all();
  EXPECT_EQ(p.last_from(), q.last_from());
  EXPECT_NE(p.last_from(), r.last_from());
}

TEST_F(NatClass, MappingPerEndpoint) {
  spec.mapping = NatRule::endpoint;
  build();
  call_all();
  EXPECT_NE(p.last_from(), q.last_from());
  EXPECT_NE(p.last_from(), r.last_from());
  EXPECT_NE(q.last_from(), r.last_from());
}

TEST_F(NatClass, LinuxMasqueradeKeepsThePortForEveryRemote) {
  spec.mapping = NatRule::endpoint;
  spec.keep_port = true;
  build();
  call_all();
  for (auto* box : {&p, &q, &r}) EXPECT_EQ(box->last_from(), at("203.0.113.7:500"));
  Inbox second(net.nat_host("in2", ip("192.168.1.3"), spec), 500);
  second.send(at("198.51.100.1:1000"), "other");
  settle();
  EXPECT_NE(p.last_from().port, 500) << "two hosts share one outside port towards one remote";
  p.send(p.last_from(), "to second");
  p.send(at("203.0.113.7:500"), "to first");
  settle();
  EXPECT_EQ(second.got.size(), 1u);
  EXPECT_EQ(in->got.size(), 1u);
}

TEST_F(NatClass, Filtering) {
  const char* want[] = {"pqr", "pq", "p"};
  NatRule rules[] = {NatRule::independent, NatRule::address, NatRule::endpoint};
  for (int i = 0; i < 3; ++i) {
    spec.public_ip = IpAddr::v4(0xcb007107u + uint32_t(i));
    spec.filtering = rules[i];
    build();
    in->send(at("198.51.100.1:1000"), "open");
    settle();
    IpPort outside = p.last_from();
    p.send(outside, "p");
    q.send(outside, "q");
    r.send(outside, "r");
    settle();
    std::string got;
    for (auto& g : in->got) got += g.second;
    EXPECT_EQ(got, want[i]);
  }
}

TEST_F(NatClass, MappingsTimeOutWithoutPacketsFromInside) {
  build();
  in->send(at("198.51.100.1:1000"), "open");
  loop.run_for(100s);
  p.send(p.last_from(), "in time, but refreshes nothing");
  loop.run_for(30s);
  p.send(p.last_from(), "late");
  settle();
  EXPECT_EQ(in->got.size(), 1u);
  EXPECT_EQ(net.nat(spec).mappings(), 0u);
}

TEST_F(NatClass, FlushAndRebindChangeWhatTheRemoteSees) {
  build();
  call_all();
  IpPort before = p.last_from();
  net.nat(spec).flush();
  call_all();
  EXPECT_NE(p.last_from(), before);
  net.nat(spec).rebind(ip("203.0.113.99"));
  call_all();
  EXPECT_EQ(p.last_from().ip, ip("203.0.113.99"));
  p.send(p.last_from(), "back");
  settle();
  EXPECT_EQ(in->got.size(), 1u);
}

TEST_F(NatClass, HostsOfOneLanMeetDirectlyAndOverlapWithOthers) {
  build();
  Inbox neighbour(net.nat_host("n", ip("192.168.1.3"), spec), 500);
  Inbox elsewhere(net.nat_host("e", ip("192.168.1.3"), {.public_ip = ip("203.0.113.8")}), 500);
  in->send(at("192.168.1.3:500"), "hi");
  settle();
  EXPECT_EQ(neighbour.last_from(), at("192.168.1.2:500"));
  EXPECT_TRUE(elsewhere.got.empty());
}

TEST_F(NatClass, HairpinOnlyWhereTheBoxDoesIt) {
  for (bool hairpin : {false, true}) {
    spec.public_ip = ip(hairpin ? "203.0.113.21" : "203.0.113.20");
    spec.hairpin = hairpin;
    spec.filtering = NatRule::independent;
    build();
    Inbox neighbour(net.nat_host("n", ip("192.168.1.3"), spec), 500);
    neighbour.send(at("198.51.100.1:1000"), "open");
    settle();
    in->send(p.last_from(), "round the corner");
    settle();
    EXPECT_EQ(neighbour.got.size(), hairpin ? 1u : 0u);
  }
}

TEST_F(NatClass, ANatBehindANatTranslatesTwice) {
  net.nat({.public_ip = ip("203.0.113.50")});
  spec = {.public_ip = ip("100.64.0.2"), .behind = ip("203.0.113.50")};
  build();
  call_all();
  EXPECT_EQ(p.last_from().ip, ip("203.0.113.50"));
  p.send(p.last_from(), "back");
  settle();
  EXPECT_EQ(in->got.size(), 1u);
}

TEST_F(NatClass, ARoamingHostKeepsItsSocketUnderANewAddress) {
  build();
  call_all();
  IpPort before = p.last_from();
  inside->move_to(ip("203.0.113.77"));
  p.send(before, "to where it was");
  call_all();
  EXPECT_EQ(p.last_from(), at("203.0.113.77:500"));
  EXPECT_TRUE(in->got.empty());
}

// Two endpoint-filtering NATs with independent mapping can be punched from both sides; with per-endpoint mapping they cannot.
bool punch(uint64_t seed, NatRule mapping) {
  SimLoop loop;
  SimNet net(loop, seed);
  Inbox stun(net.host("stun", ip("198.51.100.1")), 3478);
  Inbox a(net.nat_host("a", ip("10.0.0.2"), {.public_ip = ip("203.0.113.1"), .mapping = mapping}), 1);
  Inbox b(net.nat_host("b", ip("10.0.0.2"), {.public_ip = ip("203.0.113.2"), .mapping = mapping}), 1);
  a.send(at("198.51.100.1:3478"), "who am I");
  b.send(at("198.51.100.1:3478"), "who am I");
  loop.run_for(1s);
  for (int i = 0; i < 3; ++i) {
    a.send(stun.got[1].first, "punch");
    b.send(stun.got[0].first, "punch");
    loop.run_for(1s);
  }
  return !a.got.empty() && !b.got.empty();
}

TEST(SimNet, HolePunchingWorksExactlyWhereItShould) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    EXPECT_TRUE(punch(seed, NatRule::independent));
    EXPECT_FALSE(punch(seed, NatRule::endpoint));
  }
}

TEST_F(SimNetTest, AShortTtlOpensTheOwnNatAndGoesNoFurther) {
  SimHost& h = net.nat_host("h", ip("10.0.0.2"), {.public_ip = ip("203.0.113.1"), .keep_port = true});
  Inbox in(h, 100), far(net.host("far", ip("198.51.100.1")), 7);
  in.socket->send(at("198.51.100.1:7"), as_bytes("x"), 2);
  settle();
  EXPECT_TRUE(far.got.empty());
  far.send(at("203.0.113.1:100"), "in by the hole");
  settle();
  EXPECT_EQ(in.got.size(), 1u);
  in.socket->send(at("198.51.100.1:7"), as_bytes("x"), 3);
  settle();
  EXPECT_EQ(far.got.size(), 1u);
}

TEST_F(SimNetTest, AnEarlyPacketPoisonsTheMappingOfAnOpenLinuxBox) {
  SimHost& h = net.nat_host("h", ip("10.0.0.2"), {.public_ip = ip("203.0.113.1"), .keep_port = true, .poisonable = true});
  Inbox in(h, 100), early(net.host("early", ip("198.51.100.1")), 7), late(net.host("late", ip("198.51.100.2")), 7);
  early.send(at("203.0.113.1:100"), "too early");
  settle();
  in.send(at("198.51.100.1:7"), "x");
  in.send(at("198.51.100.2:7"), "x");
  settle();
  EXPECT_NE(early.last_from().port, 100);
  EXPECT_EQ(late.last_from().port, 100);
}

TEST_F(SimNetTest, ANatThatCountsItsPortsUp) {
  SimHost& h = net.nat_host("h", ip("10.0.0.2"), {.public_ip = ip("203.0.113.1"), .mapping = NatRule::endpoint, .port_step = 2});
  Inbox in(h, 100), far(net.host("far", ip("198.51.100.1")), 7), other(net.host("other", ip("198.51.100.2")), 7);
  in.send(at("198.51.100.1:7"), "x");
  settle();
  in.send(at("198.51.100.2:7"), "x");
  settle();
  EXPECT_EQ(other.last_from().port, far.last_from().port + 2);
}

uint64_t chatter(uint64_t seed) {
  SimLoop loop;
  SimNet net(loop, seed);
  SimHost &h = net.host("h", ip("198.51.100.1")), &n = net.nat_host("n", ip("10.0.0.2"), {.public_ip = ip("203.0.113.1")});
  n.set_link({.jitter = 10ms, .loss = 0.1, .duplicate = 0.05, .reorder = 0.1});
  std::unique_ptr<SimSocket> echo = h.bind(7, [&](IpPort from, ByteView b) { echo->send(from, b); });
  Inbox in(n, 1);
  for (int i = 0; i < 200; ++i) {
    in.send(at("198.51.100.1:7"), std::to_string(i).c_str());
    loop.run_for(3ms);
  }
  loop.run_until_idle();
  return net.trace_hash();
}

TEST(SimNet, OneSeedOneTrace) {
  EXPECT_EQ(chatter(1), chatter(1));
  EXPECT_NE(chatter(1), chatter(2));
}

TEST_F(SimNetTest, ASocketMayCloseItselfWhileItReceives) {
  SimHost &a = net.host("a", ip("203.0.113.1")), &b = net.host("b", ip("203.0.113.2"));
  Inbox ia(a, 1);
  int got = 0;
  std::unique_ptr<SimSocket> s;
  s = b.bind(1, [&](IpPort, ByteView) { s.reset(); ++got; });
  ia.send(at("203.0.113.2:1"), "x");
  ia.send(at("203.0.113.2:1"), "x");
  settle();
  EXPECT_EQ(got, 1);
}

}  // namespace
}  // namespace base
