#include "base/conf/schema.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace base::conf {
namespace {

struct Unit {
  std::string_view name;
  int64_t size;
};
constexpr Unit kTimeUnits[] = {{"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}};
constexpr Unit kSizeUnits[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}};

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t same = diagonal + (std::tolower(uint8_t(a[i - 1])) != std::tolower(uint8_t(b[j - 1])));
      diagonal = row[j];
      row[j] = std::min({same, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string join(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : std::string(between)) + w;
  return out;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view s) {
  if (s == "0") return Duration{0};
  int64_t total = 0;
  if (s.empty()) return std::nullopt;
  while (!s.empty()) {
    int64_t n = 0;
    const auto r = std::from_chars(s.data(), s.data() + s.size(), n);
    if (r.ec != std::errc() || n < 0 || s[0] == '-') return std::nullopt;
    s.remove_prefix(size_t(r.ptr - s.data()));
    const std::string_view unit = s.substr(0, std::min(s.find_first_of("0123456789"), s.size()));
    const auto* u = std::find_if(std::begin(kTimeUnits), std::end(kTimeUnits), [&](const Unit& x) { return x.name == unit; });
    int64_t part = 0;
    if (u == std::end(kTimeUnits) || __builtin_mul_overflow(n, u->size, &part) || __builtin_add_overflow(total, part, &total)) return std::nullopt;
    s.remove_prefix(unit.size());
  }
  return Duration{total};
}

std::optional<Bytes> parse_bytes(std::string_view s) {
  int64_t n = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), n);
  if (r.ec != std::errc() || n < 0 || s[0] == '-') return std::nullopt;
  s.remove_prefix(size_t(r.ptr - s.data()));
  for (const Unit& u : kSizeUnits)
    if (int64_t total = 0; s == u.name && !__builtin_mul_overflow(n, u.size, &total)) return Bytes{uint64_t(total)};
  return std::nullopt;
}

std::string to_text(Duration d) {
  if (d.count() == 0) return "0s";
  std::string out;
  int64_t left = d.count();
  for (const Unit& u : kTimeUnits) {
    if (left / u.size) out += std::to_string(left / u.size) + std::string(u.name);
    left %= u.size;
  }
  return out;
}

std::string to_text(Bytes b) {
  for (const Unit& u : kSizeUnits)
    if (u.size > 1 && b.count && b.count % uint64_t(u.size) == 0) return std::to_string(b.count / uint64_t(u.size)) + std::string(u.name);
  return std::to_string(b.count);
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  if (word.size() > 64) return "";
  for (const auto& k : known)
    if (size_t d = edit_distance(word, k); d < best_distance) best = k, best_distance = d;
  return best;
}

std::string Site::path() const {
  std::string out = parent ? parent->path() : "";
  if (index != SIZE_MAX) return out + "[" + std::to_string(index) + "]";
  if (key.empty()) return out;
  return out.empty() ? std::string(key) : out + "." + std::string(key);
}

tl::unexpected<Error> Site::error(Mark m, std::string_view what) const {
  const std::string p = path();
  return fail(Code::invalid, "{}:{}:{}: {}{}{}", file, m.line, m.column, p, p.empty() ? "" : ": ", what);
}

namespace detail {

std::string range_text(const Field& f) {
  const Limits none;
  auto show = [&](int64_t v) { return f.type == "duration" ? to_text(Duration{v}) : f.type == "size" ? to_text(Bytes{uint64_t(v)}) : std::to_string(v); };
  if (f.limits.min != none.min && f.limits.max != none.max) return show(f.limits.min) + " to " + show(f.limits.max);
  if (f.limits.min != none.min) return "at least " + show(f.limits.min);
  if (f.limits.max != none.max) return "at most " + show(f.limits.max);
  return "";
}

namespace {

Result<void> check_range(int64_t v, std::string_view shown, const Value& at, const Site& s, const Field& f) {
  if (v >= f.limits.min && v <= f.limits.max) return {};
  return s.error(at.mark, fmt::format("{} is out of range ({})", shown, range_text(f)));
}

tl::unexpected<Error> wrong_type(const Value& v, const Site& s, std::string_view needs) {
  if (const std::string* text = v.text()) return s.error(v.mark, fmt::format("needs {}, not the string \"{}\"", needs, text->substr(0, 80)));
  return s.error(v.mark, fmt::format("needs {}, not {}", needs, v.type_name()));
}

std::string quoted(const std::string& s) {
  static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
  if (!s.empty() && std::isalpha(uint8_t(s[0])) && s.find_first_not_of(kPlain) == std::string::npos) return s;
  if (s.starts_with('/') && s.find_first_not_of(kPlain) == std::string::npos) return s;
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// Values with a text form: parse it or say what was expected.
template <class M, class Parse>
Result<void> read_text(M& out, const Value& v, const Site& s, std::string_view needs, Parse parse) {
  const std::string* t = v.text();
  if (!t) return wrong_type(v, s, needs);
  auto parsed = parse(*t);
  if (!parsed) return s.error(v.mark, fmt::format("\"{}\" is not {}", *t, needs));
  out = *parsed;
  return {};
}

}  // namespace

Result<void> Scalar<bool>::read(bool& out, const Value& v, const Site& s, const Field&) {
  if (!v.boolean()) return wrong_type(v, s, "true or false");
  out = *v.boolean();
  return {};
}
std::string Scalar<bool>::show(const bool& v) { return v ? "true" : "false"; }

Result<void> Scalar<int64_t>::read(int64_t& out, const Value& v, const Site& s, const Field& f) {
  if (!v.integer()) return wrong_type(v, s, "an integer");
  EM_TRY(check_range(*v.integer(), std::to_string(*v.integer()), v, s, f));
  out = *v.integer();
  return {};
}
std::string Scalar<int64_t>::show(const int64_t& v) { return std::to_string(v); }

Result<void> Scalar<std::string>::read(std::string& out, const Value& v, const Site& s, const Field& f) {
  const bool number = f.limits.or_number && v.integer();
  if (!v.text() && !number) return wrong_type(v, s, f.limits.or_number ? "a string or an integer" : "a string");
  const std::string t = number ? std::to_string(*v.integer()) : *v.text();
  if (f.limits.non_empty && t.empty()) return s.error(v.mark, "must not be empty");
  if (!f.choices.empty() && std::find(f.choices.begin(), f.choices.end(), t) == f.choices.end()) {
    const std::string near = nearest_word(t, f.choices);
    return s.error(v.mark, near.empty() ? fmt::format("\"{}\" is not one of {}", t, join(f.choices, ", "))
                                        : fmt::format("\"{}\" is not one of {}; did you mean \"{}\"?", t, join(f.choices, ", "), near));
  }
  if (f.limits.check)
    if (const std::string wrong = f.limits.check(t); !wrong.empty()) return s.error(v.mark, fmt::format("\"{}\" {}", t, wrong));
  out = t;
  return {};
}
std::string Scalar<std::string>::show(const std::string& v) { return quoted(v); }

Result<void> Scalar<Duration>::read(Duration& out, const Value& v, const Site& s, const Field& f) {
  Duration d{0};
  EM_TRY(read_text(d, v, s, "a duration such as \"5s\", \"250ms\" or \"1h30m\"", parse_duration));
  EM_TRY(check_range(d.count(), *v.text(), v, s, f));
  out = d;
  return {};
}
std::string Scalar<Duration>::show(const Duration& v) { return to_text(v); }

Result<void> Scalar<Bytes>::read(Bytes& out, const Value& v, const Site& s, const Field& f) {
  Bytes b;
  if (v.integer() && *v.integer() >= 0) b.count = uint64_t(*v.integer());
  else EM_TRY(read_text(b, v, s, "a size such as \"64KiB\" or \"8MiB\"", parse_bytes));
  EM_TRY(check_range(int64_t(b.count), to_text(b), v, s, f));
  out = b;
  return {};
}
std::string Scalar<Bytes>::show(const Bytes& v) { return to_text(v); }

Result<void> Scalar<IpAddr>::read(IpAddr& out, const Value& v, const Site& s, const Field&) {
  return read_text(out, v, s, "an IP address", IpAddr::parse);
}
std::string Scalar<IpAddr>::show(const IpAddr& v) { return v.is_v6() ? quoted(v.str()) : v.str(); }

Result<void> Scalar<IpPort>::read(IpPort& out, const Value& v, const Site& s, const Field&) {
  return read_text(out, v, s, "an address with a port such as \"192.0.2.1:443\" or \"[2001:db8::1]:443\"", IpPort::parse);
}
std::string Scalar<IpPort>::show(const IpPort& v) { return "\"" + v.str() + "\""; }

Result<void> Scalar<Cidr>::read(Cidr& out, const Value& v, const Site& s, const Field&) {
  return read_text(out, v, s, "a prefix such as \"10.96.0.0/12\"", Cidr::parse);
}
std::string Scalar<Cidr>::show(const Cidr& v) { return v.ip.is_v6() ? quoted(v.str()) : v.str(); }

static std::string missing(const Field& f, const Table& table) {
  const std::string standard = f.show ? f.show(table.defaults.get()) : "";
  if (standard.empty() || standard == "\"\"" || standard == "[]") return fmt::format("\"{}\" is missing: {}", f.key, f.help);
  return fmt::format("\"{}\" is missing: add {}: {}", f.key, f.key, standard);
}

Result<void> read_table(const Table& table, void* owner, const Value& v, const Site& s) {
  if (v.is_null()) return {};  // "dns:" with nothing below it: the defaults
  const Value::Map* map = v.map();
  if (!map) return s.error(v.mark, fmt::format("needs a map, not {}", v.type_name()));
  for (const Member& m : *map) {
    const auto f = std::find_if(table.fields.begin(), table.fields.end(), [&](const Field& x) { return x.key == m.key; });
    if (f == table.fields.end()) {
      std::vector<std::string> known;
      for (const Field& x : table.fields) known.push_back(x.key);
      const std::string near = nearest_word(m.key, known);
      return s.error(m.mark, near.empty() ? fmt::format("unknown key \"{}\"; known here: {}", m.key, join(known, ", "))
                                          : fmt::format("unknown key \"{}\"; did you mean \"{}\"?", m.key, near));
    }
    if (m.value.is_null() && !f->nested) continue;  // "port:" with nothing behind it: the default
    EM_TRY(f->read(owner, m.value, Site{s.file, &s, f->key}, *f));
  }
  for (const Field& f : table.fields)
    if (f.required && (!v.find(f.key) || v.find(f.key)->is_null())) return s.error(v.mark, missing(f, table));
  return {};
}

}  // namespace detail
}  // namespace base::conf
