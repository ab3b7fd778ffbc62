// The process's environment, for what only the environment says (a pod's API server). Everything else belongs into the config.
#pragma once
#include <string>

namespace base {
std::string environment(const char* name);  // "" when it is not set
}  // namespace base
