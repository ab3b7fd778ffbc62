// HTTP dates (RFC 9110 §5.6.7): the one form servers send today, "Sun, 06 Nov 1994 08:49:37 GMT".
#pragma once
#include <optional>
#include <string_view>

#include "base/core/time.h"

namespace base {
std::optional<WallTime> parse_http_date(std::string_view);
}  // namespace base
