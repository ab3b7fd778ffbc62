// Drift: what two nodes hold of each other has grown apart, and they come together again.
#include "tunnel/sim/sim_checks.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::NatSpec nat(const char* public_ip) { return {.public_ip = ip(public_ip), .keep_port = true}; }

// Two nodes behind two NATs, in the same private subnet.
void two_sites(MeshSim& s, bool direct = true) {
  s.add("a", {.nat = nat("198.51.100.1"), .ip = ip("192.168.1.10"), .direct = direct});
  s.add("b", {.nat = nat("198.51.100.2"), .ip = ip("192.168.1.20"), .direct = direct});
  s.start("a");
  s.start("b");
}

// One stays bound at the two relays that lived; the other, restarted behind another address when the nearer two are back, binds at
// those. Nothing but the relays joins them, and neither has room for a third.
TEST(DriftSim, EndsThatHoldDifferentRelaysComeTogether) {
  for (uint64_t seed = 32; seed < 37; seed++) {
    MeshSim s(seed);
    for (int more = 0; more < 3; more++) s.add_relay();
    for (size_t near : {0, 1}) s.set_relay(false, near);
    two_sites(s, false);
    s.talk("a", "b");
    s.run_for(15s);
    ASSERT_GE(s.view("a", "b").relay, "relay-3") << seed;
    s.kill("b");
    s.net.nat(nat("198.51.100.2")).rebind(ip("198.51.100.3"));
    s.run_for(10s);
    for (size_t near : {0, 1}) s.set_relay(true, near);
    s.start("b");
    EXPECT_LE(meet(s), 10s) << seed;
    expect_sound(s);
  }
}

// The list of addresses before a move and the one after it are on their way together, by a path that just died; the older one, sent
// again, comes last.
TEST(DriftSim, AnOlderListOfAddressesDoesNotReplaceANewerOne) {
  for (uint64_t seed = 370; seed < 400; seed++) {
    MeshSim s(seed);
    s.net.nat(nat("198.51.100.3"));
    two_sites(s);
    for (const char* n : {"a", "b"}) s.host(n).set_link({.latency = 15ms, .jitter = 5ms, .loss = 0.05, .reorder = 0.1});
    s.talk("a", "b");
    s.run_for(10s);
    s.host("a").move_behind(s.net.nat(nat("198.51.100.3")), ip("192.168.2.10"));
    s.tell_own_addresses("a");
    s.run_for(1s);
    EXPECT_TRUE(s.loop.run_until([&] { return are_direct(s); }, 12s)) << seed;
    expect_sound(s);
  }
}

}  // namespace
}  // namespace tunnel
