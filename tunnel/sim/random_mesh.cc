#include "tunnel/sim/random_mesh.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kMeetWithin = 30s;
constexpr int kFaults = 6;
}  // namespace

base::NatSpec RandomMesh::random_nat(int i) {
  base::NatRule rules[] = {base::NatRule::independent, base::NatRule::address, base::NatRule::endpoint};
  return {.public_ip = base::IpAddr::v4(0xc6336400u + uint32_t(i) + 1), .mapping = rules[chance_.below(3)], .filtering = rules[chance_.below(3)],
          .hairpin = chance_.below(2) == 0, .keep_port = chance_.below(2) == 0};
}

MeshSim::NodeSpec RandomMesh::random_node(int i) {
  MeshSim::NodeSpec spec;
  if (chance_.below(5) == 0) {
    spec.ip = base::IpAddr::v4(0xc6120000u + uint32_t(i) + 1);
  } else {
    bool joins = !boxes_.empty() && chance_.below(4) == 0;
    if (!joins) boxes_.push_back(random_nat(i));
    spec.nat = boxes_.back();
    spec.ip = base::IpAddr::v4(0xc0a8010au + (joins ? uint32_t(i) : 0));  // the same address behind different boxes
  }
  spec.direct = chance_.below(6) != 0;
  return spec;
}

void RandomMesh::build() {
  two_relays_ = chance_.below(2) == 0;
  if (two_relays_) sim_.add_relay();
  int count = 3 + int(chance_.below(4));
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
    for (const auto& other : names_) pairs_.push_back({other, name});
    names_.push_back(name);
  }
  for (const auto& n : names_) sim_.start(n);
  for (const auto& [a, b] : pairs_) sim_.talk(a, b);
}

// Every pair hears packets sent from now on.
void RandomMesh::all_meet(const std::string& after) {
  pairs_meet(pairs_, after);
}

void RandomMesh::pairs_meet(const std::vector<Pair>& pairs, const std::string& after) {
  base::Instant since = sim_.loop.now();
  if (watched_) tell_(fmt::format("{:8.3f} --- {}\n", seconds(), after));
  auto has_met = [&](const Pair& p) { return sim_.met(p.first, p.second, since); };
  auto all = [&] {
    look();
    return std::all_of(pairs.begin(), pairs.end(), has_met);
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
  return fmt::format("  {} -> {}: {} {} {}, keys {}\n{}", a, b, v.state, v.path, v.last_error, sim_.keys(a, b), v.state.empty() ? "" : ways(a, b));
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
      return fmt::format("{} and {} do not reach each other", victim, other);
    }
    case 4: return restarts_without_relay(victim);
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
      auto other = base::IpAddr::v4(0xc6336480u + ++rebinds_);
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
      size_t which = chance_.below(2);
      sim_.set_relay(false, which);
      all_meet(fmt::format("death of relay {}", which));  // the other one lives
      sim_.set_relay(true, which);
      return fmt::format("return of relay {}", which);
    }
  }
}

bool RandomMesh::go() {
  build();
  all_meet("start");
  for (int i = 0; i < kFaults && failure_.empty(); i++) {
    sim_.run_for(1ms * chance_.below(20000));
    all_meet(chance_.below(2) ? fault() : wider_fault());
  }
  if (failure_.empty() && !sim_.ends_clean()) failure_ += "a timer is left behind\n";
  for (const auto& p : sim_.problems) failure_ += p + "\n";
  return failure_.empty();
}

std::string RandomMesh::summary() const {
  return fmt::format("{} nodes, {} packets, trace {:016x}", names_.size(), sim_.delivered, sim_.net.trace_hash());
}

}  // namespace tunnel
