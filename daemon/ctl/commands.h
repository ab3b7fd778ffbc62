// edgemeshctl's commands: arguments in, text and exit status out. Those that look into the daemon ask its admin socket.
#pragma once
#include <string>
#include <vector>

namespace edgemeshd {

struct CtlResult {
  int status = 0;        // 0 good, 1 failed, 2 wrong usage
  std::string out, err;  // err is one line
};

CtlResult run_ctl(const std::vector<std::string>& args);

}  // namespace edgemeshd
