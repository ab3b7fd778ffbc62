// Loop: the event loop every module runs on. One per thread. An interface, so that the same modules run over libevent
// (libevent_loop.cc) and in virtual time (base/sim/sim_loop.h).
//
// - now() is refreshed once per wake-up and constant within one turn.
// - Timers due at the same instant fire in the order they were armed.
// - Dropping a handle cancels: its callback will not run afterwards, also when it was already due in this turn.
// - A callback may destroy anything, itself included (its std::function is kept alive until it returns).
// - Only post() and stop() may be called from another thread.
#pragma once
#include <functional>
#include <memory>

#include "base/core/result.h"
#include "base/core/time.h"

namespace base {

enum FdEvents : uint8_t { kFdNone = 0, kFdRead = 1, kFdWrite = 2 };
inline FdEvents operator|(FdEvents a, FdEvents b) { return FdEvents(uint8_t(a) | uint8_t(b)); }

class Timer {  // owned by its maker
 public:
  virtual ~Timer() = default;
  virtual void arm(Duration after) = 0;  // once; arming again moves it. Negative counts as zero (next turn)
  virtual void cancel() = 0;
  virtual bool armed() const = 0;
};

class FdWatch {  // owned by its maker; drop it before closing the fd
 public:
  virtual ~FdWatch() = default;
  virtual void set(FdEvents) = 0;  // level triggered; kFdNone pauses
};

class Loop {
 public:
  virtual ~Loop() = default;
  virtual Instant now() const = 0;
  virtual std::unique_ptr<Timer> timer(std::function<void()>) = 0;
  virtual std::unique_ptr<FdWatch> watch(int fd, FdEvents, std::function<void(FdEvents)>) = 0;
  virtual void post(std::function<void()>) = 0;  // any thread; runs in a later turn, in order
  virtual void run() = 0;                        // until stop()
  virtual void stop() = 0;                       // any thread

  // Destroys x after the current callback has returned.
  template <class T>
  void defer_delete(std::unique_ptr<T> x) {
    post([p = std::shared_ptr<T>(std::move(x))] {});
  }
};

// The error says what this machine is short of.
Result<std::unique_ptr<Loop>> open_libevent_loop();
std::unique_ptr<Loop> make_libevent_loop();  // the same where a process cannot go on without: tests, tools

}  // namespace base
