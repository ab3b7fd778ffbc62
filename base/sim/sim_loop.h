// SimLoop: the Loop of a simulation. Time is virtual: it stands still while callbacks run and jumps to the next deadline when
// nothing is left to do. The order of callbacks is the order of the real loop (the same TimerQueue), so a run is a function of
// its inputs. There are no descriptors here: watch() is a bug of the caller and stops the program.
#pragma once
#include "base/loop/loop.h"
#include "base/loop/post_queue.h"
#include "base/loop/timer_queue.h"

namespace base {

class SimLoop final : public Loop {
 public:
  ~SimLoop() override { posts_.drop_all(); }
  Instant now() const override { return now_; }
  std::unique_ptr<Timer> timer(std::function<void()> fn) override { return timers_.make(std::move(fn)); }
  std::unique_ptr<FdWatch> watch(int fd, FdEvents, std::function<void(FdEvents)>) override;
  void post(std::function<void()> fn) override { posts_.add(std::move(fn)); }
  void run() override;  // until stop(), or until nothing is left to do
  void stop() override { stop_ = true; }

  void run_for(Duration);  // everything due in that span; now() is then exactly that much later, unless stop() came
  // Until no timer is armed and nothing is posted. False: still busy after `at_most` (periodic timers never end).
  bool run_until_idle(Duration at_most = 1h);
  // Until the condition holds (checked after each turn). False: it did not within `at_most`.
  bool run_until(const std::function<bool()>& condition, Duration at_most);

 private:
  bool turn(Instant end);  // one turn, moving time if needed; false: nothing to do until end

  Instant now_{1000s};  // not zero: code that takes a zero instant for "never" shows itself
  bool stop_ = false;
  TimerQueue timers_{now_};
  PostQueue posts_;
};

}  // namespace base
