// Networks that let no UDP through, in virtual time: the relay by TCP, and back.
#include "tunnel/sim/sim_checks.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::NatSpec nat(const char* public_ip) { return {.public_ip = ip(public_ip), .keep_port = true}; }

void add_sites(MeshSim& s, bool direct = true) {
  s.add("a", {.nat = nat("198.51.100.1"), .ip = ip("192.168.1.10"), .direct = direct});
  s.add("b", {.nat = nat("198.51.100.2"), .ip = ip("192.168.1.20"), .direct = direct});
}
void start(MeshSim& s) {
  s.start("a");
  s.start("b");
  s.talk("a", "b");
}
bool is_by_tcp(const MeshSim& s, const char* a, const char* b) { return s.view(a, b).path.find("TCP") != std::string::npos; }

// At once, and the other side need not know.
TEST(TcpSim, WithoutUdpTheRelayIsReachedByTcp) {
  for (bool both : {false, true}) {
    MeshSim s(both ? 31 : 30);
    add_sites(s);
    s.block_udp("a", true);
    if (both) s.block_udp("b", true);
    start(s);
    EXPECT_LE(meet(s), 3s);
    s.run_for(60s);
    EXPECT_EQ(s.view("a", "b").state, "up");
    EXPECT_TRUE(is_by_tcp(s, "a", "b")) << s.view("a", "b").path;
    EXPECT_EQ(is_by_tcp(s, "b", "a"), both);
    uint64_t before = s.delivered;
    s.run_for(10s);
    EXPECT_GE(s.delivered - before, 195u);
    expect_sound(s);
  }
}

// The session does not end, and the silence is short; what works again is used again.
TEST(TcpSim, UdpBlockedAndFreeAgain) {
  MeshSim s(32);
  add_sites(s);
  start(s);
  ASSERT_TRUE(s.loop.run_until([&] { return are_direct(s); }, 20s));
  s.run_for(2s);
  std::string keys = s.keys("a", "b");
  s.block_udp("a", true);
  EXPECT_LE(meet(s), 2s);
  s.run_for(20s);
  EXPECT_TRUE(is_by_tcp(s, "a", "b")) << s.view("a", "b").path;
  uint64_t before = s.delivered;
  s.block_udp("a", false);
  base::Instant freed = s.loop.now();
  EXPECT_TRUE(s.loop.run_until([&] { return are_direct(s); }, 10s));
  s.run_for(freed + 20s - s.loop.now());
  EXPECT_GE(s.delivered - before, 395u) << "nothing is lost on the way back";
  EXPECT_EQ(s.keys("a", "b"), keys) << "the session is the same";
  expect_sound(s);
}

// UDP that works now and then: the way back is tried less and less often, and TCP carries in between.
TEST(TcpSim, AFlappingUdpIsTriedLessOften) {
  MeshSim s(33);
  add_sites(s, false);
  start(s);
  ASSERT_LE(meet(s), 2s);
  for (int i = 0; i < 20; i++) {
    s.block_udp("a", i % 2 == 0);
    s.run_for(10s);
  }
  auto moves = [&](const char* to) { return const_cast<base::Metrics&>(s.metrics("a")).counter("edgemeshd_tunnel_relay_moves_total", "", {{"to", to}}).value(); };
  EXPECT_GE(moves("tcp"), 1u);
  EXPECT_GE(moves("udp"), 1u);
  EXPECT_LE(moves("tcp"), 6u) << "of ten times that UDP went";
  EXPECT_LE(meet(s), 1s);
  expect_sound(s);
}

}  // namespace
}  // namespace tunnel
