#include "base/conf/go_section.h"

#include <algorithm>
#include <cctype>

#include "base/conf/schema.h"

namespace base::conf {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return std::tolower(uint8_t(x)) == std::tolower(uint8_t(y)); });
}

// An exact match goes before one in another case, as in Go's encoding/json.
const Member* find_member(const Value* v, std::string_view key) {
  const Value::Map* map = v ? v->map() : nullptr;
  if (!map) return nullptr;
  const Member* other_case = nullptr;
  for (const Member& m : *map) {
    if (m.key == key) return &m;
    if (same_name(m.key, key)) other_case = &m;
  }
  return other_case;
}

std::string line(const GoFile& f, Mark m, const std::string& path, std::string_view what) {
  return fmt::format("{}:{}:{}: {}{}{}", f.name, m.line, m.column, path, path.empty() ? "" : ": ", what);
}

}  // namespace

void GoFile::note(Mark m, const std::string& path, std::string_view what) { notes.push_back(line(*this, m, path, what)); }

void GoFile::fail(Mark m, const std::string& path, std::string_view what) {
  if (!error) error = Error{Code::invalid, line(*this, m, path, what)};
}

GoSection::GoSection(GoFile& file, const Value* value, std::string path) : file_(file), value_(value), path_(std::move(path)) {
  if (!value_ || value_->is_null() || value_->map()) return;
  file_.fail(value_->mark, path_, fmt::format("needs a map, not {}", value_->type_name()));
}

std::string GoSection::path(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }

const Value* GoSection::take(std::string_view key) {
  asked_.emplace_back(key);
  const Member* m = find_member(value_, key);
  if (!m) return nullptr;
  taken_.insert(m);
  return m->value.is_null() ? nullptr : &m->value;
}

bool GoSection::has(std::string_view key) { return take(key) != nullptr; }

Mark GoSection::mark(std::string_view key) {
  if (const Member* m = find_member(value_, key)) return m->value.mark;
  return value_ ? value_->mark : Mark{1, 1};
}

const Value* GoSection::typed(std::string_view key, const Value* v, bool fits, std::string_view wanted) {
  if (v && !fits) fail(key, fmt::format("needs {}, not {}", wanted, v->type_name()));
  return v && fits ? v : nullptr;
}

bool GoSection::read(std::string_view key, bool& out) {
  const Value* v = take(key);
  if (!typed(key, v, v && v->boolean(), "true or false")) return false;
  out = *v->boolean();
  return true;
}

bool GoSection::read(std::string_view key, std::string& out) {
  const Value* v = take(key);
  if (!typed(key, v, v && v->text(), "a string")) return false;
  out = *v->text();
  return true;
}

bool GoSection::read(std::string_view key, int64_t& out, int64_t min, int64_t max) {
  const Value* v = take(key);
  if (!typed(key, v, v && v->integer(), "an integer")) return false;
  if (*v->integer() < min || *v->integer() > max) {
    fail(key, fmt::format("{} is not between {} and {}", *v->integer(), min, max));
    return false;
  }
  out = *v->integer();
  return true;
}

bool GoSection::read(std::string_view key, std::vector<std::string>& out) {
  const Value* v = take(key);
  const bool fits = v && v->list() && std::all_of(v->list()->begin(), v->list()->end(), [](const Value& e) { return e.text() != nullptr; });
  if (!typed(key, v, fits, "a list of strings")) return false;
  out.clear();
  for (const Value& e : *v->list()) out.push_back(*e.text());
  return true;
}

GoSection GoSection::sub(std::string_view key) { return GoSection(file_, take(key), path(key)); }

std::vector<GoSection> GoSection::list(std::string_view key) {
  const Value* v = take(key);
  std::vector<GoSection> out;
  if (!typed(key, v, v && v->list(), "a list")) return out;
  for (const Value& e : *v->list()) out.emplace_back(file_, &e, fmt::format("{}[{}]", path(key), out.size()));
  return out;
}

void GoSection::ignore(std::initializer_list<std::string_view> keys, std::string_view why) {
  for (auto key : keys)
    if (take(key)) note(key, fmt::format("has no effect: {}", why));
}

void GoSection::finish() {
  const Value::Map* map = value_ ? value_->map() : nullptr;
  if (!map) return;
  for (const Member& m : *map) {
    if (taken_.contains(&m)) continue;
    const std::string near = nearest_word(m.key, asked_);
    file_.note(m.mark, path(m.key), near.empty() ? std::string("is not a key of this file and has no effect")
               : same_name(near, m.key) ? fmt::format("has no effect: \"{}\" is given too", near)
                                        : fmt::format("is not a key of this file and has no effect; did you mean \"{}\"?", near));
  }
}

}  // namespace base::conf
