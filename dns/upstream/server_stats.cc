#include "dns/upstream/server_stats.h"

#include <algorithm>

namespace dns {

void ServerStats::answered(base::Duration took, base::Instant now) {
  last_ = now;
  silent_ = 0;
  us_[count_++ % kWindow] = uint32_t(std::min<int64_t>(took / std::chrono::microseconds(1), UINT32_MAX));
  usual_ = count_ == 1 ? took : usual_ + (took - usual_) / 8;
  auto sorted = us_;
  size_t n = std::min<size_t>(count_, kWindow), at = (n * 95 - 1) / 100;
  std::nth_element(sorted.begin(), sorted.begin() + std::ptrdiff_t(at), sorted.begin() + std::ptrdiff_t(n));
  p95_ = std::chrono::microseconds(sorted[at]);
}

void ServerStats::unanswered(base::Instant now) {
  last_ = now;
  silent_++;
}

base::Duration ServerStats::cost() const {
  using namespace std::chrono_literals;
  return usual_ + std::min(silent_, kDownAfter) * usual_ + (down() ? base::Duration(1h) : 0ns);
}

}  // namespace dns
