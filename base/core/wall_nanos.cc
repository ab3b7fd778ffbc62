#include "base/core/wall_nanos.h"

#include <ctime>

namespace base {

int64_t wall_nanoseconds() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

}  // namespace base
