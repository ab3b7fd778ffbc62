#include "base/http/query.h"

#include <algorithm>

#include "base/core/bytes.h"

namespace base {

static bool is_unreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string percent_encode(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (is_unreserved(c)) out += c;
    else out += "%" + to_hex(as_bytes({&c, 1}));
  }
  return out;
}

static std::string percent_decode(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); i++) {
    auto byte = s[i] == '%' ? from_hex(s.substr(i + 1, 2)) : std::nullopt;
    if (!byte || byte->empty()) {
      out += s[i];
      continue;
    }
    out += char(byte->front());
    i += 2;
  }
  return out;
}

std::string query_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), one.size() + 1));
    if (one.size() > name.size() && one.substr(0, name.size()) == name && one[name.size()] == '=') return percent_decode(one.substr(name.size() + 1));
  }
  return "";
}

}  // namespace base
