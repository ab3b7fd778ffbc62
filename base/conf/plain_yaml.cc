#include "base/conf/plain_yaml.h"

#include <array>

#include "base/core/limits.h"

namespace base::conf {
namespace {

constexpr size_t kDepthMax = 32, kKeyBytesMax = 256, kMembersMax = 64;  // beyond: the library's

enum : uint8_t { kKeyStart = 1, kKey = 2, kStart = 4, kInner = 8 };
constexpr auto kClasses = [] {
  std::array<uint8_t, 256> c{};
  auto mark = [&](std::string_view chars, uint8_t classes) {
    for (char x : chars) c[uint8_t(x)] |= classes;
  };
  mark("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/", kKeyStart | kKey | kStart | kInner);
  mark(".-", kKey | kInner);
  mark("+@=~:, ();", kInner);
  return c;
}();
bool is(char c, uint8_t classes) { return kClasses[uint8_t(c)] & classes; }

std::string_view without_end_spaces(std::string_view s) {
  while (s.ends_with(' ')) s.remove_suffix(1);
  return s;
}

// The text between quotes, if the whole of s is one quoted string without anything to undo in it.
std::optional<std::string_view> quoted(std::string_view s) {
  if (s.size() < 2 || s.front() != s.back()) return std::nullopt;
  const std::string_view inner = s.substr(1, s.size() - 2);
  if (inner.find(s.front()) != inner.npos || (s.front() == '"' && inner.find('\\') != inner.npos)) return std::nullopt;
  return inner;
}

// Of "key: ..." and "key:" the key, and where what follows begins.
struct Key {
  std::string_view text;
  size_t end = 0;
};
std::optional<Key> key_of(std::string_view s) {
  Key k;
  if (s.starts_with('"') || s.starts_with('\'')) {
    const size_t close = s.find(s[0], 1);
    if (close == s.npos || !quoted(s.substr(0, close + 1))) return std::nullopt;
    k = {s.substr(1, close - 1), close + 1};
  } else {
    if (s.empty() || !is(s[0], kKeyStart)) return std::nullopt;
    while (k.end < s.size() && is(s[k.end], kKey)) ++k.end;
    k.text = s.substr(0, k.end);
    if (is_null_scalar(k.text)) return std::nullopt;
  }
  if (k.end >= s.size() || s[k.end] != ':' || k.end > kKeyBytesMax) return std::nullopt;
  if (++k.end < s.size() && s[k.end] != ' ') return std::nullopt;
  return k;
}

std::optional<Value::Data> scalar_of(std::string_view s) {
  if (s == "{}") return Value::Map{};
  if (s == "[]") return Value::List{};
  if (s[0] == '"' || s[0] == '\'') {
    if (auto text = quoted(s)) return std::string(*text);
    return std::nullopt;
  }
  const bool starts = is(s[0], kStart) || (s[0] == '-' && s.size() > 1 && s[1] >= '0' && s[1] <= '9');
  if (!starts) return std::nullopt;
  for (size_t i = 1; i < s.size(); ++i) {
    if (!is(s[i], kInner)) return std::nullopt;
    if (s[i] == ':' && (i + 1 == s.size() || s[i + 1] == ' ')) return std::nullopt;
  }
  return type_plain_scalar(std::string(s));
}

class Reader {
 public:
  Reader(std::string_view text, uint32_t line) : rest_(text), line_(line - 1) { advance(); }

  std::optional<Value> document() {
    if (end_ || indent_ != 0) return std::nullopt;
    Value v = node(0);
    if (!fits_ || !end_) return std::nullopt;
    return v;
  }

 private:
  Mark here() const { return {line_, uint32_t(indent_ + 1)}; }
  bool at_item() const { return text_.starts_with("- "); }
  Value refuse() { return fits_ = false, end_ = true, Value(); }

  // To the next line that holds anything.
  void advance() {
    for (;;) {
      if (rest_.empty() || !fits_) return void(end_ = true);
      const size_t eol = std::min(rest_.find('\n'), rest_.size());
      const std::string_view line = rest_.substr(0, eol);
      rest_.remove_prefix(std::min(eol + 1, rest_.size()));
      ++line_;
      for (char c : line)
        if (c < 0x20 || c > 0x7e) return void(refuse());
      indent_ = std::min(line.find_first_not_of(' '), line.size());
      text_ = without_end_spaces(line.substr(indent_));
      if (text_.empty() || text_[0] == '#') continue;
      if (indent_ == 0 && (text_.starts_with("---") || text_.starts_with("..."))) return void(refuse());
      return;
    }
  }

  // What is nested in a line ends where the indentation goes back to that line's or further; scalars never go on.
  void leave(size_t indent) {
    if (!end_ && indent_ > indent) refuse();
  }

  Value node(size_t depth) {
    if (depth == kDepthMax || ++nodes_ > limits::kYamlNodesMax) return refuse();
    return at_item() ? list(depth) : map(depth);
  }

  Value map(size_t depth) {
    const size_t indent = indent_;
    Value v(Value::Map{}, here());
    auto& members = std::get<Value::Map>(v.data);
    while (!end_ && indent_ == indent && !at_item()) {
      const auto key = key_of(text_);
      if (!key || members.size() == kMembersMax || v.find(key->text)) return refuse();
      Member m{std::string(key->text), here(), {}};
      m.value = member_value(key->end, indent, depth);
      members.push_back(std::move(m));
      leave(indent);
    }
    return members.empty() ? refuse() : v;
  }

  Value member_value(size_t at, size_t indent, size_t depth) {
    const size_t begin = text_.find_first_not_of(' ', at);
    if (begin != text_.npos) {
      indent_ += begin;
      return scalar(text_.substr(begin));
    }
    advance();
    const bool nested = !end_ && (indent_ > indent || (indent_ == indent && at_item()));
    return nested ? node(depth + 1) : refuse();
  }

  Value list(size_t depth) {
    const size_t indent = indent_;
    Value v(Value::List{}, here());
    auto& items = std::get<Value::List>(v.data);
    while (!end_ && indent_ == indent && at_item()) {
      const size_t begin = text_.find_first_not_of(' ', 1);
      indent_ += begin;
      text_ = text_.substr(begin);
      items.push_back(at_item() || key_of(text_) ? node(depth + 1) : scalar(text_));
      leave(indent);
    }
    return v;
  }

  Value scalar(std::string_view s) {
    const Mark mark = here();
    auto data = scalar_of(s);
    if (!data || ++nodes_ > limits::kYamlNodesMax) return refuse();
    advance();
    return Value(std::move(*data), mark);
  }

  std::string_view rest_, text_;  // the lines to come; the present one from its first character on
  size_t indent_ = 0, nodes_ = 0;
  uint32_t line_;
  bool end_ = false, fits_ = true;
};

}  // namespace

std::optional<Value> read_plain_yaml(std::string_view document, uint32_t line) { return Reader(document, line).document(); }

}  // namespace base::conf
