#include "base/conf/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <istream>
#include <map>
#include <streambuf>

#include "base/conf/json.h"
#include "base/conf/plain_yaml.h"
#include "base/core/limits.h"

namespace base::conf {
namespace {

// first: the line its reading began with.
Mark place(const YAML::Mark& m, uint32_t first) { return m.is_null() ? Mark{} : Mark{uint32_t(m.line) + first, uint32_t(m.column + 1)}; }

bool one_of(std::string_view s, std::initializer_list<std::string_view> words) {
  for (auto w : words)
    if (s == w) return true;
  return false;
}

// The integer forms of Go's ParseInt(s, base 0), which kubectl's YAML reader uses, '_' left out.
bool as_integer(std::string_view s, int64_t& out) {
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.remove_prefix(1);
  int base = 10;
  if (s.size() > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) base = 16, s.remove_prefix(2);
  else if (s.size() > 2 && s[0] == '0' && (s[1] == 'o' || s[1] == 'O')) base = 8, s.remove_prefix(2);
  else if (s.size() > 2 && s[0] == '0' && (s[1] == 'b' || s[1] == 'B')) base = 2, s.remove_prefix(2);
  else if (s.size() > 1 && s[0] == '0') base = 8, s.remove_prefix(1);
  uint64_t u = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), u, base);
  if (s.empty() || r.ec != std::errc() || r.ptr != s.data() + s.size()) return false;
  if (u > uint64_t(INT64_MAX)) return false;
  out = negative ? -int64_t(u) : int64_t(u);
  return true;
}

bool as_number(std::string_view s, double& out) {
  if (one_of(s, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"})) return out = HUGE_VAL, true;
  if (one_of(s, {"-.inf", "-.Inf", "-.INF"})) return out = -HUGE_VAL, true;
  if (one_of(s, {".nan", ".NaN", ".NAN"})) return out = __builtin_nan(""), true;
  if (s.starts_with('+')) s.remove_prefix(1);
  if (s.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return false;  // "inf", "nan" and hex floats are words
  const auto r = std::from_chars(s.data(), s.data() + s.size(), out);
  return !s.empty() && r.ec == std::errc() && r.ptr == s.data() + s.size();
}

}  // namespace

bool is_null_scalar(std::string_view s) { return s.empty() || s == "~" || s == "null" || s == "Null" || s == "NULL"; }

Value::Data type_plain_scalar(const std::string& s) {
  if (is_null_scalar(s)) return std::monostate{};
  if (one_of(s, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (one_of(s, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  if (!std::isdigit(uint8_t(s[0])) && s[0] != '-' && s[0] != '+' && s[0] != '.') return s;
  std::string digits;
  for (char c : s)
    if (c != '_') digits += c;
  int64_t i = 0;
  double d = 0;
  if (as_integer(digits, i)) return i;
  if (as_number(digits, d)) return d;
  return s;
}

namespace {

Value::Data scalar(const std::string& tag, const std::string& s) {
  if (tag == "?" || tag.empty()) return type_plain_scalar(s);
  if (tag.ends_with(":int") || tag.ends_with(":float") || tag.ends_with(":bool") || tag.ends_with(":null")) return type_plain_scalar(s);
  return s;  // "!" is a quoted scalar; !!str and tags of somebody's own are strings
}

// The only way to stop yaml-cpp inside a document; caught in parse_yaml_stream, never outside this file.
struct Stop {
  Mark mark;
  std::string what;
};

// Builds one Value from the events of one document.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(uint32_t first_line) : first_line_(first_line) {}
  Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {
    root_ = {};
    open_.clear();
    anchors_.clear();
    nodes_ = expanded_ = 0;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& m, YAML::anchor_t a) override { leaf(Value({}, to_mark(m)), a); }
  void OnScalar(const YAML::Mark& m, const std::string& tag, YAML::anchor_t a, const std::string& s) override {
    if (wants_key()) return set_key(s, to_mark(m), tag == "?");
    leaf(Value(scalar(tag, s), to_mark(m)), a);
  }
  void OnAlias(const YAML::Mark& m, YAML::anchor_t a) override {
    const auto it = anchors_.find(a);
    if (it == anchors_.end()) throw Stop{to_mark(m), "alias of something that is not complete yet"};
    charge_copy(it->second, to_mark(m));
    leaf(it->second, 0);
  }
  void OnSequenceStart(const YAML::Mark& m, const std::string&, YAML::anchor_t a, YAML::EmitterStyle::value) override {
    push(Value(Value::List{}, to_mark(m)), a);
  }
  void OnSequenceEnd() override { pop(); }
  void OnMapStart(const YAML::Mark& m, const std::string&, YAML::anchor_t a, YAML::EmitterStyle::value) override {
    push(Value(Value::Map{}, to_mark(m)), a);
  }
  void OnMapEnd() override { pop(); }

 private:
  struct Open {
    Value value;
    YAML::anchor_t anchor = 0;
    bool has_key = false, merge = false;
    std::string key;
    Mark key_mark;
  };

  Mark to_mark(const YAML::Mark& m) const { return place(m, first_line_); }
  bool wants_key() const { return !open_.empty() && open_.back().value.map() && !open_.back().has_key; }

  void set_key(const std::string& key, Mark m, bool plain) {
    Open& o = open_.back();
    o.merge = plain && key == "<<";
    if (!o.merge) {
      auto [it, fresh] = index().try_emplace(key, Place{o.value.map()->size(), false});
      if (!fresh && !it->second.merged) throw Stop{m, fmt::format("key \"{}\" is here twice", key)};
      it->second.merged = false;
    }
    o.has_key = true;
    o.key = key;
    o.key_mark = m;
  }

  struct Place {
    size_t at;
    bool merged;  // came through "<<": the map's own key may still replace it
  };
  // Keys of the map being read: a look-up per key without a scan of all before it.
  std::map<std::string, Place>& index() { return keys_[open_.size() - 1]; }

  void push(Value v, YAML::anchor_t a) {
    if (wants_key()) throw Stop{v.mark, "a key must be a plain word or a string"};
    if (open_.size() >= limits::kYamlDepthMax) throw Stop{v.mark, fmt::format("nested deeper than {} levels", limits::kYamlDepthMax)};
    count(v.mark);
    open_.push_back({std::move(v), a});
    if (keys_.size() < open_.size()) keys_.resize(open_.size());
    keys_[open_.size() - 1].clear();
  }

  void pop() {
    Value v = std::move(open_.back().value);
    const YAML::anchor_t a = open_.back().anchor;
    open_.pop_back();
    add(std::move(v), a);
  }

  void leaf(Value v, YAML::anchor_t a) {
    if (wants_key()) {
      if (v.is_null()) return set_key("null", v.mark, false);
      if (const std::string* s = v.text()) return set_key(*s, v.mark, false);
      throw Stop{v.mark, "a key must be a plain word or a string"};
    }
    count(v.mark);
    add(std::move(v), a);
  }

  void add(Value v, YAML::anchor_t a) {
    if (a) {
      charge_copy(v, v.mark);
      anchors_[a] = v;
    }
    if (open_.empty()) {
      root_ = std::move(v);
      return;
    }
    Open& o = open_.back();
    if (auto* l = std::get_if<Value::List>(&o.value.data)) {
      l->push_back(std::move(v));
      return;
    }
    o.has_key = false;
    if (o.merge) return merge(o, v);
    auto& members = std::get<Value::Map>(o.value.data);
    const size_t at = index().at(o.key).at;
    Member member{std::move(o.key), o.key_mark, std::move(v)};
    if (at < members.size()) members[at] = std::move(member);
    else members.push_back(std::move(member));
  }

  // "<<: *a" or "<<: [*a, *b]": members that the map does not have itself. Keys before the merge win by being there;
  // keys after it replace what was merged.
  void merge(Open& o, const Value& from) {
    if (const auto* l = from.list()) {
      for (const Value& v : *l) merge(o, v);
      return;
    }
    if (!from.map()) throw Stop{o.key_mark, "\"<<\" needs a map"};
    auto& members = std::get<Value::Map>(o.value.data);
    for (const Member& m : *from.map())
      if (index().try_emplace(m.key, Place{members.size(), true}).second) members.push_back(m);
  }

  void count(Mark m) {
    if (++nodes_ > limits::kYamlNodesMax) throw Stop{m, fmt::format("more than {} values in one document: split it", limits::kYamlNodesMax)};
  }
  void charge_copy(const Value& v, Mark m) {
    expanded_ += v.node_count();
    if (expanded_ > limits::kYamlAliasExpansionMax)
      throw Stop{m, fmt::format("aliases expand to more than {} values", limits::kYamlAliasExpansionMax)};
  }

  const uint32_t first_line_;
  Value root_;
  std::vector<Open> open_;
  std::vector<std::map<std::string, Place>> keys_;  // by depth
  std::map<YAML::anchor_t, Value> anchors_;
  size_t nodes_ = 0, expanded_ = 0;
};

// Lets an istream read the caller's text without a copy.
class ViewBuf : public std::streambuf {
 public:
  explicit ViewBuf(std::string_view s) {
    char* p = const_cast<char*>(s.data());  // streambuf's interface; the get area is never written
    setg(p, p, p + s.size());
  }
};

tl::unexpected<Error> error_at(std::string_view file, Mark m, std::string_view what) {
  return fail(Code::invalid, "{}:{}:{}: {}", file, m.line, m.column, what);
}

// YAML 1.2 section 5.1 excludes most control characters; yaml-cpp would take 0x04 for the end of the file.
Result<void> check_characters(std::string_view text, std::string_view file) {
  Mark m{1, 1};
  for (const char c : text) {
    if ((uint8_t(c) < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
      return error_at(file, m, fmt::format("control character 0x{:02x}: this is not YAML text", uint8_t(c)));
    if (c == '\n') ++m.line, m.column = 1;
    else ++m.column;
  }
  return {};
}

// Reads a text's documents one by one: the plain ones here, others by the library.
class DocumentReader {
 public:
  using Each = std::function<Result<void>(Value&&)>;
  DocumentReader(std::string_view text, std::string_view file, const Each& each) : rest_(text), file_(file), each_(each) {}

  Result<void> read() {
    while (!rest_.empty()) {
      const std::string_view document = rest_.substr(0, document_end());
      const bool headed = is_header(document);
      const size_t body = headed ? std::min(document.find('\n'), document.size() - 1) + 1 : 0;
      auto v = is_plain_header(document.substr(0, body)) ? read_plain_yaml(document.substr(body), line_ + headed) : std::nullopt;
      if (v) {
        EM_TRY(one(std::move(*v)));
        pass(document);
      } else {
        const bool whole = has_directives(document);
        if (headed || !is_blank(document)) EM_TRY(by_library(whole));
        pass(whole ? rest_ : document);
      }
    }
    return {};
  }

 private:
  static bool is_header(std::string_view line) {
    return line.starts_with("---") && (line.size() == 3 || line[3] == '\n' || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
  }
  static bool is_plain_header(std::string_view line) { return line.empty() || line.find_first_not_of(" \n", 3) == line.npos; }
  static bool has_line(std::string_view text, std::string_view begin) {
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      if (text.substr(at).starts_with(begin)) return true;
      if (text.find('\n', at) == text.npos) return false;
    }
    return false;
  }
  // Before the first "---": no document.
  static bool is_blank(std::string_view text) {
    for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != text.npos; at = std::min(text.find('\n', at), text.size()))
      if (text[at] != '#') return false;
    return true;
  }
  // What may reach beyond the next "---", or end a document before it.
  static bool has_directives(std::string_view document) { return has_line(document, "%") || has_line(document, "..."); }

  size_t document_end() const {
    for (size_t at = rest_.find('\n'); at != rest_.npos; at = rest_.find('\n', at + 1))
      if (is_header(rest_.substr(at + 1))) return at + 1;
    return rest_.size();
  }

  void pass(std::string_view read) {
    line_ += uint32_t(std::count(read.begin(), read.end(), '\n'));
    rest_.remove_prefix(read.size());
  }

  Result<void> one(Value&& v) {
    if (documents_++ == limits::kManifestDocumentsMax)
      return fail(Code::limit, "{}: more than {} documents: split the file", file_, limits::kManifestDocumentsMax);
    return v.is_null() ? Result<void>{} : each_(std::move(v));
  }

  // The document rest_ begins with, or all it holds.
  Result<void> by_library(bool all) {
    ViewBuf buf(rest_);
    std::istream in(&buf);
    TreeBuilder tree(line_);
    try {
      YAML::Parser parser(in);
      do {
        if (!parser.HandleNextDocument(tree)) break;
        EM_TRY(one(tree.take()));
      } while (all);
    } catch (const Stop& e) {
      return error_at(file_, e.mark, e.what);
    } catch (const YAML::Exception& e) {
      return error_at(file_, place(e.mark, line_), e.msg);
    } catch (const std::exception& e) {
      return fail(Code::invalid, "{}: not readable as YAML: {}", file_, e.what());
    }
    return {};
  }

  std::string_view rest_, file_;
  const Each& each_;
  uint32_t line_ = 1;  // of rest_
  size_t documents_ = 0;
};

}  // namespace

Result<void> parse_yaml_stream(std::string_view text, std::string_view file, const std::function<Result<void>(Value&&)>& each) {
  if (text.size() > limits::kManifestBytesMax)
    return fail(Code::limit, "{}: larger than {} bytes: split the file", file, limits::kManifestBytesMax);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '{' || text[first] == '[')) {
    std::vector<Value> documents;  // kept back: a flow-style YAML text may be JSON only at its beginning
    auto keep = [&](Value&& v) -> Result<void> { return documents.push_back(std::move(v)), Result<void>{}; };
    if (parse_json_stream(text, file, keep)) {
      for (Value& v : documents) EM_TRY(each(std::move(v)));
      return {};
    }
  }
  EM_TRY(check_characters(text, file));
  return DocumentReader(text, file, each).read();
}

Result<Value> parse_yaml(std::string_view text, std::string_view file) {
  Value out;
  bool have = false;
  EM_TRY(parse_yaml_stream(text, file, [&](Value&& v) -> Result<void> {
    if (have) return error_at(file, v.mark, "a second document; exactly one is expected here");
    have = true;
    out = std::move(v);
    return {};
  }));
  return out;
}

}  // namespace base::conf
