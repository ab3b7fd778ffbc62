#include "base/kube/json_fields.h"

namespace base::kube {

using simdjson::dom::element_type;

const char* JsonFields::type_name(Element e) {
  switch (e.type()) {
    case element_type::ARRAY: return "a list";
    case element_type::OBJECT: return "a map";
    case element_type::INT64:
    case element_type::UINT64: return "an integer";
    case element_type::DOUBLE: return "a number";
    case element_type::STRING: return "a string";
    case element_type::BOOL: return "a bool";
    case element_type::NULL_VALUE: return "null";
  }
  return "nothing";
}

void JsonFields::expect_map() const {
  if (here_ && v_.type() != element_type::OBJECT && v_.type() != element_type::NULL_VALUE) wrong("", fmt::format("needs a map, not {}", type_name(v_)));
}

std::string JsonFields::path(std::string_view key) const {
  std::string out = parent_ ? parent_->path(key_) : "";
  if (index_ != SIZE_MAX) out += "[" + std::to_string(index_) + "]";
  if (!out.empty() && !key.empty()) out += ".";
  return out + std::string(key);
}

void JsonFields::wrong(std::string_view key, std::string_view what) const {
  if (errors_.first) return;
  const std::string p = path(key);
  errors_.first = Error{Code::invalid, fmt::format("{}: {}{}{}: {}", errors_.place, one_line(errors_.object), p.empty() ? "" : ": ", one_line(p), one_line(what))};
}

std::optional<JsonFields::Element> JsonFields::get(std::string_view key) const {
  simdjson::dom::object map;
  if (!here_ || errors_.first || v_.get(map)) return std::nullopt;
  for (auto member : map)
    if (member.key == key) return member.value.is_null() ? std::nullopt : std::optional(member.value);
  return std::nullopt;
}

std::string JsonFields::str(std::string_view key) const {
  const auto v = get(key);
  std::string_view t;
  if (v && v->get(t)) wrong(key, fmt::format("needs a string, not {}", type_name(*v)));
  return std::string(t);
}

bool JsonFields::boolean(std::string_view key, bool absent) const {
  const auto v = get(key);
  bool b = absent;
  if (v && v->get(b)) return wrong(key, fmt::format("needs true or false, not {}", type_name(*v))), absent;
  return b;
}

int64_t JsonFields::integer(std::string_view key, int64_t absent, int64_t min, int64_t max) const {
  const auto v = get(key);
  if (!v) return absent;
  int64_t n = 0;
  if (v->get(n)) wrong(key, fmt::format("needs an integer, not {}", type_name(*v)));
  else if (n < min || n > max) wrong(key, fmt::format("{} is out of range ({} to {})", n, min, max));
  else return n;
  return absent;
}

StringMap JsonFields::strings(std::string_view key) const {
  StringMap out;
  const auto v = get(key);
  simdjson::dom::object map;
  if (!v) return out;
  const JsonFields at(v, this, key, SIZE_MAX);
  if (v->get(map)) return wrong(key, fmt::format("needs a map, not {}", type_name(*v))), out;
  for (auto member : map) {
    std::string_view t;
    if (member.value.get(t)) {
      if (!member.value.is_null()) return at.wrong(member.key, fmt::format("needs a string, not {}", type_name(member.value))), out;
    }
    out.emplace(member.key, t);
  }
  return out;
}

JsonFields JsonFields::inside(std::string_view key) const {
  JsonFields f(get(key), this, key, SIZE_MAX);
  f.expect_map();
  return f;
}

}  // namespace base::kube
