// For tests of the plain reader (plain_yaml.h): values with their places as text, and the same documents read by the library.
#pragma once
#include <fmt/format.h>

#include <string>

#include "base/conf/yaml.h"

namespace base::conf {

inline std::string show(const Value& v) {
  std::string out = fmt::format("@{}:{} ", v.mark.line, v.mark.column);
  if (v.is_null()) return out + "null";
  if (v.boolean()) return out + (*v.boolean() ? "true" : "false");
  if (v.integer()) return out + fmt::format("int {}", *v.integer());
  if (v.number()) return out + fmt::format("double {}", *v.number());
  if (v.text()) return out + "\"" + *v.text() + "\"";
  if (v.list()) {
    out += "[";
    for (const Value& x : *v.list()) out += show(x) + ", ";
    return out + "]";
  }
  out += "{";
  for (const Member& m : *v.map()) out += fmt::format("{}@{}:{}: ", m.key, m.mark.line, m.mark.column) + show(m.value) + ", ";
  return out + "}";
}

inline std::string read_all(const std::string& text) {
  std::string out;
  auto r = parse_yaml_stream(text, "t", [&](Value&& v) -> Result<void> { return out += show(v) + "\n", Result<void>{}; });
  return r ? out : out + "error " + r.error().what;
}

// A comment that is not ASCII sends a document to the library and changes nothing else.
inline std::string by_library(const std::string& text) { return read_all(text + (text.ends_with('\n') ? "" : "\n") + "# \xc3\xa9\n"); }

}  // namespace base::conf
