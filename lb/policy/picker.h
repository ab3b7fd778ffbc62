// Picker: one frontend's balancing in user space (the proxy's dials, first contact), with the same decisions as the kernel's
// slot maps. Not thread-safe: one loop. Candidates may be replaced at any time; affinity and rotation go on.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "lb/policy/slot_table.h"

namespace lb {

struct PickKey {
  base::IpAddr client;
  base::Instant now{};  // for affinity
};

class Picker {
 public:
  enum class Policy : uint8_t { random, round_robin, source_hash };
  using Exclude = std::set<base::IpPort>;  // endpoints that this call has tried already

  // rng outlives the picker. affinity: ClientIP, sliding; beats the policy.
  Picker(Policy, std::optional<std::chrono::seconds> affinity, base::Rng& rng);
  void set_candidates(std::vector<Candidate>);  // order does not matter
  const std::vector<Candidate>& candidates() const { return candidates_; }

  // nullptr: none is left. The pointer holds until the next set_candidates().
  const Candidate* pick(const PickKey&, const Exclude& = {});

 private:
  struct Learned {
    base::IpPort addr;
    base::Instant until;
  };
  const Candidate* by_policy(const PickKey&, const Exclude&);
  const Candidate* first_from(size_t slot, const Exclude&) const;
  const Candidate* remembered(const PickKey&, const Exclude&);
  void remember(const PickKey&, const base::IpPort&);

  Policy policy_;
  std::optional<std::chrono::seconds> affinity_;
  base::Rng& rng_;
  std::vector<Candidate> candidates_;  // sorted
  SlotTable table_;
  size_t next_ = 0;
  std::unordered_map<base::IpAddr, Learned> learned_;
};

}  // namespace lb
