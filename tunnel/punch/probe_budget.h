// At most 50 checks per second to addresses that have not answered, for the whole node; birthday probes are counted apart (puncher.h).
#pragma once
#include <algorithm>

#include "base/core/time.h"

namespace tunnel {

class ProbeBudget {
 public:
  bool take(base::Instant now) {
    double seconds = last_ == base::Instant{} ? 0 : std::chrono::duration<double>(now - last_).count();
    last_ = now;
    tokens_ = std::min(kBurst, tokens_ + seconds * kPerSecond);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  static constexpr double kPerSecond = 50, kBurst = 50;
  double tokens_ = kBurst;
  base::Instant last_{};
};

}  // namespace tunnel
