#include "base/core/wall_clock.h"

#include <fmt/format.h>

#include <ctime>

namespace base {

WallTime wall_now() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return {t.tv_sec};
}

WallTime build_day() { return {EDGEMESH_BUILD_DAY}; }

std::string to_date(WallTime t) {
  // Civil date from days (proleptic Gregorian), so that no libc time zone is involved.
  int64_t days = t.unix_seconds / 86400, rest = t.unix_seconds % 86400;
  if (rest < 0) rest += 86400, days--;
  std::chrono::year_month_day d{std::chrono::sys_days{std::chrono::days{days}}};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z", int(d.year()), unsigned(d.month()), unsigned(d.day()), rest / 3600,
                     rest / 60 % 60, rest % 60);
}

}  // namespace base
