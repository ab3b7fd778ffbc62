// Values in the query part of a request target (RFC 3986 §2.1, §3.4): what a user typed goes through unchanged.
#pragma once
#include <string>
#include <string_view>

namespace base {

std::string percent_encode(std::string_view value);  // all but unreserved characters become %XX
// The value of name in "a=1&b=2", decoded; "" when absent. An escape that is none stays as it is.
std::string query_parameter(std::string_view query, std::string_view name);

}  // namespace base
