// Fields: reads members of one map of a Kubernetes object. The first error is kept (with place and path) and everything
// after it reads as absent, so that a parser is a plain list of fields with one check at its end.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/conf/value.h"
#include "base/core/result.h"
#include "base/kube/service_table.h"
#include "base/net/addr.h"

namespace base::kube {

struct FieldErrors {  // one per object; owned by the object's parser
  std::string_view file;
  std::string object;  // "Service shop/web"
  std::optional<Error> first;
};

std::string one_line(std::string_view);  // of a text somebody else wrote, for a message: controls become blanks, 400 bytes at most

// What readers of both formats have in common, over their has, str, integer and wrong.
template <class Reader>
class CommonFields {
 public:
  std::string required_str(std::string_view key) const {
    std::string s = self().str(key);
    if (s.empty()) self().wrong(key, "is missing");
    return s;
  }
  uint16_t port(std::string_view key, bool required) const {
    if (required && !self().has(key)) self().wrong(key, "is missing");
    return uint16_t(self().integer(key, 0, 1, 65535));
  }
  std::optional<IpAddr> ip(std::string_view key) const {
    const std::string t = self().str(key);
    if (t.empty()) return std::nullopt;
    auto a = IpAddr::parse(t);
    if (!a) self().wrong(key, fmt::format("\"{}\" is not an IP address", t));
    return a;
  }
  std::optional<Proto> proto(std::string_view key) const {  // absent: TCP; nullopt: one we do not carry
    const std::string t = self().str(key);
    if (t.empty() || t == "TCP") return Proto::tcp;
    if (t == "UDP") return Proto::udp;
    if (t != "SCTP") self().wrong(key, fmt::format("\"{}\" is not one of TCP, UDP, SCTP", t));
    return std::nullopt;
  }
  std::vector<std::string> string_list(std::string_view key) const {
    return self().template parsed_list<std::string>(key, "a string", [](const std::string& s) { return std::optional<std::string>(s); });
  }

 private:
  const Reader& self() const { return static_cast<const Reader&>(*this); }
};

class Fields : public CommonFields<Fields> {
 public:
  Fields(const conf::Value* v, FieldErrors& errors) : v_(v), errors_(errors) { expect_map(); }

  bool has(std::string_view key) const { return get(key) != nullptr; }
  std::string str(std::string_view key) const;
  bool boolean(std::string_view key, bool absent) const;
  int64_t integer(std::string_view key, int64_t absent, int64_t min, int64_t max) const;
  StringMap strings(std::string_view key) const;
  template <class T, class Parse>  // each element a string that Parse turns into optional<T>
  std::vector<T> parsed_list(std::string_view key, const char* what, Parse parse) const {
    std::vector<T> out;
    each_value(key, [&](const conf::Value& v, const Fields& at) {
      const std::string* t = v.text();
      auto p = t ? parse(*t) : std::nullopt;
      if (p) out.push_back(*p);
      else at.error(v.mark, "", t ? fmt::format("\"{}\" is not {}", *t, what) : fmt::format("needs {}, not {}", what, v.type_name()));
    });
    return out;
  }
  Fields inside(std::string_view key) const {  // a map; absent reads as empty. The result refers to *this
    Fields f(get(key), this, key, SIZE_MAX);
    f.expect_map();
    return f;
  }
  void each(std::string_view key, const std::function<void(const Fields&)>&) const;  // a list of maps
  void error(conf::Mark, std::string_view key, std::string_view what) const;
  void wrong(std::string_view key, std::string_view what) const {  // at that member, or at the map that lacks it
    const conf::Value* v = get(key);
    error(v ? v->mark : mark(), key, what);
  }
  bool is_list(std::string_view key) const { return get(key) && get(key)->list(); }
  bool is_text(std::string_view key) const { return get(key) && get(key)->text(); }
  const conf::Value* get(std::string_view key) const;  // nullptr: absent, null, or an error before
  conf::Mark mark() const { return v_ ? v_->mark : conf::Mark{}; }

 private:
  Fields(const conf::Value* v, const Fields* parent, std::string_view key, size_t index)
      : v_(v), parent_(parent), key_(key), index_(index), errors_(parent->errors_) {}
  void expect_map();
  void each_value(std::string_view key, const std::function<void(const conf::Value&, const Fields&)>&) const;
  std::string path(std::string_view key) const;

  const conf::Value* v_;
  const Fields* parent_ = nullptr;
  std::string_view key_;
  size_t index_ = SIZE_MAX;
  FieldErrors& errors_;
};

}  // namespace base::kube
