// The logging flags of EdgeMesh's programs (klog's), so that a command line written for them starts this one: -v sets the level, the
// others change nothing here, and each gets a line that says why. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/log.h"
#include "base/core/result.h"

namespace edgemeshd {

struct KlogFlags {
  std::optional<base::LogLevel> level;  // what -v asks for
  std::vector<std::string> notes;       // "--logtostderr: has no effect: ..."
};

// How many of the words argument and next were used: 0, the argument is none of klog's; 2, the flag's value was the next one. next: ""
// behind the last one. The error is for the user.
base::Result<int> take_klog_flag(std::string_view argument, std::string_view next, KlogFlags&);

}  // namespace edgemeshd
