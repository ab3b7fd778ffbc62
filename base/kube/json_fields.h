// JsonFields: what Fields is to a manifest, over JSON that simdjson has parsed. JSON from a server has no lines worth naming:
// errors say where it came from, which object and which path. For json_objects.cc only (it shows simdjson's types).
#pragma once
#include <simdjson.h>

#include <functional>

#include "base/kube/fields.h"

namespace base::kube {

struct JsonErrors {  // one per object; owned by its parser
  std::string_view place;
  std::string object;
  std::optional<Error> first;
};

class JsonFields : public CommonFields<JsonFields> {
 public:
  using Element = simdjson::dom::element;
  JsonFields(Element map, JsonErrors& errors) : v_(map), here_(true), errors_(errors) { expect_map(); }

  bool has(std::string_view key) const { return get(key).has_value(); }
  bool is_list(std::string_view key) const { return type_is(key, simdjson::dom::element_type::ARRAY); }
  bool is_text(std::string_view key) const { return type_is(key, simdjson::dom::element_type::STRING); }
  std::string str(std::string_view key) const;
  bool boolean(std::string_view key, bool absent) const;
  int64_t integer(std::string_view key, int64_t absent, int64_t min, int64_t max) const;
  StringMap strings(std::string_view key) const;
  template <class T, class Parse>
  std::vector<T> parsed_list(std::string_view key, const char* what, Parse parse) const {
    std::vector<T> out;
    each_element(key, [&](Element e, const JsonFields& at) {
      std::string_view t;
      if (e.get(t)) return at.wrong("", fmt::format("needs {}, not {}", what, type_name(e)));
      if (auto p = parse(std::string(t))) out.push_back(*p);
      else at.wrong("", fmt::format("\"{}\" is not {}", t, what));
    });
    return out;
  }
  JsonFields inside(std::string_view key) const;
  template <class Each>
  void each(std::string_view key, Each f) const {
    each_element(key, [&](Element, const JsonFields& at) {
      at.expect_map();
      if (!errors_.first) f(at);
    });
  }
  void wrong(std::string_view key, std::string_view what) const;
  std::optional<Element> get(std::string_view key) const;

 private:
  JsonFields(std::optional<Element> v, const JsonFields* parent, std::string_view key, size_t index)
      : v_(v.value_or(Element())), here_(v.has_value()), parent_(parent), key_(key), index_(index), errors_(parent->errors_) {}
  template <class Each>
  void each_element(std::string_view key, Each f) const {
    const auto v = get(key);
    if (!v) return;
    simdjson::dom::array list;
    if (v->get(list)) return wrong(key, fmt::format("needs a list, not {}", type_name(*v)));
    size_t i = 0;
    for (Element e : list) {
      if (errors_.first) return;
      f(e, JsonFields(e, this, key, i++));
    }
  }
  bool type_is(std::string_view key, simdjson::dom::element_type t) const {
    const auto v = get(key);
    return v && v->type() == t;
  }
  static const char* type_name(Element);
  void expect_map() const;
  std::string path(std::string_view key) const;

  Element v_;
  bool here_;  // false: absent, reads as an empty map
  const JsonFields* parent_ = nullptr;
  std::string_view key_;
  size_t index_ = SIZE_MAX;
  JsonErrors& errors_;
};

}  // namespace base::kube
