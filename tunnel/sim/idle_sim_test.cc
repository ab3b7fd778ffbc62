// Sessions nobody uses are let go, on both sides, and the next packet makes another as if nothing had been.
#include "tunnel/sim/sim_checks.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

struct IdleSim : testing::TestWithParam<bool> {  // direct
  void start(MeshSim& s, base::Duration idle_a = 60s, base::Duration idle_b = 60s) {
    s.add("a", {.nat = base::NatSpec{.public_ip = ip("198.51.100.1"), .keep_port = true},
                .ip = ip("192.168.1.10"),
                .direct = GetParam(),
                .idle = idle_a});
    s.add("b", {.nat = base::NatSpec{.public_ip = ip("198.51.100.2"), .keep_port = true},
                .ip = ip("192.168.2.10"),
                .direct = GetParam(),
                .idle = idle_b});
    s.start("a");
    s.start("b");
    s.run_for(3s);
    s.talk("a", "b");
    s.run_for(10s);
    ASSERT_EQ(states(s), "up up");
    ASSERT_EQ(s.is_direct("a", "b"), GetParam());
    s.silence();
  }
  // How soon they meet when packets flow again.
  static base::Duration wake(MeshSim& s) {
    s.talk("a", "b");
    return meet(s);
  }
};
INSTANTIATE_TEST_SUITE_P(Paths, IdleSim, testing::Values(true, false), [](const auto& i) { return i.param ? "direct" : "relay"; });

TEST_P(IdleSim, ASessionWithoutPacketsIsLetGoAndMadeAgainAtOnce) {
  MeshSim s(1);
  start(s);
  s.run_for(55s);
  EXPECT_EQ(states(s), "up up");
  s.run_for(10s);
  EXPECT_EQ(states(s), "idle idle");
  EXPECT_EQ(s.open_sockets("a") + s.open_sockets("b"), 0u);
  uint64_t before = s.net.delivered();
  s.run_for(20s);  // the NAT's mapping is kept by STUN alone
  EXPECT_LE(s.net.delivered() - before, 12u) << "nothing is checked or bound for it";
  EXPECT_LE(wake(s), 1s);
  s.run_for(5s);
  EXPECT_EQ(s.is_direct("a", "b"), GetParam());
  expect_sound(s);
}

TEST_P(IdleSim, OneThatWouldKeepItForEverIsTold) {
  MeshSim s(2);
  start(s, 60s, 0s);
  s.run_for(70s);
  EXPECT_EQ(states(s), "idle idle");
  EXPECT_LE(wake(s), 1s);
  expect_sound(s);
}

// It goes on sending under keys the other has let go: they still receive, and the first packet wakes it.
TEST_P(IdleSim, APacketThatCrossesIsTakenAndMakesAnotherSession) {
  MeshSim s(3);
  start(s, 60s, 0s);
  bool deaf = false;
  s.net.set_filter([&](base::IpPort, base::IpPort to, base::ByteView) { return !deaf || to.ip != ip("198.51.100.2"); });
  s.run_for(58s);
  deaf = true;  // the goodbye is lost
  s.loop.run_until([&] { return s.view("a", "b").state == "idle"; }, 5s);
  s.run_for(10ms);
  deaf = false;
  ASSERT_EQ(s.view("a", "b").state, "idle");
  ASSERT_EQ(s.view("b", "a").state, "up");
  uint64_t before = s.delivered;
  s.send("b", "a");
  s.run_for(200ms);
  EXPECT_EQ(s.delivered, before + 1);
  s.run_for(2s);
  EXPECT_EQ(states(s), "up up");
  EXPECT_LE(wake(s), 1s);
  expect_sound(s);
}

TEST_P(IdleSim, APacketNowAndThenKeepsIt) {
  MeshSim s(4);
  start(s);
  for (int i = 0; i < 20; i++) {
    s.run_for(50s);
    s.send(i % 2 ? "a" : "b", i % 2 ? "b" : "a");
  }
  EXPECT_EQ(states(s), "up up");
  EXPECT_GE(s.view("a", "b").since_s, 1000);
}

TEST_P(IdleSim, AnExportInUseKeepsIt) {
  MeshSim s(5);
  start(s);
  ExportRequest r{"shop/web", base::Proto::tcp, {ip("172.17.0.9"), 8080}};
  bool granted = false;
  s.mesh("a").request_export("b", r, [&](auto g) { granted = bool(g); });
  s.run_for(10min);
  EXPECT_TRUE(granted);
  EXPECT_EQ(states(s), "up up");
  s.mesh("a").release_export("b", r);
  s.run_for(70s);
  EXPECT_EQ(states(s), "idle idle");
}

// Another one could not be made.
TEST_P(IdleSim, WithoutSignallingItIsKept) {
  if (!GetParam()) return;
  MeshSim s(6);
  start(s);
  s.set_relay(false);
  s.run_for(30min);
  EXPECT_EQ(states(s), "up up");
  s.set_relay(true);
  s.run_for(10s);
  EXPECT_EQ(states(s), "idle idle");
}

}  // namespace
}  // namespace tunnel
