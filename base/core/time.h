// Time as the daemon knows it: a monotonic instant in nanoseconds since boot (CLOCK_BOOTTIME: it goes on in suspend), given
// by the loop. Wall-clock time exists only in certificates and log lines and has its own type.
#pragma once
#include <chrono>
#include <cstdint>

namespace base {

using Duration = std::chrono::nanoseconds;

struct BootClock {  // names the epoch of Instant; deliberately has no now(): time is given (Loop::now())
  using rep = int64_t;
  using period = std::nano;
  using duration = Duration;
  using time_point = std::chrono::time_point<BootClock, Duration>;
  static constexpr bool is_steady = true;
};
using Instant = BootClock::time_point;

struct WallTime {  // seconds since 1970-01-01 UTC
  int64_t unix_seconds = 0;
  auto operator<=>(const WallTime&) const = default;
};

using namespace std::chrono_literals;

inline int64_t to_ms(Duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); }

}  // namespace base
