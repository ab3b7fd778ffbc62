// What clients notice: who answers, how often, and who is refused.
#include <atomic>
#include <chrono>
#include <thread>

#include "edgemesh/intercept/intercept_world_testing.h"
#include "lb/policy/maglev.h"
#include "lb/policy/source_hash.h"

namespace edgemesh {
namespace {

using namespace std::chrono_literals;
using Policy = Frontend::Policy;
using Spread = std::map<std::string, int>;

// Two services called in turn rotate each on its own, over TCP and UDP, IPv4 and IPv6.
TEST_F(World, RoundRobinIsStrictPerService) {
  apply({{key("10.96.0.1:80"), balance({2, 3, 4})}, {key("10.96.0.2:80"), balance({2, 3})},
         {key("10.96.0.1:53", Proto::udp), balance({2, 3, 4})}, {key("[fd96::1]:80"), balance({2, 3, 4}, true)}});
  std::vector<std::string> a, b, u, six;
  for (int i = 0; i < 12; ++i) {
    a.push_back(who(call(client, "10.96.0.1:80")));
    b.push_back(who(call(client, "10.96.0.2:80")));
    u.push_back(who(call(client, "10.96.0.1:53", {.udp = true})));
    six.push_back(who(call(client, "[fd96::1]:80")));
  }
  for (size_t i = 3; i < 12; ++i) EXPECT_TRUE(a[i] == a[i - 3] && u[i] == u[i - 3] && six[i] == six[i - 3]) << a[i] << u[i] << six[i];
  for (size_t i = 2; i < 12; ++i) EXPECT_EQ(b[i], b[i - 2]);
  EXPECT_NE(a[0], a[1]);
  EXPECT_NE(six[0], six[1]);
}

TEST_F(World, RandomAndWeights) {
  auto weighted = balance({2, 3}, false, Policy::random);
  weighted.backends[0].weight = 80, weighted.backends[1].weight = 20;
  apply({{key("10.96.0.1:80"), balance({2, 3, 4}, false, Policy::random)}, {key("10.96.0.2:80"), weighted}});
  auto even = spread(240, "10.96.0.1:80"), uneven = spread(200, "10.96.0.2:80");
  for (auto* p : {"p2", "p3", "p4"}) EXPECT_NEAR(even[p], 80, 40) << p;
  EXPECT_NEAR(uneven["p3"], 40, 28);
}

TEST_F(World, WeightZeroGetsNothing) {
  auto f = balance({2, 3});
  f.backends[0].weight = 0;
  apply({{key("10.96.0.1:80"), f}});
  EXPECT_EQ(spread(5, "10.96.0.1:80"), (Spread{{"p3", 5}}));
}

// The kernel's choice is the one that user space computes.
TEST_F(World, SourceHashAgreesWithUserSpace) {
  apply({{key("10.96.0.8:80"), balance({2, 3, 4, 5}, false, Policy::source_hash)},
         {key("[fd96::8]:80"), balance({2, 3, 4, 5}, true, Policy::source_hash)}});
  auto expect = [](const std::string& from, bool v6) {
    std::vector<lb::Candidate> c;
    for (int i = 2; i <= 5; ++i) c.push_back({{ip((v6 ? "fd17::" : "172.17.0.") + std::to_string(i)), 8080}, 1});
    return "p" + std::to_string(lb::maglev_table(c, 1021)[lb::source_hash(ip(from), 1021)] + 2);
  };
  std::set<std::string> used;
  for (int i = 1; i <= 40; ++i) {
    std::string four = "10.50.1." + std::to_string(i), six = "fd50:1::" + std::to_string(i);
    EXPECT_EQ(who(call(client, "10.96.0.8:80", {.from = four})), expect(four, false)) << four;
    EXPECT_EQ(who(call(client, "[fd96::8]:80", {.from = six})), expect(six, true)) << six;
    used.insert(expect(four, false));
  }
  EXPECT_GE(used.size(), 3u);
}

TEST_F(World, AffinityHoldsSlidesAndEnds) {
  auto four = balance({2, 3, 4, 5}), six = balance({2, 3, 4, 5}, true);
  four.affinity = six.affinity = 1s;
  apply({{key("10.96.0.9:80"), four}, {key("10.96.0.9:53", Proto::udp), four}, {key("[fd96::9]:80"), six}});
  std::map<std::string, std::string> home;
  auto all = [&](bool same) {
    int moved = 0;
    for (int i = 1; i <= 12; ++i)
      for (auto& [to, udp] : std::map<std::string, bool>{{"10.96.0.9:80", false}, {"10.96.0.9:53", true}, {"[fd96::9]:80", false}}) {
        std::string from = (to[0] == '[' ? "fd50:1::" : "10.50.1.") + std::to_string(i);
        auto now = who(call(client, to, {.from = from, .udp = udp}));
        EXPECT_EQ(now[0], 'p') << to;
        auto& h = home[to + from];
        moved += !h.empty() && h != now;
        if (h.empty() || !same) h = now;
      }
    return moved;
  };
  all(true);
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(250ms);
    EXPECT_EQ(all(true), 0);
  }
  std::this_thread::sleep_for(1100ms);
  EXPECT_GT(all(false), 10);  // of 36, three quarters expected
}

TEST_F(World, AffinityLeavesADeadEndpointAndNobodyElseMoves) {
  auto f = balance({2, 3, 4, 5});
  f.affinity = 3600s;
  apply({{key("10.96.0.9:80"), f}});
  std::map<int, std::string> home;
  for (int i = 1; i <= 30; ++i) home[i] = who(call(client, "10.96.0.9:80", {.from = "10.50.1." + std::to_string(i)}));
  auto fewer = balance({2, 3, 4});
  fewer.affinity = 3600s;
  apply({{key("10.96.0.9:80"), fewer}});
  for (int i = 1; i <= 30; ++i) {
    auto now = who(call(client, "10.96.0.9:80", {.from = "10.50.1." + std::to_string(i)}));
    if (home[i] == "p5") EXPECT_NE(now, "p5");
    else EXPECT_EQ(now, home[i]);
  }
}

// No endpoints: refused at once, for pods and for the host; and served as soon as there is one.
TEST_F(World, NoneIsRefusedAtOnceAndComesBack) {
  std::vector<std::string> at = {"10.96.0.10:80", "[fd96::10]:80"};
  for (auto& a : at) apply({{key(a), Frontend{}}, {key(a, Proto::udp), Frontend{}}});
  for (auto& a : at)
    for (bool udp : {false, true}) {
      EXPECT_EQ(call(client, a, {.udp = udp}), "refused") << a << udp;
      auto host = call(node, a, {.udp = udp});  // a datagram of the host itself fails in send()
      EXPECT_TRUE(host == "refused" || (udp && host == "Operation not permitted")) << a << udp << host;
    }
  apply({{key(at[0]), balance({2})}, {key(at[1]), balance({3}, true)}});
  EXPECT_EQ(who(call(client, at[0])), "p2");
  EXPECT_EQ(who(call(client, at[1])), "p3");
  apply({{key(at[0]), std::nullopt}});
  EXPECT_NE(who(call(client, at[0], {.timeout_ms = 60})), "p2");
}

// However a packet falls into the moment of a change, it is taken or refused: none is left without an answer.
TEST_F(World, NoCallIsLostInAChange) {
  const std::string at = "10.96.0.11:80";
  apply({{key(at), balance({2})}});
  std::atomic<bool> stop = false;
  std::atomic<int> taken = 0, refused = 0, lost = 0;
  auto calls = [&](const NetNs& from) {
    while (!stop) {
      const std::string who_answered = who(call(from, at, {.timeout_ms = 700}));
      ++(who_answered == "p2" ? taken : who_answered == "refused" ? refused : lost);
    }
  };
  std::vector<std::thread> callers;
  for (const NetNs* from : {&client, &node, &client, &node}) callers.emplace_back(calls, std::cref(*from));
  for (int i = 0; i < 15000; ++i) apply({{key(at), i % 2 ? balance({2}) : Frontend{}}});
  stop = true;
  for (auto& c : callers) c.join();
  EXPECT_GT(taken, 20);
  EXPECT_GT(refused, 20);
  EXPECT_EQ(lost, 0) << taken << " taken, " << refused << " refused";
}

// One UDP socket keeps its endpoint while that lives, and moves when it goes, when there was none, and when the service goes.
TEST_F(World, StaleUdpFlowsMove) {
  auto at = key("10.96.0.12:53", Proto::udp);
  apply({{at, balance({2})}});
  auto s = open_socket(client, true, {.udp = true});
  auto ask = [&] { return who(exchange(s.get(), "10.96.0.12:53", {.udp = true, .timeout_ms = 150})); };
  EXPECT_EQ(ask(), "p2");
  apply({{at, balance({2, 3})}});
  EXPECT_EQ(ask(), "p2");
  apply({{at, balance({3})}});
  EXPECT_EQ(ask(), "p3");
  apply({{at, Frontend{}}});
  EXPECT_EQ(ask(), "refused");
  apply({{at, balance({4})}});
  EXPECT_EQ(ask(), "p4");
  Frontend hold;
  hold.mode = Frontend::Mode::hold;
  apply({{at, hold}});
  EXPECT_EQ(ask(), "timeout");
  apply({{at, balance({5})}});
  EXPECT_EQ(ask(), "p5");
}

// Client and endpoint on one bridge, and a pod that is its own endpoint.
TEST_F(World, SameBridgeAndSelfCalls) {
  apply({{key("10.96.0.1:80"), balance({3})}, {key("[fd96::1]:80"), balance({3}, true)}});
  node.sh("bridge link set dev v3 hairpin on");
  for (auto* to : {"10.96.0.1:80", "[fd96::1]:80"})
    for (int from : {2, 3}) EXPECT_EQ(who(call(pod(from), to)), "p3") << to << " from p" << from;
  EXPECT_EQ(call(client, "10.96.0.1:80"), "p3 10.50.0.2");  // nobody else is masqueraded
}

TEST_F(World, NodePortsOnLocalAddressesOnly) {
  apply({{key("0.0.0.0:30080"), balance({2, 3})}, {key("[::]:30080"), balance({4}, true)}, {key("0.0.0.0:30081"), Frontend{}}});
  EXPECT_EQ(who(call(client, "10.50.0.1:30080")), "p2");
  EXPECT_EQ(who(call(client, "192.168.7.1:30080")), "p3");
  EXPECT_EQ(who(call(client, "[fd50::1]:30080")), "p4");
  EXPECT_EQ(who(call(node, "192.168.7.1:30080")), "p2");
  EXPECT_EQ(call(client, "10.50.0.1:30081"), "refused");
  EXPECT_TRUE(servers->add(lan, "192.168.7.9:30080", "lanhost"));
  EXPECT_EQ(who(call(client, "192.168.7.9:30080")), "lanhost");
}

// The day the uplink is gone: no default route, and host and pods still call.
TEST_F(World, NoDefaultRouteAndHostCalls) {
  node.sh("ip route del default");
  apply({{key("10.96.0.1:80"), balance({2})}, {key("[fd96::1]:80"), balance({3}, true)}});
  EXPECT_EQ(who(call(node, "10.96.0.1:80")), "p2");
  EXPECT_EQ(who(call(node, "[fd96::1]:80")), "p3");
  EXPECT_EQ(who(call(pod(4), "10.96.0.1:80")), "p2");
  EXPECT_NE(who(call(node, "10.96.0.1:80", {.mark = 0x40000, .timeout_ms = 60})), "p2");  // our own sockets
}

TEST_F(World, ProxyModeReachesTheProxyOnlyThroughAService) {
  servers->add(node, "169.254.96.16:15001", "proxy");
  servers->add(node, "169.254.96.16:53", "dns");
  Frontend f;
  f.mode = Frontend::Mode::proxy;
  apply({{key("10.96.0.3:80"), f}});
  EXPECT_EQ(who(call(client, "10.96.0.3:80")), "proxy");
  EXPECT_EQ(who(call(node, "10.96.0.3:80")), "proxy");
  EXPECT_EQ(call(pod(2), "169.254.96.16:15001", {.timeout_ms = 60}), "timeout");
  EXPECT_EQ(who(call(pod(2), "169.254.96.16:53", {.udp = true})), "dns");
  EXPECT_EQ(who(call(node, "169.254.96.16:53")), "dns");
  lan.sh("ip route add 169.254.96.16 via 192.168.7.1");
  EXPECT_EQ(call(lan, "169.254.96.16:53", {.udp = true, .timeout_ms = 60}), "timeout");
  EXPECT_EQ(call(lan, "169.254.96.16:53", {.timeout_ms = 60}), "timeout");
}

TEST_F(World, ARefusedChangeChangesNothing) {
  apply({{key("10.96.0.1:80"), balance({2})}});
  Frontend wrong = balance({3}, true);
  InNs in(node);
  auto r = mesh->apply({{key("10.96.0.1:80"), balance({4})}, {key("10.96.0.2:80"), wrong}});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find("10.96.0.2:80"), std::string::npos) << r.error().what;
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p2");
}

TEST_F(World, RoundRobinCountersAreSharedBeyondThePool) {
  std::vector<FrontendChange> many;
  for (int i = 0; i < 260; ++i) many.push_back({key("10.97." + std::to_string(i / 200) + "." + std::to_string(1 + i % 200) + ":80"), balance({2, 3})});
  apply(many);
  EXPECT_EQ(mesh->shared_round_robin(), 8u);
  EXPECT_NE(metrics.render().find("edgemeshd_intercept_shared_round_robin 8"), std::string::npos);
  EXPECT_EQ(spread(4, "10.97.1.60:80"), (Spread{{"p2", 2}, {"p3", 2}}));
  for (auto& c : many) c.frontend.reset();
  apply(many);
  EXPECT_EQ(mesh->shared_round_robin(), 0u);
}

TEST_F(World, TheFirstFrontendsMayComeInPieces) {
  std::vector<std::vector<FrontendChange>> pieces;
  for (int p = 0; p < 8; ++p) {  // more than wait for the kernel at once
    pieces.emplace_back();
    for (int i = 1; i <= 40; ++i) pieces.back().push_back({key("10.97." + std::to_string(p) + "." + std::to_string(i) + ":80"), balance({2 + p % 4, 2 + (p + 1) % 4})});
  }
  apply_first(pieces);
  EXPECT_EQ(spread(4, "10.97.0.1:80"), (Spread{{"p2", 2}, {"p3", 2}}));
  EXPECT_EQ(spread(4, "10.97.7.40:80"), (Spread{{"p5", 2}, {"p2", 2}})) << "the last of the last piece";
  EXPECT_NE(node.out("ip route show proto 0x60").find("10.97.7.40 "), std::string::npos);
  apply({{key("10.97.7.40:80"), balance({3})}});
  EXPECT_EQ(spread(4, "10.97.7.40:80"), (Spread{{"p3", 4}})) << "led to another chain with slots in another map";
  apply({{key("10.97.7.40:80"), balance({3, 4})}});
  EXPECT_EQ(spread(4, "10.97.7.40:80"), (Spread{{"p3", 2}, {"p4", 2}}));
}

TEST_F(World, FirstPiecesThatAreRefusedDoNotCountAndAreReplaced) {
  InNs in(node);
  std::vector<std::vector<FrontendChange>> pieces{{{key("10.97.0.1:80"), balance({2})}}, {{key("10.97.0.2:80"), balance({3}, true)}}};
  auto r = mesh->apply_first(giver(pieces));
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find("10.97.0.2:80"), std::string::npos) << r.error().what;
  ASSERT_TRUE(mesh->apply_first(giver({{{key("10.97.0.3:80"), balance({4})}}})));
  EXPECT_EQ(who(call(client, "10.97.0.3:80")), "p4");
  EXPECT_EQ(node.out("nft list table inet edgemesh").find("10.97.0.1"), std::string::npos) << "it is nobody's any more";
  EXPECT_EQ(node.out("ip route show proto 0x60").find("10.97.0.1 "), std::string::npos);
}

TEST_F(World, ACallThatWasTooEarlyIsServedWhenItAsksAgain) {
  const CallOptions same{.from = "10.50.0.2", .from_port = 40404};  // as a SYN that is sent again comes from the same port
  EXPECT_NE(who(call(client, "10.97.0.1:80", same)), "p2");
  EXPECT_NE(who(call(client, "10.97.0.2:80", same)), "p2");
  apply_first({{{key("10.97.0.1:80"), balance({2})}}});
  EXPECT_EQ(who(call(client, "10.97.0.1:80", same)), "p2");
  apply({{key("10.97.0.2:80"), balance({2})}});
  EXPECT_EQ(who(call(client, "10.97.0.2:80", same)), "p2");
}

}  // namespace
}  // namespace edgemesh
