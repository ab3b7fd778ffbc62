#include "base/sim/sim_loop.h"

#include "base/core/assert.h"

namespace base {

std::unique_ptr<FdWatch> SimLoop::watch(int, FdEvents, std::function<void(FdEvents)>) {
  EM_ASSERT(!"a simulation has no file descriptors");
  return nullptr;
}

bool SimLoop::turn(Instant end) {
  if (size_t fired = timers_.run_due(); fired + posts_.run() > 0) return true;
  auto next = timers_.next();
  if (!next || *next > end) return false;
  now_ = *next;
  return true;
}

void SimLoop::run() {
  while (!stop_ && turn(Instant::max())) {
  }
  stop_ = false;
}

void SimLoop::run_for(Duration d) {
  Instant end = now_ + d;
  while (!stop_ && turn(end)) {
  }
  if (!stop_) now_ = end;
  stop_ = false;
}

bool SimLoop::run_until_idle(Duration at_most) {
  Instant end = now_ + at_most;
  while (!stop_ && turn(end)) {
  }
  stop_ = false;
  return !timers_.next();
}

bool SimLoop::run_until(const std::function<bool()>& condition, Duration at_most) {
  Instant end = now_ + at_most;
  while (!condition() && !stop_)
    if (!turn(end)) {
      now_ = end;
      break;
    }
  stop_ = false;
  return condition();
}

}  // namespace base
