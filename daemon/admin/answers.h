// How answers of the admin socket look: JSON objects, and {"error": "one line"} with a status.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "base/http/message.h"

namespace edgemeshd {
base::Response json_answer(const nlohmann::ordered_json&);
base::Response problem(int status, const std::string& what);
}  // namespace edgemeshd
