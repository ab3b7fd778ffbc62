// Two nodes behind simulated NATs of every class: which rung finds the direct path, and how soon.
#include <gtest/gtest.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
using base::NatRule;

base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

base::NatSpec easy(NatRule filtering = NatRule::endpoint) { return {.mapping = NatRule::independent, .filtering = filtering}; }
base::NatSpec poisonable() { return {.mapping = NatRule::independent, .keep_port = true, .poisonable = true}; }
base::NatSpec hard(NatRule mapping = NatRule::endpoint) { return {.mapping = mapping}; }
base::NatSpec counting() { return {.mapping = NatRule::endpoint, .port_step = 1}; }

struct Pair {
  Pair(uint64_t seed, base::NatSpec a, base::NatSpec b, base::LinkSpec link = {}) : sim(seed) {
    sim.add_relay();  // two tell what kind of NAT it is
    a.public_ip = ip("198.51.100.1");
    b.public_ip = ip("198.51.100.2");
    sim.add("a", {.nat = a, .ip = ip("192.168.1.10")});
    sim.add("b", {.nat = b, .ip = ip("192.168.2.10")});
    for (const char* n : {"a", "b"}) {
      sim.host(n).set_link(link);
      sim.start(n);
    }
    sim.talk("a", "b");
  }
  bool is_direct() const { return sim.is_direct("a", "b") && sim.is_direct("b", "a"); }
  bool direct_within(base::Duration d) { return sim.loop.run_until([&] { return is_direct(); }, d); }
  // The rung that either side saw succeed: a path may be proved to one of them by the other's CHECK.
  std::string rung() const {
    std::string a = sim.view("a", "b").rung, b = sim.view("b", "a").rung;
    return a.empty() ? b : a;
  }
  MeshSim sim;
};

void expect(const char* what, base::NatSpec a, base::NatSpec b, const char* rung, base::Duration within, base::LinkSpec link = {}) {
  for (uint64_t seed = 1; seed <= 5; seed++)
    for (bool swapped : {false, true}) {
      Pair p(seed, swapped ? b : a, swapped ? a : b, link);
      EXPECT_TRUE(p.direct_within(within)) << what << ", seed " << seed << (swapped ? ", swapped" : "");
      EXPECT_EQ(p.rung(), rung) << what << ", seed " << seed << (swapped ? ", swapped" : "");
      p.sim.run_for(3s);
      EXPECT_TRUE(p.is_direct());
      EXPECT_EQ(p.sim.misattributed, 0u);
    }
}

TEST(PunchSim, EasyNatsArePunchedPlainly) {
  for (auto filter : {NatRule::independent, NatRule::address, NatRule::endpoint}) expect("easy", easy(filter), easy(), "plain", 2s);
}

TEST(PunchSim, AHardNatAndAnOpenFilterNeedNoTrick) {
  for (auto filter : {NatRule::independent, NatRule::address}) {
    expect("hard", easy(filter), hard(), "plain", 2s);
    expect("address-dependent", easy(filter), hard(NatRule::address), "plain", 2s);
  }
}

TEST(PunchSim, NoEarlyPacketPoisonsALinuxBox) {
  expect("one", poisonable(), easy(), "plain", 2s);
  expect("both", poisonable(), poisonable(), "plain", 2s);
  expect("both, far", poisonable(), poisonable(), "plain", 4s, {.latency = 100ms, .jitter = 30ms});
}

TEST(PunchSim, PortsThatGoUpArePredicted) { expect("counting", easy(), counting(), "predict", 4s); }

TEST(PunchSim, RandomPortsAreFoundByABirthday) {
  expect("endpoint", easy(), hard(), "birthday", 20s);
  expect("address", poisonable(), hard(NatRule::address), "birthday", 20s);
}

// The second relay is asked so much later that the NAT looks random: the look before the birthday finds that it counts.
TEST(PunchSim, PortsThatCountUpAfterAllArePredictedInsteadOfGambledFor) {
  for (uint64_t seed = 1; seed <= 5; seed++)
    for (bool swapped : {false, true}) {
      MeshSim s(seed);
      s.add_relay();
      s.set_relay(false, 1);
      base::NatSpec a = swapped ? counting() : easy(), b = swapped ? easy() : counting();
      a.public_ip = ip("198.51.100.1"), b.public_ip = ip("198.51.100.2");
      s.add("a", {.nat = a, .ip = ip("192.168.1.10")});
      s.add("b", {.nat = b, .ip = ip("192.168.2.10")});
      auto& neighbour = s.net.nat_host("neighbour", ip("192.168.9.9"), swapped ? a : b);
      auto busy = neighbour.bind(4000, [](base::IpPort, base::ByteView) {});
      s.start("a");
      s.start("b");
      s.run_for(1s);
      for (uint16_t port = 5000; port < 5100; port++) busy->send({ip("203.0.113.77"), port}, base::as_bytes("x"));
      s.run_for(100ms);
      s.set_relay(true, 1);
      s.run_for(1s);
      s.talk("a", "b");
      EXPECT_TRUE(s.loop.run_until([&] { return s.is_direct("a", "b") && s.is_direct("b", "a"); }, 8s)) << seed << swapped;
      std::string rung = s.view("a", "b").rung + s.view("b", "a").rung;
      EXPECT_NE(rung.find("predict"), std::string::npos) << rung << " " << seed << swapped;
      std::string metrics = s.metrics("a").render() + s.metrics("b").render();
      EXPECT_NE(metrics.find("edgemeshd_tunnel_birthdays_skipped_total{why=\"predictable\"} 1\n"), std::string::npos) << seed << swapped;
    }
}

TEST(PunchSim, TwoHardNatsStayOnTheRelayAndTalk) {
  Pair p(3, hard(), counting());
  base::Instant since = p.sim.loop.now();
  p.sim.run_for(60s);
  EXPECT_FALSE(p.is_direct());
  EXPECT_TRUE(p.sim.met("a", "b", since));
}

TEST(PunchSim, LossAndDistanceOnlyTakeLonger) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    Pair p(seed, easy(), poisonable(), {.latency = 100ms, .jitter = 10ms, .loss = 0.05});
    EXPECT_TRUE(p.direct_within(20s)) << seed;
  }
}

// A mapping poisoned by somebody else's packet is got around with a fresh port.
TEST(PunchSim, APoisonedMappingIsLeftForAFreshPort) {
  for (uint64_t seed = 1; seed <= 5; seed++) {
    Pair p(seed, poisonable(), easy());
    // Whatever of the plain attempts would get through is lost on the way: as if both mappings were of no use.
    p.sim.net.set_filter([&](base::IpPort from, base::IpPort to, base::ByteView) {
      bool to_a_site = to.ip == ip("198.51.100.1") || to.ip == ip("198.51.100.2");
      return !(to_a_site && from.port == 20006 && from.ip != ip("203.0.113.1") && from.ip != ip("203.0.113.2"));
    });
    EXPECT_TRUE(p.direct_within(6s)) << seed;
    EXPECT_EQ(p.rung(), "fresh");
    p.sim.run_for(60s);
    EXPECT_TRUE(p.is_direct()) << "the fresh socket carries the session";
  }
}

TEST(PunchSim, ARebootedNatIsPunchedAgainAtOnce) {
  Pair p(4, easy(), hard());
  ASSERT_TRUE(p.direct_within(20s));
  base::NatSpec b = hard();
  b.public_ip = ip("198.51.100.2");
  p.sim.net.nat(b).flush();
  p.sim.run_for(1s);
  EXPECT_TRUE(p.sim.loop.run_until([&] { return !p.is_direct(); }, 5s));
  EXPECT_TRUE(p.direct_within(30s));
}

TEST(PunchSim, NoSocketIsLeftBehind) {
  Pair p(5, easy(), hard());
  ASSERT_TRUE(p.direct_within(20s));
  p.sim.run_for(15s);
  EXPECT_LE(p.sim.open_sockets("a") + p.sim.open_sockets("b"), 2u);
}

}  // namespace
}  // namespace tunnel
