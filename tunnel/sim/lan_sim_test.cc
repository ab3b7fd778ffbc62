// Nodes on one LAN with nothing but each other: no relay, no addresses in any object, signalling only where multicast found somebody.
#include "tunnel/sim/sim_checks.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

const base::NatSpec kLan{.public_ip = *base::IpAddr::parse("198.51.100.9"), .keep_port = true};

void two_on_a_lan(MeshSim& s, bool lan = true) {
  s.set_relay(false);
  s.add("a", {.nat = kLan, .ip = ip("192.168.1.10"), .lan = lan});
  s.add("b", {.nat = kLan, .ip = ip("192.168.1.20"), .lan = lan});
}

TEST(LanSim, TwoNodesFindEachOtherAndTalkDirectly) {
  for (uint64_t seed = 1; seed <= 20; seed++) {
    MeshSim s(seed);
    two_on_a_lan(s);
    s.start("a");
    s.run_for(seed * 100ms);
    s.start("b");
    s.talk("a", "b");
    EXPECT_LE(meet(s), 3s) << seed;
    EXPECT_TRUE(s.loop.run_until([&] { return are_direct(s); }, 1s));
    expect_sound(s);
  }
}

TEST(LanSim, WithoutItTheyDoNot) {
  MeshSim s(30);
  two_on_a_lan(s, false);
  s.start("a");
  s.start("b");
  s.talk("a", "b");
  EXPECT_GT(meet(s), 30s);
}

TEST(LanSim, BothRestartedTalkAgain) {
  for (uint64_t seed = 40; seed < 60; seed++) {
    MeshSim s(seed);
    two_on_a_lan(s);
    s.start("a");
    s.start("b");
    s.talk("a", "b");
    ASSERT_LE(meet(s), 3s) << seed;
    s.run_for(2s);
    for (const char* n : {"a", "b"}) s.kill(n);
    s.run_for(seed * 50ms);
    for (const char* n : {"a", "b"}) s.start(n);
    EXPECT_LE(meet(s), 3s) << seed;
    expect_sound(s);
  }
}

// Neither what was written down of the other nor any object has the new address; all paths are dead.
TEST(LanSim, ARestartAtAnotherAddressIsFoundByWhatTheLanSays) {
  for (uint64_t seed = 70; seed < 80; seed++) {
    MeshSim s(seed);
    two_on_a_lan(s);
    s.start("a");
    s.start("b");
    s.talk("a", "b");
    ASSERT_LE(meet(s), 3s) << seed;
    s.run_for(5s);
    s.kill("b");
    s.kill("a");
    s.host("b").move_behind(s.net.nat(kLan), ip("192.168.1.77"));
    s.host("a").move_behind(s.net.nat(kLan), ip("192.168.1.66"));
    s.sources = false;
    s.start("b");
    s.start("a");
    EXPECT_LE(meet(s), 5s) << seed;
    EXPECT_TRUE(s.loop.run_until([&] { return s.view("a", "b").path == "192.168.1.77:20006"; }, 1s)) << s.view("a", "b").path;
    expect_sound(s);
  }
}

// The relay knows where they are; the LAN is the shorter way, even if hello carried no usable address of it.
TEST(LanSim, ASessionOverTheRelayMovesToTheLan) {
  MeshSim s(90);
  s.add("a", {.nat = kLan, .ip = ip("192.168.1.10")});
  s.add("b", {.nat = kLan, .ip = ip("192.168.1.20")});
  s.start("a");
  s.start("b");
  s.mesh("a").set_host_candidates({});
  s.mesh("b").set_host_candidates({});
  s.talk("a", "b");
  s.run_for(10s);
  ASSERT_EQ(s.view("a", "b").state, "up");
  ASSERT_FALSE(s.is_direct("a", "b"));
  s.mesh("a").set_lan("b", {*base::IpPort::parse("192.168.1.20:20006")});
  EXPECT_TRUE(s.loop.run_until([&] { return are_direct(s); }, 5s));  // after the rung that is being tried
  expect_sound(s);
}

// A neighbour that says it is b costs a few packets and nothing else: it cannot prove to be b.
TEST(LanSim, AForgedHintChangesNothing) {
  MeshSim s(91);
  s.add("a", {.nat = kLan, .ip = ip("192.168.1.10"), .lan = true});
  s.add("b", {.nat = kLan, .ip = ip("192.168.1.20"), .lan = true});
  size_t at_liar = 0;
  auto& liar = s.net.nat_host("liar", ip("192.168.1.66"), kLan);
  auto listening = liar.bind(20006, [&](base::IpPort, base::ByteView) { at_liar++; });
  auto speaking = liar.bind(5353, [](base::IpPort, base::ByteView) {});
  s.start("a");
  s.start("b");
  s.talk("a", "b");
  for (uint32_t i = 0; i < 300; i++) {
    speaking->send({ip("224.0.0.251"), 5353},
                   make_lan_response({{{lan_tag({}, "mesh.sim", "b"), i}, 20006, 20006, {ip("192.168.1.66")}, 4500}}));
    s.run_for(100ms);
  }
  EXPECT_TRUE(are_direct(s));
  EXPECT_EQ(s.view("a", "b").path, "192.168.1.20:20006");
  EXPECT_LE(at_liar, 100u);
  expect_sound(s);
}

}  // namespace
}  // namespace tunnel
