// RandomMesh: a mesh made of a seed, and the faults thrown at it: 3 to 6 nodes behind random NATs with one or two relays, or a fleet of
// many with three, of which each talks to a few; lossy and reordering links. After each fault every pair that can talk must do so within
// 30 virtual seconds, and no packet may be accepted twice or as from another peer; in a fleet, 30 s after the last fault every pair whose
// NATs allow it is direct; at the end no timer is left. A run is a function of its seed.
//
// Faults: a node killed, two killed, a site's nodes all killed; killed without a relay, one, both; a NAT flushed, given another address;
// a relay restarted, one of several dead, all of them dead; two nodes parted, one way only, all parts healed; a host cut off; a node
// without UDP; a node moved behind another box, told of it, not told; a link that loses a third, that doubles and reorders, that is
// slow, that carries only 1,300 bytes; a clock jumped by seconds, by hours; silence for longer than NATs remember.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {

class RandomMesh {
 public:
  using Pair = std::pair<std::string, std::string>;
  // nodes 0: a few.
  explicit RandomMesh(uint64_t seed, size_t nodes = 0) : chance_(seed * 2654435761u + 1), sim_(seed), nodes_(nodes) {}
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
  void choose_pairs();
  void all_direct();
  bool can_be_direct(const Pair&) const;
  std::string fleet_fault();
  std::string bad_link(const std::string& victim);
  std::string move(const std::string& victim);
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
  size_t nodes_ = 0;
  struct Site {
    std::optional<size_t> box;  // none: on the internet
    bool direct = true;
  };
  std::map<std::string, Site> sites_;
  std::set<Pair> parted_;  // at some time: nobody is told when they can reach each other again
  bool two_relays_ = false;
  uint32_t rebinds_ = 0, moves_ = 0;
  std::string failure_;
  std::optional<Pair> apart_, watched_;
  std::function<void(const std::string&)> tell_;
  std::string last_state_;
};

}  // namespace tunnel
