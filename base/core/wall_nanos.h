// The wall clock with its fractions, for records that others read beside their own (dnstap). Nothing is decided by it.
#pragma once
#include <cstdint>

namespace base {
int64_t wall_nanoseconds();  // since 1970-01-01 UTC
}  // namespace base
