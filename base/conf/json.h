// JSON (RFC 8259) to Value, strict: no comments, no trailing commas, no duplicate keys. Bounded by base/core/limits.h.
#pragma once
#include <functional>
#include <string_view>

#include "base/conf/value.h"
#include "base/core/result.h"

namespace base::conf {

// One document or several behind one another (only white space between them). An error stops the reading:
// "<file>:<line>:<column>: <what>". each's error does so too, unchanged.
Result<void> parse_json_stream(std::string_view text, std::string_view file, const std::function<Result<void>(Value&&)>& each);

}  // namespace base::conf
