// Value: one parsed document of YAML or JSON as a tree; every node knows the line and column it was read from.
// Members of a map keep the order of the text. Plain data: copying copies the tree.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace base::conf {

struct Mark {  // 1-based; line 0: made by the program, not read
  uint32_t line = 0, column = 0;
  bool operator==(const Mark&) const = default;
};

struct Member;

class Value {
 public:
  using List = std::vector<Value>;
  using Map = std::vector<Member>;
  using Data = std::variant<std::monostate, bool, int64_t, double, std::string, List, Map>;

  Value();  // null. These six need Member complete: see value.cc
  Value(Data, Mark);
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();

  Data data;
  Mark mark;

  bool is_null() const { return data.index() == 0; }
  const bool* boolean() const { return std::get_if<bool>(&data); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data); }
  const double* number() const { return std::get_if<double>(&data); }
  const std::string* text() const { return std::get_if<std::string>(&data); }
  const List* list() const { return std::get_if<List>(&data); }
  const Map* map() const { return std::get_if<Map>(&data); }
  const Value* find(std::string_view key) const;  // nullptr: not a map, or no such member
  const char* type_name() const;                  // "null", "a bool", "an integer", ... for error lines
  size_t node_count() const;
};

struct Member {
  std::string key;
  Mark mark;  // of the key
  Value value;
};

}  // namespace base::conf
