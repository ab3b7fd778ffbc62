// The MTU of paths in a simulated mesh: no router of it ever says that a packet was too long.
#include <gtest/gtest.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

void two_sites(MeshSim& s, bool direct = true) {
  for (auto [name, outside, inside] : {std::tuple{"a", "198.51.100.1", "192.168.1.10"}, std::tuple{"b", "198.51.100.2", "192.168.1.20"}})
    s.add(name, {.nat = base::NatSpec{.public_ip = *base::IpAddr::parse(outside), .keep_port = true}, .ip = *base::IpAddr::parse(inside), .direct = direct});
  for (const char* n : {"a", "b"}) s.start(n);
}

// Of both: the outer one less IPv4, UDP, the tunnel's header and a relay's, to eight bytes.
void expect_mtu(const MeshSim& s, int outer) {
  for (int mtu : {s.view("a", "b").mtu, s.view("b", "a").mtu}) {
    EXPECT_LE(mtu, outer - 64);
    EXPECT_GE(mtu, outer - 64 - 8);
  }
}

// Each node's packets are as long as its peer's path carries, by its own account: what arrives proves the account right.
TEST(MtuSim, ThePathsMtuIsFoundOnTheRelayAndDirect) {
  for (bool direct : {false, true}) {
    MeshSim s(50);
    two_sites(s, direct);
    s.host("a").set_link({.mtu = 1300});
    s.full_size = true;
    s.talk("a", "b");
    s.run_for(10s);
    EXPECT_EQ(s.is_direct("a", "b"), direct);
    base::Instant since = s.loop.now();
    EXPECT_TRUE(s.loop.run_until([&] { return s.met("a", "b", since); }, 1s));
    expect_mtu(s, 1300);
    EXPECT_TRUE(s.problems.empty());
  }
}

TEST(MtuSim, APathThatGetsShorterSilentlyIsNoticedWithinTwoSeconds) {
  MeshSim s(51);
  two_sites(s);
  s.full_size = true;
  s.talk("a", "b");
  s.run_for(5s);
  EXPECT_EQ(s.view("a", "b").mtu, 1436);
  for (const char* n : {"a", "b"}) s.host(n).set_link({.mtu = 1300});
  s.run_for(10ms);  // what was under way has arrived
  base::Instant since = s.loop.now();
  EXPECT_TRUE(s.loop.run_until([&] { return s.met("a", "b", since); }, 2s));
  EXPECT_TRUE(s.is_direct("a", "b"));
  s.run_for(3s);
  expect_mtu(s, 1300);
  EXPECT_TRUE(s.problems.empty());
}

}  // namespace
}  // namespace tunnel
