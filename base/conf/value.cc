#include "base/conf/value.h"

namespace base::conf {

Value::Value() = default;
Value::Value(Data d, Mark m) : data(std::move(d)), mark(m) {}
Value::Value(const Value&) = default;
Value::Value(Value&&) noexcept = default;
Value& Value::operator=(const Value&) = default;
Value& Value::operator=(Value&&) noexcept = default;
Value::~Value() = default;

const Value* Value::find(std::string_view key) const {
  const Map* m = map();
  if (!m) return nullptr;
  for (const Member& e : *m)
    if (e.key == key) return &e.value;
  return nullptr;
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"null", "a bool", "an integer", "a number", "a string", "a list", "a map"};
  return kNames[data.index()];
}

size_t Value::node_count() const {
  size_t n = 1;
  if (const List* l = list())
    for (const Value& v : *l) n += v.node_count();
  if (const Map* m = map())
    for (const Member& e : *m) n += e.value.node_count();
  return n;
}

}  // namespace base::conf
