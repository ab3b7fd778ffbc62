// Functions handed to a loop from any thread, in order. take() gives those posted so far.
#pragma once
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace base {

class PostQueue {
 public:
  // True when the queue was empty: the loop has to be woken.
  bool add(std::function<void()> fn) {
    std::lock_guard lock(mu_);
    waiting_.push_back(std::move(fn));
    return waiting_.size() == 1;
  }
  std::vector<std::function<void()>> take() {
    std::lock_guard lock(mu_);
    return std::exchange(waiting_, {});
  }
  // Runs those posted before this call; each is destroyed before the next one runs. How many ran.
  size_t run() {
    auto batch = take();
    for (auto& fn : batch) {
      fn();
      fn = nullptr;
    }
    return batch.size();
  }
  // Destroys what never ran, also what that destruction posts.
  void drop_all() {
    while (!take().empty()) {
    }
  }

 private:
  std::mutex mu_;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace base
