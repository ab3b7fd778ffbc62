#include "base/kube/fields.h"

namespace base::kube {

using conf::Mark;
using conf::Value;

std::string one_line(std::string_view s) {
  constexpr size_t kBytes = 400;
  std::string out(s.substr(0, kBytes));
  for (char& c : out)
    if (uint8_t(c) < 0x20 || c == 0x7f) c = ' ';
  if (s.size() > kBytes) out += "...";
  return out;
}

void Fields::expect_map() {
  if (v_ && !v_->is_null() && !v_->map()) error(v_->mark, "", fmt::format("needs a map, not {}", v_->type_name()));
}

std::string Fields::path(std::string_view key) const {
  std::string out = parent_ ? parent_->path(key_) : "";
  if (index_ != SIZE_MAX) out += "[" + std::to_string(index_) + "]";
  if (!out.empty() && !key.empty()) out += ".";
  return out + std::string(key);
}

void Fields::error(Mark m, std::string_view key, std::string_view what) const {
  if (errors_.first) return;
  const std::string p = path(key);
  errors_.first = Error{Code::invalid, fmt::format("{}:{}:{}: {}{}{}: {}", errors_.file, m.line, m.column, one_line(errors_.object), p.empty() ? "" : ": ", one_line(p), one_line(what))};
}

const Value* Fields::get(std::string_view key) const {
  if (!v_ || errors_.first) return nullptr;
  const Value* v = v_->find(key);
  return v && !v->is_null() ? v : nullptr;
}

std::string Fields::str(std::string_view key) const {
  const Value* v = get(key);
  if (!v) return "";
  if (const std::string* t = v->text()) return *t;
  error(v->mark, key, fmt::format("needs a string, not {}; quote it", v->type_name()));
  return "";
}

bool Fields::boolean(std::string_view key, bool absent) const {
  const Value* v = get(key);
  if (!v) return absent;
  if (v->boolean()) return *v->boolean();
  error(v->mark, key, fmt::format("needs true or false, not {}", v->type_name()));
  return absent;
}

int64_t Fields::integer(std::string_view key, int64_t absent, int64_t min, int64_t max) const {
  const Value* v = get(key);
  if (!v) return absent;
  if (!v->integer()) error(v->mark, key, fmt::format("needs an integer, not {}", v->type_name()));
  else if (*v->integer() < min || *v->integer() > max) error(v->mark, key, fmt::format("{} is out of range ({} to {})", *v->integer(), min, max));
  else return *v->integer();
  return absent;
}

StringMap Fields::strings(std::string_view key) const {
  StringMap out;
  const Value* v = get(key);
  if (!v) return out;
  const Fields at(v, this, key, SIZE_MAX);
  if (!v->map()) return error(v->mark, key, fmt::format("needs a map, not {}", v->type_name())), out;
  for (const conf::Member& m : *v->map()) out.emplace(m.key, at.str(m.key));
  return out;
}

void Fields::each_value(std::string_view key, const std::function<void(const Value&, const Fields&)>& f) const {
  const Value* v = get(key);
  if (!v) return;
  if (!v->list()) return error(v->mark, key, fmt::format("needs a list, not {}", v->type_name()));
  for (size_t i = 0; i < v->list()->size() && !errors_.first; ++i) f((*v->list())[i], Fields(&(*v->list())[i], this, key, i));
}

void Fields::each(std::string_view key, const std::function<void(const Fields&)>& f) const {
  each_value(key, [&](const Value& v, const Fields& at) {
    if (!v.map()) return at.error(v.mark, "", fmt::format("needs a map, not {}", v.type_name()));
    f(at);
  });
}

}  // namespace base::kube
