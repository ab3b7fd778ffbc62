// Schema<T>: the one table that says how a C++ struct is configured. From it come the parser (unknown keys name the
// nearest known one, ranges are checked, errors are "file:line:column: path: what"), the commented default file, the
// Markdown reference and the JSON Schema. A module declares its struct with defaults and a function that returns its table:
//
//   struct Proxy { uint32_t connections_max = 8192; Duration idle = 5min; };
//   Schema<Proxy> proxy_schema() {
//     return Schema<Proxy>("Userspace proxy")
//         .field("connectionsMax", &Proxy::connections_max, "connections at once", {.min = 1, .max = 65536})
//         .field("idleTimeout", &Proxy::idle, "close a connection after this silence");
//   }
//
// Member types: bool, integers, std::string, Duration ("5s", "1m30s", "250ms"), Bytes ("64KiB"), IpAddr, IpPort, Cidr,
// std::optional and std::vector of these; enums with choice(); structs with group(); vectors of structs with list().
// A table is built where it is needed and dropped again: it costs no memory afterwards.
#pragma once
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/conf/value.h"
#include "base/core/result.h"
#include "base/core/time.h"
#include "base/net/addr.h"

namespace base::conf {

struct Bytes {  // a size in bytes; written "65536", "64KiB", "8MiB", "1GiB"
  uint64_t count = 0;
  auto operator<=>(const Bytes&) const = default;
};

std::optional<Duration> parse_duration(std::string_view);  // "1h30m", "250ms", "0"; no sign
std::optional<Bytes> parse_bytes(std::string_view);
std::string to_text(Duration);
std::string to_text(Bytes);

struct Limits {  // integers as they are, durations in nanoseconds, sizes in bytes
  int64_t min = std::numeric_limits<int64_t>::min(), max = std::numeric_limits<int64_t>::max();
  bool non_empty = false;                                    // strings, lists
  std::function<std::string(const std::string&)> check = {};  // strings: "" or what is wrong
  bool or_number = false;                                     // strings: an integer is taken as it is written
};

// Where a value stands, for error lines. Chained on the stack; text() is made only when there is an error.
struct Site {
  std::string_view file;
  const Site* parent = nullptr;
  std::string_view key;
  size_t index = SIZE_MAX;  // of a list element
  std::string path() const;
  tl::unexpected<Error> error(Mark, std::string_view what) const;
};

namespace detail {

struct Table;
struct Field {
  std::string key, help, type;
  Limits limits;
  std::vector<std::string> choices;
  bool is_list = false, required = false;
  std::shared_ptr<const Table> nested;                                           // groups and lists of structs
  std::function<Result<void>(void* owner, const Value&, const Site&, const Field&)> read;
  std::function<std::string(const void* owner)> show;                            // the value as YAML flow text
  std::function<const void*(const void* owner)> inside;                          // group: the nested struct
};
struct Table {
  std::string help;
  std::vector<Field> fields;
  std::shared_ptr<const void> defaults;  // a default-constructed struct
};

Result<void> read_table(const Table&, void* owner, const Value&, const Site&);
std::string range_text(const Field&);  // "1 to 65535", "at least 1s", ""

// One pair per scalar type.
template <class M> struct Scalar;
#define EM_CONF_SCALAR(type_, name_)                                                     \
  template <> struct Scalar<type_> {                                                     \
    static constexpr const char* kName = name_;                                          \
    static Result<void> read(type_& out, const Value&, const Site&, const Field&);       \
    static std::string show(const type_&);                                               \
  }
EM_CONF_SCALAR(bool, "bool");
EM_CONF_SCALAR(int64_t, "integer");
EM_CONF_SCALAR(std::string, "string");
EM_CONF_SCALAR(Duration, "duration");
EM_CONF_SCALAR(Bytes, "size");
EM_CONF_SCALAR(IpAddr, "address");
EM_CONF_SCALAR(IpPort, "address:port");
EM_CONF_SCALAR(Cidr, "prefix");
#undef EM_CONF_SCALAR

template <class M>
  requires(std::is_integral_v<M> && !std::is_same_v<M, bool> && !std::is_same_v<M, int64_t>)
struct Scalar<M> {
  static_assert(std::is_signed_v<M> || sizeof(M) < 8);
  static constexpr const char* kName = "integer";
  static Result<void> read(M& out, const Value& v, const Site& s, const Field& f) {
    Field narrowed;  // a field without limits of its own has those of its type
    narrowed.limits.min = std::max<int64_t>(f.limits.min, std::numeric_limits<M>::min());
    narrowed.limits.max = std::min<int64_t>(f.limits.max, std::numeric_limits<M>::max());
    narrowed.type = kName;
    int64_t wide = 0;
    EM_TRY(Scalar<int64_t>::read(wide, v, s, narrowed));
    out = M(wide);
    return {};
  }
  static std::string show(const M& v) { return std::to_string(v); }
};

template <class M>
struct Scalar<std::optional<M>> {
  static constexpr const char* kName = Scalar<M>::kName;
  static Result<void> read(std::optional<M>& out, const Value& v, const Site& s, const Field& f) {
    out.emplace();
    return Scalar<M>::read(*out, v, s, f);
  }
  static std::string show(const std::optional<M>& v) { return v ? Scalar<M>::show(*v) : "null"; }
};

template <class M>
struct Scalar<std::vector<M>> {
  static constexpr const char* kName = Scalar<M>::kName;
  static Result<void> read(std::vector<M>& out, const Value& v, const Site& s, const Field& f) {
    const Value::List* l = v.list();
    if (!l) return s.error(v.mark, fmt::format("needs a list, not {}", v.type_name()));
    if (f.limits.non_empty && l->empty()) return s.error(v.mark, "must not be empty");
    std::vector<M> fresh;
    for (const Value& e : *l) {
      const Site at{s.file, &s, {}, fresh.size()};
      M m{};
      EM_TRY(Scalar<M>::read(m, e, at, f));
      fresh.push_back(std::move(m));
    }
    out = std::move(fresh);
    return {};
  }
  static std::string show(const std::vector<M>& v) {
    std::string out = "[";
    for (const M& m : v) out += (out.size() > 1 ? ", " : "") + Scalar<M>::show(m);
    return out + "]";
  }
};

template <class M> inline constexpr bool kIsVector = false;
template <class M> inline constexpr bool kIsVector<std::vector<M>> = true;

}  // namespace detail

template <class T>
class Schema {
 public:
  explicit Schema(std::string help) {
    table_->help = std::move(help);
    table_->defaults = std::make_shared<const T>();
  }

  template <class M>
  Schema& field(std::string key, M T::*member, std::string help, Limits limits = {}) {
    detail::Field f = make(std::move(key), detail::Scalar<M>::kName, std::move(help));
    f.limits = std::move(limits);
    f.is_list = detail::kIsVector<M>;
    f.read = [member](void* o, const Value& v, const Site& s, const detail::Field& self) {
      return detail::Scalar<M>::read(static_cast<T*>(o)->*member, v, s, self);
    };
    f.show = [member](const void* o) { return detail::Scalar<M>::show(static_cast<const T*>(o)->*member); };
    return add(std::move(f));
  }

  template <class E>
  Schema& choice(std::string key, E T::*member, std::vector<std::pair<std::string, E>> words, std::string help) {
    detail::Field f = make(std::move(key), "word", std::move(help));
    for (const auto& w : words) f.choices.push_back(w.first);
    f.read = [member, words](void* o, const Value& v, const Site& s, const detail::Field& self) -> Result<void> {
      std::string t;
      EM_TRY(detail::Scalar<std::string>::read(t, v, s, self));
      for (const auto& w : words)
        if (w.first == t) static_cast<T*>(o)->*member = w.second;
      return {};
    };
    f.show = [member, words](const void* o) -> std::string {
      for (const auto& w : words)
        if (w.second == static_cast<const T*>(o)->*member) return w.first;
      return "null";
    };
    return add(std::move(f));
  }

  template <class M>
  Schema& group(std::string key, M T::*member, const Schema<M>& schema) {
    detail::Field f = make(std::move(key), "group", schema.table()->help);
    f.nested = schema.table();
    f.read = [member, t = schema.table()](void* o, const Value& v, const Site& s, const detail::Field&) {
      return detail::read_table(*t, &(static_cast<T*>(o)->*member), v, s);
    };
    f.inside = [member](const void* o) -> const void* { return &(static_cast<const T*>(o)->*member); };
    return add(std::move(f));
  }

  template <class M>
  Schema& list(std::string key, std::vector<M> T::*member, const Schema<M>& schema) {
    detail::Field f = make(std::move(key), "list", schema.table()->help);
    f.nested = schema.table();
    f.is_list = true;
    f.read = [member, t = schema.table()](void* o, const Value& v, const Site& s, const detail::Field&) -> Result<void> {
      const Value::List* l = v.list();
      if (!l) return s.error(v.mark, fmt::format("needs a list, not {}", v.type_name()));
      std::vector<M> fresh(l->size());
      for (size_t i = 0; i < l->size(); ++i) EM_TRY(detail::read_table(*t, &fresh[i], (*l)[i], Site{s.file, &s, {}, i}));
      static_cast<T*>(o)->*member = std::move(fresh);
      return {};
    };
    f.show = [](const void*) { return std::string("[]"); };
    return add(std::move(f));
  }

  Schema& required() {  // the field added last must be given
    table_->fields.back().required = true;
    return *this;
  }

  // Starts from the defaults; a null document gives them.
  Result<T> parse(const Value& v, std::string_view file) const {
    T out{};
    if (!v.is_null()) EM_TRY(detail::read_table(*table_, &out, v, Site{file}));
    return out;
  }

  std::shared_ptr<const detail::Table> table() const { return table_; }

 private:
  static detail::Field make(std::string key, std::string type, std::string help) {
    detail::Field f;
    f.key = std::move(key), f.type = std::move(type), f.help = std::move(help);
    return f;
  }
  Schema& add(detail::Field f) {
    table_->fields.push_back(std::move(f));
    return *this;
  }
  std::shared_ptr<detail::Table> table_ = std::make_shared<detail::Table>();
};

// What else a table can become. `table` is Schema<T>::table().
std::string default_file(const detail::Table&);                             // YAML with a comment per key
std::string markdown_reference(const detail::Table&);                       // one Markdown table per group
std::string json_schema(const detail::Table&, std::string_view title);      // JSON Schema 2020-12
// The key of `known` that `word` was probably meant to be; "" when none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace base::conf
