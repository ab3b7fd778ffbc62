// The YAML people and tools write most: maps and lists by indentation, words, numbers and quoted strings on one line, comments on lines
// of their own, "{}" and "[]". Read several times faster than the library reads all of YAML. Everything else (anchors, tags, block
// and many-line scalars, escapes, flow style with something in it, empty values, tabs, anything but ASCII, and whatever is wrong) is
// refused here without a word and is the library's to read or to complain about: what is accepted, and with which places, does
// not depend on this file. Pure.
#pragma once
#include <optional>
#include <string_view>

#include "base/conf/value.h"

namespace base::conf {

// One document, without its "---"; line is that of its first line. nullopt: not plain, or not right.
std::optional<Value> read_plain_yaml(std::string_view document, uint32_t line);

// What a scalar that is not quoted stands for, as kubectl types it.
Value::Data type_plain_scalar(const std::string&);
bool is_null_scalar(std::string_view);

}  // namespace base::conf
