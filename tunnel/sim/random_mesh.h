// RandomMesh: a mesh made of a seed, and the faults thrown at it: 3 to 6 nodes behind random NATs with one or two relays, lossy and
// reordering links; nodes and relays die and come back, boxes forget and get other addresses, hosts are cut off, clocks jump. After each fault every pair that can talk must do so within 30 virtual seconds, and no packet may be
// accepted twice or as from another peer; at the end no timer is left. A run is a function of its seed.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {

class RandomMesh {
 public:
  using Pair = std::pair<std::string, std::string>;
  explicit RandomMesh(uint64_t seed) : chance_(seed * 2654435761u + 1), sim_(seed) {}
  // Tells whatever changes in the keys and paths between these two.
  void watch(Pair, std::function<void(const std::string&)> tell);
  bool go();
  const std::string& failure() const { return failure_; }
  const std::optional<Pair>& apart() const { return apart_; }  // the first that did not meet
  std::string summary() const;

 private:
  base::NatSpec random_nat(int number);
  MeshSim::NodeSpec random_node(int number);
  void build();
  void all_meet(const std::string& after);
  void pairs_meet(const std::vector<Pair>&, const std::string& after);
  std::string restarts_without_relay(const std::string& victim);
  bool is_kept(const Pair&) const;
  void note_apart(const Pair&, const std::string& after);
  std::string fault();
  std::string wider_fault();
  std::string side(const std::string& a, const std::string& b);
  std::string ways(const std::string& a, const std::string& b);
  void look();
  double seconds() const { return std::chrono::duration<double>(sim_.loop.now().time_since_epoch()).count(); }

  base::SeededRng chance_;
  MeshSim sim_;
  std::vector<std::string> names_;
  std::vector<Pair> pairs_;
  std::vector<base::NatSpec> boxes_;
  bool two_relays_ = false;
  uint32_t rebinds_ = 0;
  std::string failure_;
  std::optional<Pair> apart_, watched_;
  std::function<void(const std::string&)> tell_;
  std::string last_state_;
};

}  // namespace tunnel
