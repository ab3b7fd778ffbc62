// The timers of one loop, ordered by (deadline, order of arming). Shared by the libevent loop and the simulated one, so that
// both fire in exactly the same order. Arming allocates nothing. A handle may outlive the queue; it then does nothing.
#pragma once
#include <cstdint>
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/loop/loop.h"

namespace base {

class TimerQueue {
 public:
  explicit TimerQueue(const Instant& now);  // the loop's clock; outlives the queue
  ~TimerQueue();
  std::unique_ptr<Timer> make(std::function<void()> fn);
  std::optional<Instant> next() const;
  // Fires what is due and was armed before this call; what a callback arms waits for the next turn. How many fired.
  size_t run_due();

 private:
  class Handle;
  struct Entry {
    std::function<void()> fn;
    Instant deadline{};
    uint64_t order = 0;
    size_t at = 0;  // place in the heap
    bool armed = false;
    std::shared_ptr<Entry> keep;  // itself while it is in the heap
  };
  struct Heap;
  std::shared_ptr<Heap> heap_;
};

}  // namespace base
