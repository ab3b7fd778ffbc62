#include "lb/policy/picker.h"

#include <algorithm>

#include "lb/policy/source_hash.h"

namespace lb {
namespace {
constexpr size_t kLearnedMax = 65536;  // as many as the kernel's affinity maps
}

Picker::Picker(Policy p, std::optional<std::chrono::seconds> affinity, base::Rng& rng) : policy_(p), affinity_(affinity), rng_(rng) {}

void Picker::set_candidates(std::vector<Candidate> c) {
  std::ranges::sort(c);
  candidates_ = std::move(c);
  bool hash = policy_ == Policy::source_hash && !affinity_;
  table_ = assign_slots(candidates_, hash ? SlotUse::hash : SlotUse::rotate);
}

const Candidate* Picker::pick(const PickKey& key, const Exclude& exclude) {
  if (!table_.modulus) return nullptr;
  if (!affinity_) return by_policy(key, exclude);
  if (auto* known = remembered(key, exclude)) return known;
  auto* fresh = by_policy(key, exclude);
  if (fresh) remember(key, fresh->addr);
  return fresh;
}

const Candidate* Picker::by_policy(const PickKey& key, const Exclude& exclude) {
  switch (policy_) {
    case Policy::random: return first_from(rng_.below(table_.modulus), exclude);
    case Policy::round_robin: return first_from(next_++ % table_.modulus, exclude);
    case Policy::source_hash: return first_from(source_hash(key.client, table_.modulus), exclude);
  }
  return nullptr;
}

// The slot's candidate, or the next one behind it that has not been tried.
const Candidate* Picker::first_from(size_t slot, const Exclude& exclude) const {
  for (size_t i = 0; i < table_.modulus; ++i) {
    const Candidate& c = candidates_[table_.slots[(slot + i) % table_.modulus]];
    if (!exclude.contains(c.addr)) return &c;
  }
  return nullptr;
}

const Candidate* Picker::remembered(const PickKey& key, const Exclude& exclude) {
  auto it = learned_.find(key.client);
  if (it == learned_.end() || it->second.until <= key.now || exclude.contains(it->second.addr)) return nullptr;
  auto c = std::ranges::find_if(candidates_, [&](const Candidate& x) { return x.addr == it->second.addr && x.weight; });
  if (c == candidates_.end()) return nullptr;
  it->second.until = key.now + *affinity_;
  return &*c;
}

void Picker::remember(const PickKey& key, const base::IpPort& addr) {
  if (learned_.size() >= kLearnedMax) {
    std::erase_if(learned_, [&](auto& e) { return e.second.until <= key.now; });
    if (learned_.size() >= kLearnedMax) learned_.erase(learned_.begin());
  }
  learned_.insert_or_assign(key.client, Learned{addr, key.now + *affinity_});
}

}  // namespace lb
