// ServerStats: what one server's answers took and how it does: the usual time, the 95th percentile of the last ones, and how many
// queries in a row went unanswered. Pure.
#pragma once
#include <array>
#include <cstdint>

#include "base/core/time.h"

namespace dns {

class ServerStats {
 public:
  void answered(base::Duration took, base::Instant now);
  void unanswered(base::Instant now);
  bool measured() const { return count_ > 0; }
  base::Duration usual() const { return usual_; }  // moving average, an eighth of each new one
  base::Duration p95() const { return p95_; }      // of the last 64
  uint32_t silent() const { return silent_; }      // in a row
  bool down() const { return silent_ >= kDownAfter; }
  base::Instant heard_or_given_up() const { return last_; }
  // Smaller is better. A silent server is worse by its silence, one that is down worse than all that are not.
  base::Duration cost() const;

 private:
  static constexpr uint32_t kDownAfter = 3;
  static constexpr size_t kWindow = 64;
  std::array<uint32_t, kWindow> us_{};
  uint32_t count_ = 0, silent_ = 0;
  base::Duration usual_{0}, p95_{0};
  base::Instant last_{};
};

}  // namespace dns
