// The wall clock, for certificates and people only. Everything else is told the time (Loop::now()). What certificates are checked
// against is not this but TrustClock (trust_clock.h).
#pragma once
#include <string>

#include "base/core/time.h"

namespace base {
WallTime wall_now();
WallTime build_day();           // when this program was made: no certificate can be checked earlier than that
std::string to_date(WallTime);  // "2026-02-21 10:00:00Z", for messages
}  // namespace base
