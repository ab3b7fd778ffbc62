// Loop over libevent's epoll. Timers are our own heap over one timerfd on CLOCK_BOOTTIME: exact to the nanosecond, in stable
// order, and right after a suspend. A turn is: wait, fd callbacks, due timers, posted functions.
#include <event2/event.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/core/assert.h"
#include "base/core/log.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/loop/post_queue.h"
#include "base/loop/timer_queue.h"

namespace base {
namespace {

Instant boot_now() {
  timespec t;
  EM_ASSERT(clock_gettime(CLOCK_BOOTTIME, &t) == 0);
  return Instant(std::chrono::seconds(t.tv_sec) + Duration(t.tv_nsec));
}

event_base* make_base() {
  event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);     // one thread; others reach us by the eventfd
  event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
  event_base* b = event_base_new_with_config(config);
  event_config_free(config);
  return b;
}

class LibeventLoop;

class Watch final : public FdWatch {
 public:
  Watch(LibeventLoop& loop, int fd, FdEvents events, std::function<void(FdEvents)> fn);
  ~Watch() override { event_free(event_); }
  void set(FdEvents) override;
  bool is_added() const { return !retry_ || !retry_->armed(); }

 private:
  void add();
  static void on_ready(int, short what, void* self);
  LibeventLoop& loop_;
  int fd_;
  FdEvents want_ = kFdNone;
  event* event_;
  std::shared_ptr<std::function<void(FdEvents)>> fn_;
  std::unique_ptr<Timer> retry_;
};

constexpr Duration kAddAgain = std::chrono::milliseconds(100);

class LibeventLoop final : public Loop {
 public:
  LibeventLoop();
  ~LibeventLoop() override;
  Instant now() const override { return now_; }
  std::unique_ptr<Timer> timer(std::function<void()> fn) override { return timers_.make(std::move(fn)); }
  std::unique_ptr<FdWatch> watch(int fd, FdEvents e, std::function<void(FdEvents)> fn) override {
    return std::make_unique<Watch>(*this, fd, e, std::move(fn));
  }
  void post(std::function<void()> fn) override {
    if (posts_.add(std::move(fn))) wake();
  }
  void run() override;
  void stop() override {
    stop_ = true;
    wake();
  }
  event_base* events() { return events_; }
  // What is missing for a loop, by errno; 0: nothing.
  int shortage() const { return shortage_; }
  void woke();  // before the first callback of a turn

 private:
  void turn();
  void wake();
  void set_alarm();

  int shortage_ = 0;
  event_base* events_;
  Instant now_;
  bool fresh_ = false;  // now_ was read in this turn
  std::atomic<bool> stop_{false};
  TimerQueue timers_;
  PostQueue posts_;
  UniqueFd wake_fd_, alarm_fd_;
  std::optional<Instant> alarm_;  // what alarm_fd_ is set to
  std::unique_ptr<FdWatch> wake_watch_, alarm_watch_;
};

Watch::Watch(LibeventLoop& loop, int fd, FdEvents events, std::function<void(FdEvents)> fn)
    : loop_(loop), fd_(fd), event_(event_new(loop.events(), fd, EV_READ | EV_PERSIST, on_ready, this)),
      fn_(std::make_shared<std::function<void(FdEvents)>>(std::move(fn))) {
  EM_ASSERT(event_);
  set(events);
}

void Watch::set(FdEvents want) {
  if (want == want_) return;
  event_del(event_);
  want_ = want;
  if (want == kFdNone) return;
  short bits = short((want & kFdRead ? EV_READ : 0) | (want & kFdWrite ? EV_WRITE : 0) | EV_PERSIST);
  EM_ASSERT(event_assign(event_, loop_.events(), fd_, bits, on_ready, this) == 0);
  add();
}

// The kernel may be out of memory or of watches (fs.epoll.max_user_watches) for a while; what is watched waits meanwhile. Anything
// else is a descriptor that cannot be polled: a bug of the caller.
void Watch::add() {
  errno = 0;
  if (event_add(event_, nullptr) == 0) return;
  EM_ASSERT(errno != EBADF && errno != EPERM && errno != EEXIST);
  EM_LOG(error, "loop", "a descriptor cannot be watched: {}: tried again every {} ms; free memory, or raise fs.epoll.max_user_watches", strerror(errno),
         to_ms(kAddAgain));
  if (!retry_) retry_ = loop_.timer([this] { if (want_ != kFdNone) add(); });
  retry_->arm(kAddAgain);
}

void Watch::on_ready(int, short what, void* arg) {
  auto* self = static_cast<Watch*>(arg);
  self->loop_.woke();
  auto alive = self->fn_;  // the callback may destroy its watch
  (*alive)(FdEvents((what & EV_READ ? kFdRead : 0) | (what & EV_WRITE ? kFdWrite : 0)));
}

LibeventLoop::LibeventLoop()
    : events_(make_base()), now_(boot_now()), timers_(now_), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (events_ && wake_fd_) alarm_fd_ = UniqueFd(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!alarm_fd_) {
    shortage_ = errno ? errno : ENOMEM;
    return;
  }
  auto drain = [](int fd) {
    uint64_t count;
    return ::read(fd, &count, sizeof count) == sizeof count;
  };
  wake_watch_ = watch(wake_fd_.get(), kFdRead, [this, drain](FdEvents) { drain(wake_fd_.get()); });
  alarm_watch_ = watch(alarm_fd_.get(), kFdRead, [this, drain](FdEvents) {
    drain(alarm_fd_.get());
    alarm_.reset();
  });
  for (const auto* w : {&wake_watch_, &alarm_watch_})
    if (!static_cast<Watch&>(**w).is_added()) shortage_ = ENOSPC;  // without these nothing would be tried again
}

LibeventLoop::~LibeventLoop() {
  posts_.drop_all();
  wake_watch_.reset();
  alarm_watch_.reset();
  if (events_) event_base_free(events_);
}

void LibeventLoop::woke() {
  if (std::exchange(fresh_, true)) return;
  now_ = boot_now();
}

void LibeventLoop::wake() {
  uint64_t one = 1;  // a full counter (EAGAIN) wakes as well; a sandbox's refusal is asked twice, for nobody else would wake this loop
  for (int tries = 0; tries < 2 && ::write(wake_fd_.get(), &one, sizeof one) < 0 && errno != EAGAIN; ++tries) {
  }
}

// A timer that moved later leaves the alarm as it is: one idle wake-up is cheaper than a system call per packet.
void LibeventLoop::set_alarm() {
  std::optional<Instant> next = timers_.next();
  if (!next || (alarm_ && *alarm_ <= *next)) return;
  alarm_ = next;
  int64_t ns = std::max<int64_t>(next->time_since_epoch().count(), 1);  // zero would disarm
  itimerspec at{};
  at.it_value.tv_sec = ns / 1'000'000'000;
  at.it_value.tv_nsec = ns % 1'000'000'000;
  EM_ASSERT(timerfd_settime(alarm_fd_.get(), TFD_TIMER_ABSTIME, &at, nullptr) == 0);
}

void LibeventLoop::turn() {
  set_alarm();
  fresh_ = false;
  event_base_loop(events_, EVLOOP_ONCE);
  woke();
  timers_.run_due();
  posts_.run();
}

void LibeventLoop::run() {
  while (!stop_.exchange(false)) turn();
}

}  // namespace

Result<std::unique_ptr<Loop>> open_libevent_loop() {
  event_set_log_callback([](int, const char*) {});  // we say it ourselves
  auto loop = std::make_unique<LibeventLoop>();
  if (loop->shortage())
    return fail_errno(loop->shortage(), "no event loop (epoll, eventfd, timerfd): raise LimitNOFILE or fs.epoll.max_user_watches, or free memory");
  return loop;
}

std::unique_ptr<Loop> make_libevent_loop() {
  auto loop = open_libevent_loop();
  EM_ASSERT(loop);
  return std::move(*loop);
}

}  // namespace base
