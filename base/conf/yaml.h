// YAML (and JSON, which starts with '{' or '[') to Value, one document at a time.
//
// Plain scalars are typed as kubectl types them: null, true/false with yes/no/on/off, integers (decimal, 0x, 0o and 0
// for octal, 0b, '_' between digits), floats, else strings. Quoted scalars are strings always. Merge keys ("<<") work;
// a key given twice is an error. Size, depth, documents, values and what aliases expand to are bounded (limits.h).
// Documents written plainly, as most are, are read by plain_yaml.h, the others by the library.
#pragma once
#include <functional>
#include <string_view>

#include "base/conf/value.h"
#include "base/core/result.h"

namespace base::conf {

// Hands each document over as soon as it is complete; empty documents are left out. An error stops the reading:
// "<file>:<line>:<column>: <what>". each's error does so too, unchanged.
Result<void> parse_yaml_stream(std::string_view text, std::string_view file, const std::function<Result<void>(Value&&)>& each);

// Exactly one document; an empty text gives null.
Result<Value> parse_yaml(std::string_view text, std::string_view file);

}  // namespace base::conf
