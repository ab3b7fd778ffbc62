#include "dns/upstream/server_pool.h"

#include <algorithm>
#include <numeric>

namespace dns {

using base::Duration;
using base::Instant;
using namespace std::chrono_literals;

static constexpr Duration kPatienceMin = 10ms, kPatienceMax = 500ms, kPatienceUnknown = 100ms;
static constexpr Duration kAgainMin = 50ms, kAgainUnknown = 400ms;    // before the same server gets the same question again; doubles
static constexpr Duration kMeasureEvery = 10s, kMeasureDownEvery = 500ms;
static constexpr uint32_t kSilentMax = 3;
static constexpr Duration kProbeEvery = 500ms;

size_t ServerPool::usable(Instant now) const {
  return size_t(std::count_if(servers_.begin(), servers_.end(), [&](auto& s) { return !s->loops(now); }));
}

// One that was asked and has not answered yet is slower than those that have.
static Duration cost(const Server& s) { return !s.stats.measured() && s.asked != Instant() ? s.stats.cost() + 30min : s.stats.cost(); }

size_t ServerPool::next(const Tried& tried, Instant now) const {
  if (std::accumulate(tried.begin(), tried.end(), size_t(0)) >= kAskedMax) return kNone;
  size_t best = kNone;
  for (size_t i = 0; i < servers_.size(); i++) {
    if (servers_[i]->loops(now)) continue;
    if (best == kNone || std::pair(tried[i], cost(*servers_[i])) < std::pair(tried[best], cost(*servers_[best]))) best = i;
  }
  return best;
}

size_t ServerPool::to_measure(const Tried& tried, Instant now) const {
  for (size_t i = 0; i < servers_.size(); i++) {
    const Server& s = *servers_[i];
    Duration every = s.stats.down() ? kMeasureDownEvery : kMeasureEvery;
    bool lately = s.asked != Instant() && now - s.asked < (s.stats.measured() || s.stats.silent() ? every : kMeasureDownEvery);
    if (!tried[i] && !s.loops(now) && !lately) return i;
  }
  return kNone;
}

Duration ServerPool::patience(const Tried& tried, size_t last) const {
  const ServerStats& s = servers_[last]->stats;
  Duration p = s.measured() ? s.p95() : kPatienceUnknown;
  size_t least = size_t(*std::min_element(tried.begin(), tried.end()));
  if (least) p = std::max(s.measured() ? 2 * p : kAgainUnknown, kAgainMin) * (1 << std::min<size_t>(least - 1, 4));  // everybody was asked: this is a repetition
  return std::clamp(p, kPatienceMin, kPatienceMax);
}

bool ServerPool::untried(const Tried& tried, Instant now) const {
  for (size_t i = 0; i < servers_.size(); i++)
    if (!tried[i] && !servers_[i]->loops(now)) return true;
  return false;
}

size_t ServerPool::in_flight() const {
  return std::accumulate(servers_.begin(), servers_.end(), size_t(0), [](size_t n, auto& s) { return n + s->in_flight(); });
}

bool ServerPool::resting(Instant now) const { return silent_ >= kSilentMax && now - last_sent_ < kProbeEvery; }

}  // namespace dns
