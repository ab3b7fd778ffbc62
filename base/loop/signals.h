// SignalWatch: process signals as callbacks on a loop (signalfd). The signals are blocked from construction on, in this thread
// and in threads it starts later: make it in main before any thread. Dropping it unblocks what it blocked.
#pragma once
#include <signal.h>

#include <functional>
#include <initializer_list>
#include <memory>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"

namespace base {

class SignalWatch {
 public:
  // e.g. SignalWatch::make(loop, {SIGTERM, SIGINT, SIGHUP}, [&](int signal) { … })
  static Result<std::unique_ptr<SignalWatch>> make(Loop&, std::initializer_list<int> signals, std::function<void(int)> on_signal);
  ~SignalWatch();

 private:
  SignalWatch() = default;
  void on_readable();
  sigset_t before_{};
  UniqueFd fd_;
  std::shared_ptr<std::function<void(int)>> on_signal_;  // shared: a callback may destroy its watch
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace base
