// When to dial a place again: at once the first time, then with back-off that doubles and jitter that keeps a fleet apart.
#pragma once
#include <algorithm>

#include "base/core/rng.h"
#include "base/core/time.h"

namespace tunnel {

class Backoff {
 public:
  Backoff(base::Duration min, base::Duration max) : min_(min), max_(max), next_(min) {}
  // Between half and the whole of the current step, which then doubles.
  base::Duration step(base::Rng& rng) {
    base::Duration d = next_ / 2 + base::Duration(int64_t(double((next_ / 2).count()) * rng.unit()));
    next_ = std::min(next_ * 2, max_);
    return d;
  }
  void reset() { next_ = min_; }

 private:
  base::Duration min_, max_, next_;
};

}  // namespace tunnel
