#include "base/conf/json.h"

#include <charconv>
#include <set>

#include "base/core/limits.h"

namespace base::conf {
namespace {

class JsonReader {
 public:
  JsonReader(std::string_view text, std::string_view file) : s_(text), file_(file) {}

  bool at_end() {
    skip_space();
    return at_ >= s_.size();
  }

  Result<Value> document() {
    nodes_ = 0;
    return value(0);
  }

 private:
  char peek() const { return at_ < s_.size() ? s_[at_] : '\0'; }
  Mark mark() const { return {line_, uint32_t(at_ - line_start_ + 1)}; }

  tl::unexpected<Error> error(std::string_view what) const {
    const Mark m = mark();
    return fail(Code::invalid, "{}:{}:{}: {}", file_, m.line, m.column, what);
  }

  void skip_space() {
    for (; at_ < s_.size(); ++at_) {
      if (s_[at_] == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      } else if (s_[at_] != ' ' && s_[at_] != '\t' && s_[at_] != '\r') {
        return;
      }
    }
  }

  bool take(char c) {
    skip_space();
    if (peek() != c || at_ >= s_.size()) return false;
    ++at_;
    return true;
  }

  bool take_word(std::string_view w) {
    if (s_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }

  Result<Value> value(size_t depth) {
    skip_space();
    if (depth > limits::kYamlDepthMax) return error("nested too deeply");
    if (++nodes_ > limits::kYamlNodesMax) return error("too many values in one document");
    const Mark m = mark();
    switch (peek()) {
      case '{': return map(depth, m);
      case '[': return list(depth, m);
      case '"': {
        EM_TRY_ASSIGN(std::string t, string());
        return Value(std::move(t), m);
      }
      default: break;
    }
    if (take_word("true")) return Value(true, m);
    if (take_word("false")) return Value(false, m);
    if (take_word("null")) return Value(std::monostate{}, m);
    return number(m);
  }

  Result<Value> list(size_t depth, Mark m) {
    Value::List out;
    ++at_;
    if (take(']')) return Value(std::move(out), m);
    do {
      EM_TRY_ASSIGN(Value v, value(depth + 1));
      out.push_back(std::move(v));
    } while (take(','));
    if (!take(']')) return error("',' or ']' expected");
    return Value(std::move(out), m);
  }

  Result<Value> map(size_t depth, Mark m) {
    Value out(Value::Map{}, m);
    auto& members = std::get<Value::Map>(out.data);
    std::set<std::string> seen;
    ++at_;
    if (take('}')) return out;
    do {
      skip_space();
      const Mark key_mark = mark();
      if (peek() != '"') return error("a key in double quotes expected");
      EM_TRY_ASSIGN(std::string key, string());
      if (!seen.insert(key).second) return error(fmt::format("key \"{}\" is here twice", key));
      if (!take(':')) return error("':' expected");
      EM_TRY_ASSIGN(Value v, value(depth + 1));
      members.push_back({std::move(key), key_mark, std::move(v)});
    } while (take(','));
    if (!take('}')) return error("',' or '}' expected");
    return out;
  }

  Result<Value> number(Mark m) {
    const size_t begin = at_;
    while (at_ < s_.size() && std::string_view("+-.eE0123456789").find(s_[at_]) != std::string_view::npos) ++at_;
    const std::string_view t = s_.substr(begin, at_ - begin);
    int64_t i = 0;
    if (auto r = std::from_chars(t.data(), t.data() + t.size(), i); !t.empty() && r.ec == std::errc() && r.ptr == t.data() + t.size())
      return Value(i, m);
    double d = 0;
    if (auto r = std::from_chars(t.data(), t.data() + t.size(), d); !t.empty() && r.ec == std::errc() && r.ptr == t.data() + t.size())
      return Value(d, m);
    at_ = begin;
    return error("a value expected");
  }

  Result<std::string> string() {
    std::string out;
    for (++at_; at_ < s_.size();) {
      const char c = s_[at_];
      if (uint8_t(c) < 0x20) return error("control character in a string");
      ++at_;
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
      } else if (!escape(out)) {
        return error("invalid escape in a string");
      }
    }
    return error("string without an end");
  }

  bool escape(std::string& out) {
    const char c = peek();
    ++at_;
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (size_t i = kFrom.find(c); i != std::string_view::npos && c) return out += kTo[i], true;
    if (c != 'u') return false;
    int32_t cp = hex4();
    if (cp >= 0xD800 && cp < 0xDC00) {  // a surrogate pair, RFC 8259 section 7
      if (!take_word("\\u")) return false;
      const int32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) return false;
      cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    if (cp < 0 || (cp >= 0xD800 && cp < 0xE000)) return false;
    append_utf8(out, uint32_t(cp));
    return true;
  }

  int32_t hex4() {
    uint32_t v = 0;
    if (at_ + 4 > s_.size()) return -1;
    auto r = std::from_chars(s_.data() + at_, s_.data() + at_ + 4, v, 16);
    if (r.ec != std::errc() || r.ptr != s_.data() + at_ + 4) return -1;
    at_ += 4;
    return int32_t(v);
  }

  static void append_utf8(std::string& out, uint32_t cp) {
    if (cp < 0x80) {
      out += char(cp);
    } else if (cp < 0x800) {
      out += char(0xC0 | cp >> 6), out += char(0x80 | (cp & 63));
    } else if (cp < 0x10000) {
      out += char(0xE0 | cp >> 12), out += char(0x80 | (cp >> 6 & 63)), out += char(0x80 | (cp & 63));
    } else {
      out += char(0xF0 | cp >> 18), out += char(0x80 | (cp >> 12 & 63)), out += char(0x80 | (cp >> 6 & 63)), out += char(0x80 | (cp & 63));
    }
  }

  std::string_view s_, file_;
  size_t at_ = 0, line_start_ = 0, nodes_ = 0;
  uint32_t line_ = 1;
};

}  // namespace

Result<void> parse_json_stream(std::string_view text, std::string_view file, const std::function<Result<void>(Value&&)>& each) {
  if (text.size() > limits::kManifestBytesMax)
    return fail(Code::limit, "{}: larger than {} bytes: split the file", file, limits::kManifestBytesMax);
  JsonReader r(text, file);
  for (size_t documents = 0; !r.at_end(); ++documents) {
    if (documents == limits::kManifestDocumentsMax)
      return fail(Code::limit, "{}: more than {} documents: split the file", file, limits::kManifestDocumentsMax);
    EM_TRY_ASSIGN(Value v, r.document());
    EM_TRY(each(std::move(v)));
  }
  return {};
}

}  // namespace base::conf
