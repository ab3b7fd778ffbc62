// Task<T>: a coroutine for flows (handshakes, list+watch, probes). Packets use plain functions.
//
// - Lazy: runs when awaited or when given to a Scope. Dropping a Task destroys its frame: that is how it is cancelled.
// - Every Task has exactly one owner. A Scope owns spawned tasks and cancels them when it dies; a task that wants its own
//   Scope gone hands it to Loop::defer_delete.
// - A resumed coroutine always starts from the loop, never inside the resumer's stack.
// - Exceptions do not cross tasks: an escaping exception is a bug and stops the program.
// - Never a capturing lambda as a coroutine; parameters by value or by reference to an owner of the task.
#pragma once
#include <coroutine>
#include <list>
#include <optional>
#include <utility>

#include "base/core/assert.h"
#include "base/loop/loop.h"

namespace base {

template <class T>
class Task;

namespace detail {
struct PromiseBase {
  std::coroutine_handle<> continuation;
  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
      auto c = h.promise().continuation;
      return c ? c : std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() { assert_failed("exception escaped a task", __FILE__, __LINE__); }
};
template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U = T>
  void return_value(U&& u) { value.emplace(std::forward<U>(u)); }
};
template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
};
}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;
  explicit Task(Handle h) : h_(h) {}
  Task(Task&& o) noexcept : h_(std::exchange(o.h_, {})) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      if (h_) h_.destroy();
      h_ = std::exchange(o.h_, {});
    }
    return *this;
  }
  ~Task() { if (h_) h_.destroy(); }
  bool done() const { return h_ && h_.done(); }
  void start() { h_.resume(); }  // by an owner that is not itself a coroutine

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> c) noexcept {
    h_.promise().continuation = c;
    return h_;
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return std::move(*h_.promise().value);
  }

 private:
  Handle h_;
};

namespace detail {
template <class T>
Task<T> Promise<T>::get_return_object() { return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this)); }
inline Task<void> Promise<void>::get_return_object() { return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this)); }
}  // namespace detail

// co_await sleep_for(loop, 200ms)
class SleepFor {
 public:
  SleepFor(Loop& loop, Duration d) : loop_(loop), d_(d) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    timer_ = loop_.timer([h] { h.resume(); });
    timer_->arm(d_);
  }
  void await_resume() noexcept { timer_.reset(); }

 private:
  Loop& loop_;
  Duration d_;
  std::unique_ptr<Timer> timer_;
};
inline SleepFor sleep_for(Loop& loop, Duration d) { return {loop, d}; }

// A value that arrives later, awaited with a deadline: set() from a callback, co_await wait(loop, deadline) in the flow.
// One waiter. Dropping the waiter is safe; the Slot must outlive it.
template <class T>
class Slot {
 public:
  explicit Slot(Loop& loop) : loop_(loop) {}
  void set(T v) {
    if (value_) return;
    value_.emplace(std::move(v));
    if (waiter_ && timer_) timer_->arm(Duration{0});  // resumes from the loop
  }
  bool has_value() const { return value_.has_value(); }

  struct Awaiter {
    Slot& s;
    Duration within;
    ~Awaiter() { s.waiter_ = {}; s.timer_.reset(); }
    bool await_ready() const noexcept { return s.value_.has_value(); }
    void await_suspend(std::coroutine_handle<> h) {
      s.waiter_ = h;
      s.timer_ = s.loop_.timer([h] { h.resume(); });
      s.timer_->arm(within);
    }
    std::optional<T> await_resume() { return std::exchange(s.value_, std::nullopt); }  // nullopt: the deadline passed
  };
  Awaiter wait(Duration within) { return Awaiter{*this, within}; }

 private:
  Loop& loop_;
  std::optional<T> value_;
  std::coroutine_handle<> waiter_;
  std::unique_ptr<Timer> timer_;
};

// Owns spawned tasks. Finished ones are swept on the loop; all are cancelled when the Scope dies.
class Scope {
 public:
  explicit Scope(Loop& loop) : loop_(loop), sweep_(loop.timer([this] { sweep(); })) {}
  void spawn(Task<void> t) {
    tasks_.push_back(std::make_unique<Task<void>>(run(std::move(t))));
    tasks_.back()->start();
  }
  size_t live() const { return tasks_.size(); }
  Loop& loop() { return loop_; }

 private:
  Task<void> run(Task<void> t) {
    co_await t;
    sweep_->arm(Duration{0});
  }
  void sweep() { tasks_.remove_if([](auto& t) { return t->done(); }); }
  Loop& loop_;
  std::unique_ptr<Timer> sweep_;
  std::list<std::unique_ptr<Task<void>>> tasks_;
};

}  // namespace base
