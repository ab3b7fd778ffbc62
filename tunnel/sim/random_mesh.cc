#include "tunnel/sim/random_mesh.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kMeetWithin = 30s;
constexpr int kFaults = 6;
constexpr size_t kTalksEach = 3;  // in a fleet, besides those who talk to it
}  // namespace

base::NatSpec RandomMesh::random_nat(int i) {
  base::NatRule rules[] = {base::NatRule::independent, base::NatRule::address, base::NatRule::endpoint};
  return {.public_ip = base::IpAddr::v4((nodes_ ? 0xc6330000u : 0xc6336400u) + uint32_t(i) + 1),
          .mapping = rules[chance_.below(3)],
          .filtering = rules[chance_.below(3)],
          .hairpin = chance_.below(2) == 0,
          .keep_port = chance_.below(2) == 0};
}

MeshSim::NodeSpec RandomMesh::random_node(int i) {
  MeshSim::NodeSpec spec;
  if (chance_.below(5) == 0) {
    spec.ip = base::IpAddr::v4(0xc6120000u + uint32_t(i) + 1);
  } else {
    bool joins = !boxes_.empty() && chance_.below(4) == 0;
    if (!joins) boxes_.push_back(random_nat(i));
    spec.nat = boxes_.back();
    sites_[fmt::format("node-{}", i)].box = boxes_.size() - 1;
    spec.ip = base::IpAddr::v4(0xc0a8010au + (joins ? uint32_t(i) : 0));  // the same address behind different boxes
  }
  spec.direct = chance_.below(6) != 0;
  sites_[fmt::format("node-{}", i)].direct = spec.direct;
  return spec;
}

void RandomMesh::build() {
  two_relays_ = chance_.below(2) == 0 || nodes_;
  if (two_relays_) sim_.add_relay();
  if (nodes_) sim_.add_relay();
  if (nodes_) sim_.talk_every = 500ms;
  int count = nodes_ ? int(nodes_) : 3 + int(chance_.below(4));
  for (int i = 0; i < count; i++) {
    std::string name = fmt::format("node-{}", i);
    sim_.add(name, random_node(i));
    base::LinkSpec link;
    link.latency = 1ms * (1 + chance_.below(40));
    link.jitter = 1ms * chance_.below(10);
    link.loss = double(chance_.below(6)) / 100;
    link.reorder = double(chance_.below(10)) / 100;
    link.duplicate = double(chance_.below(4)) / 100;
    sim_.host(name).set_link(link);
    for (const auto& other : names_)
      if (!nodes_) pairs_.push_back({other, name});
    names_.push_back(name);
  }
  if (nodes_) choose_pairs();
  for (const auto& n : names_) sim_.start(n);
  for (const auto& [a, b] : pairs_) sim_.talk(a, b);
}

void RandomMesh::choose_pairs() {
  std::set<Pair> chosen;
  for (size_t i = 1; i < names_.size(); i++)
    for (size_t k = 0; k < std::min(i, kTalksEach); k++) chosen.insert({names_[chance_.below(i)], names_[i]});
  pairs_.assign(chosen.begin(), chosen.end());
}

// What needs no luck: both boxes map to one port, or the one that does lets in whoever comes from an address it has sent to.
bool RandomMesh::can_be_direct(const Pair& p) const {
  const Site &a = sites_.at(p.first), &b = sites_.at(p.second);
  if (!a.direct || !b.direct || parted_.contains(p)) return false;
  if (a.box == b.box || !a.box || !b.box) return true;
  const base::NatSpec &x = boxes_[*a.box], &y = boxes_[*b.box];
  bool x_easy = x.mapping == base::NatRule::independent, y_easy = y.mapping == base::NatRule::independent;
  if (x_easy && y_easy) return true;
  return (x_easy && x.filtering != base::NatRule::endpoint) || (y_easy && y.filtering != base::NatRule::endpoint);
}

void RandomMesh::all_direct() {
  auto is_best = [&](const Pair& p) {
    return !can_be_direct(p) || (sim_.is_direct(p.first, p.second) && sim_.is_direct(p.second, p.first));
  };
  base::Instant began = sim_.loop.now();
  while (sim_.loop.now() - began < kMeetWithin) {
    look();
    if (std::all_of(pairs_.begin(), pairs_.end(), is_best)) return;
    sim_.run_for(500ms);
  }
  for (const auto& p : pairs_) {
    if (is_best(p)) continue;
    if (!apart_) apart_ = p;
    failure_ += fmt::format("{} and {} could be direct and are not 30 s after the last fault\n{}{}", p.first, p.second,
                            side(p.first, p.second), side(p.second, p.first));
  }
}

// Every pair hears packets sent from now on.
void RandomMesh::all_meet(const std::string& after) { pairs_meet(pairs_, after); }

void RandomMesh::pairs_meet(const std::vector<Pair>& pairs, const std::string& after) {
  base::Instant since = sim_.loop.now();
  if (watched_) tell_(fmt::format("{:8.3f} --- {}\n", seconds(), after));
  auto has_met = [&](const Pair& p) { return sim_.met(p.first, p.second, since); };
  size_t first = 0;  // that has not met: asked whenever a packet came
  uint64_t delivered = ~0ull;
  auto all = [&] {
    look();
    if (sim_.delivered == delivered) return false;
    delivered = sim_.delivered;
    while (first < pairs.size() && has_met(pairs[first])) first++;
    return first == pairs.size();
  };
  if (sim_.loop.run_until(all, kMeetWithin)) return;
  for (const auto& p : pairs)
    if (!has_met(p)) note_apart(p, after);
}

void RandomMesh::note_apart(const Pair& p, const std::string& after) {
  const auto& [a, b] = p;
  if (!apart_) apart_ = p;
  failure_ += fmt::format("after {}: {} and {} do not meet within 30 s\n{}{}", after, a, b, side(a, b), side(b, a));
}

void RandomMesh::watch(Pair p, std::function<void(const std::string&)> tell) {
  watched_ = std::move(p);
  tell_ = std::move(tell);
}

void RandomMesh::look() {
  if (!watched_) return;
  const auto& [a, b] = *watched_;
  std::string state = side(a, b) + side(b, a);
  if (state != std::exchange(last_state_, state)) tell_(fmt::format("{:8.3f}\n{}", seconds(), state));
}

std::string RandomMesh::side(const std::string& a, const std::string& b) {
  auto v = sim_.view(a, b);
  return fmt::format("  {} -> {}: {} {} {}, keys {}\n{}", a, b, v.state, v.path, v.last_error, sim_.keys(a, b),
                     v.state.empty() ? "" : ways(a, b));
}

// All a node knows about the ways to another.
std::string RandomMesh::ways(const std::string& a, const std::string& b) {
  std::string out;
  for (const auto& p : sim_.mesh(a).paths())
    if (p.peer == b) out += fmt::format("    {} {} {}{}\n", p.address, p.kind, p.state, p.active ? " active" : "");
  return out;
}

std::string RandomMesh::fault() {
  const std::string& victim = names_[chance_.below(names_.size())];
  switch (chance_.below(6)) {
    case 0:
      sim_.kill(victim);
      sim_.run_for(1ms * chance_.below(4000));
      sim_.start(victim);
      return "kill and restart of " + victim;
    case 1:
      if (boxes_.empty()) return "nothing";
      sim_.net.nat(boxes_[chance_.below(boxes_.size())]).flush();
      return "flush of a NAT";
    case 2:
      sim_.set_relay(false);
      sim_.run_for(1ms * chance_.below(8000));
      sim_.set_relay(true);
      return "restart of the relay";
    case 3: {
      const std::string& other = names_[chance_.below(names_.size())];
      if (other == victim) return "nothing";
      sim_.net.partition(sim_.host(victim), sim_.host(other));
      parted_.insert({other, victim}), parted_.insert({victim, other});
      return fmt::format("{} and {} do not reach each other", victim, other);
    }
    case 4:
      return restarts_without_relay(victim);
    default:
      sim_.net.heal_all();
      return "healing of all partitions";
  }
}

// The relay dies, then one node or two; what was direct must be direct again before the relay is back.
std::string RandomMesh::restarts_without_relay(const std::string& victim) {
  std::vector<std::string> victims{victim};
  const std::string& second = names_[chance_.below(names_.size())];
  if (second != victim && chance_.below(2)) victims.push_back(second);
  std::vector<Pair> direct;
  for (const auto& p : pairs_)
    if (sim_.is_direct(p.first, p.second) && sim_.is_direct(p.second, p.first) && is_kept(p)) direct.push_back(p);
  sim_.set_relay(false);
  sim_.run_for(1ms * chance_.below(5000));
  for (const auto& v : victims) sim_.kill(v);
  sim_.run_for(1ms * chance_.below(4000));
  for (const auto& v : victims) sim_.start(v);
  std::string what = fmt::format("restart of {} without a relay", victims.size() == 1 ? victim : victim + " and " + victims[1]);
  pairs_meet(direct, what);
  sim_.set_relay(true);
  return what;
}

// Both have written where the other was.
bool RandomMesh::is_kept(const Pair& p) const {
  auto knows = [&](const std::string& a, const std::string& b) {
    auto it = sim_.disks.find(a);
    auto known = it == sim_.disks.end() ? base::Result<KnownPeers>(KnownPeers()) : KnownPeers::decode(it->second);
    return known && known->find(b) && !known->find(b)->paths.empty();
  };
  return knows(p.first, p.second) && knows(p.second, p.first);
}

std::string RandomMesh::wider_fault() {
  const std::string& victim = names_[chance_.below(names_.size())];
  switch (chance_.below(5)) {
    case 0: {
      base::Duration ahead = chance_.below(2) ? 1s * chance_.below(120) : 1min * chance_.below(180);
      sim_.jump_clock(victim, ahead);
      return fmt::format("jump of {}'s clock by {} s", victim, std::chrono::duration_cast<std::chrono::seconds>(ahead).count());
    }
    case 1: {
      if (boxes_.empty()) return "nothing";
      base::NatSpec& box = boxes_[chance_.below(boxes_.size())];
      auto other = base::IpAddr::v4((nodes_ ? 0xc6338000u : 0xc6336480u) + ++rebinds_);
      sim_.net.nat(box).rebind(other);
      box.public_ip = other;
      return "another address of a NAT";
    }
    case 2:
      sim_.host(victim).set_up(false);
      sim_.run_for(1ms * chance_.below(20000));
      sim_.host(victim).set_up(true);
      return victim + " was cut off";
    case 3: {
      const std::string& second = names_[chance_.below(names_.size())];
      sim_.kill(victim);
      sim_.kill(second);
      sim_.run_for(1ms * chance_.below(4000));
      sim_.start(victim);
      sim_.run_for(1ms * chance_.below(4000));
      if (second != victim) sim_.start(second);
      return fmt::format("restarts of {} and {}", victim, second);
    }
    default: {
      if (!two_relays_) return "nothing";
      size_t which = chance_.below(nodes_ ? 3 : 2);
      sim_.set_relay(false, which);
      all_meet(fmt::format("death of relay {}", which));  // the other one lives
      sim_.set_relay(true, which);
      return fmt::format("return of relay {}", which);
    }
  }
}

std::string RandomMesh::bad_link(const std::string& victim) {
  base::LinkSpec before = sim_.host(victim).link(), link = before;
  const char* what = "";
  switch (chance_.below(4)) {
    case 0:
      link.loss = 0.33, what = "loses a third";
      break;
    case 1:
      link.duplicate = link.reorder = 0.5, what = "doubles and reorders";
      break;
    case 2:
      link.latency += 400ms, what = "is slow";
      break;
    default:
      link.mtu = 1300, what = "carries 1,300 bytes";
  }
  sim_.host(victim).set_link(link);
  sim_.run_for(1ms * chance_.below(15000));
  sim_.host(victim).set_link(before);
  return fmt::format("a link of {} that {}", victim, what);
}

std::string RandomMesh::move(const std::string& victim) {
  size_t box = chance_.below(boxes_.size());
  auto ip = base::IpAddr::v4(0xc0a80210u + uint32_t(++moves_));
  sim_.host(victim).move_behind(sim_.net.nat(boxes_[box]), ip);
  sites_[victim].box = box;
  bool told = chance_.below(2);
  if (told) sim_.tell_own_addresses(victim);
  else sites_[victim].direct = false;  // it may be met directly at its new address, or not
  return fmt::format("move of {}, {}", victim, told ? "told" : "not told");
}

std::string RandomMesh::fleet_fault() {
  const std::string& victim = names_[chance_.below(names_.size())];
  switch (chance_.below(7)) {
    case 6:
      sim_.silence();
      sim_.run_for(130s);
      for (const auto& [a, b] : pairs_) sim_.talk(a, b);
      return "silence";
    case 0: {
      std::vector<std::string> site;
      for (const auto& [name, s] : sites_)
        if (s.box == sites_[victim].box && site.size() < names_.size() / 4) site.push_back(name);
      for (const auto& n : site) sim_.kill(n);
      sim_.run_for(1ms * chance_.below(4000));
      for (const auto& n : site) sim_.start(n);
      return fmt::format("restart of {} nodes of a site", site.size());
    }
    case 1:
      for (size_t i = 0; i < 3; i++) sim_.set_relay(false, i);
      sim_.run_for(1ms * chance_.below(8000));
      for (size_t i = 0; i < 3; i++) sim_.set_relay(true, i);
      return "death of all relays";
    case 2: {
      const std::string& other = names_[chance_.below(names_.size())];
      if (other == victim) return "nothing";
      sim_.net.block(sim_.host(victim), sim_.host(other));
      parted_.insert({other, victim}), parted_.insert({victim, other});
      return fmt::format("{} does not reach {}", victim, other);
    }
    case 3:
      sim_.block_udp(victim, true);
      sim_.run_for(1ms * chance_.below(20000));
      sim_.block_udp(victim, false);
      for (const auto& n : names_) parted_.insert({n, victim}), parted_.insert({victim, n});
      return victim + " without UDP";
    case 4:
      return bad_link(victim);
    default:
      return boxes_.empty() ? "nothing" : move(victim);
  }
}

bool RandomMesh::go() {
  build();
  all_meet("start");
  for (int i = 0; i < kFaults && failure_.empty(); i++) {
    sim_.run_for(1ms * chance_.below(20000));
    uint64_t kind = chance_.below(nodes_ ? 3 : 2);
    all_meet(kind == 0 ? wider_fault() : kind == 1 ? fault() : fleet_fault());
  }
  if (failure_.empty() && nodes_) all_direct();
  if (failure_.empty() && !sim_.ends_clean()) failure_ += "a timer is left behind\n";
  for (const auto& p : sim_.problems) failure_ += p + "\n";
  return failure_.empty();
}

std::string RandomMesh::summary() const {
  return fmt::format("{} nodes, {} packets, trace {:016x}", names_.size(), sim_.delivered, sim_.net.trace_hash());
}

}  // namespace tunnel
