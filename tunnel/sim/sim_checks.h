// What the tests of simulated meshes ask of two nodes, "a" and "b" unless others are named.
#pragma once
#include <gtest/gtest.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {

inline base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

// How long until both hear each other's packets sent from now on; more than at_most: they did not.
inline base::Duration meet(MeshSim& s, const std::string& a = "a", const std::string& b = "b", base::Duration at_most = std::chrono::seconds(30)) {
  base::Instant since = s.loop.now();
  if (!s.loop.run_until([&] { return s.met(a, b, since); }, at_most)) return at_most + std::chrono::hours(1);
  return s.loop.now() - since;
}

inline bool are_direct(const MeshSim& s, const std::string& a = "a", const std::string& b = "b") { return s.is_direct(a, b) && s.is_direct(b, a); }

inline std::string states(const MeshSim& s) { return s.view("a", "b").state + " " + s.view("b", "a").state; }

// Nothing came damaged, twice, or as if from somebody else.
inline void expect_sound(const MeshSim& s) {
  for (const auto& p : s.problems) ADD_FAILURE() << p;
  EXPECT_EQ(s.doubled + s.misattributed, 0u);
}

}  // namespace tunnel
