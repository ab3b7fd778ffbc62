#include <cstdio>

#include "daemon/ctl/commands.h"

int main(int argc, char** argv) {
  edgemeshd::CtlResult r = edgemeshd::run_ctl({argv + 1, argv + argc});
  std::fputs(r.out.c_str(), stdout);
  if (!r.err.empty()) std::fprintf(stderr, "edgemeshctl: %s\n", r.err.c_str());
  return r.status;
}
