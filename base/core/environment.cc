#include "base/core/environment.h"

#include <cstdlib>

namespace base {

std::string environment(const char* name) {
  const char* v = getenv(name);
  return v ? v : "";
}

}  // namespace base
