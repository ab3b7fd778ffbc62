// Connections that ended without an answer, as the kernel tells them (ctnetlink's destroy events). A filter in the kernel keeps
// everything else back: flows that were answered, and flows whose destination nobody rewrote, cost this process nothing.
//
// The queue is bounded; when it overflowed, on_lost is called and what was lost has to be looked up (conntrack.h).
#pragma once
#include <functional>
#include <memory>

#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/net/conntrack.h"

namespace base::conntrack {

class UnansweredEvents {
 public:
  struct Hooks {
    std::function<void(const Entry&)> on_end;  // TCP: state CLOSE stands for a reset
    std::function<void()> on_lost;
  };
  static Result<std::unique_ptr<UnansweredEvents>> start(Loop&, Hooks, int queue_bytes = 256 << 10);
  virtual ~UnansweredEvents() = default;  // not from its own hooks
};

}  // namespace base::conntrack
