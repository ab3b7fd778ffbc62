#include "base/loop/signals.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace base {

Result<std::unique_ptr<SignalWatch>> SignalWatch::make(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal) {
  std::unique_ptr<SignalWatch> w(new SignalWatch);
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, &w->before_);
  w->fd_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!w->fd_) return fail_errno(errno, "signalfd");
  w->on_signal_ = std::make_shared<std::function<void(int)>>(std::move(on_signal));
  w->watch_ = loop.watch(w->fd_.get(), kFdRead, [raw = w.get()](FdEvents) { raw->on_readable(); });
  return w;
}

SignalWatch::~SignalWatch() {
  watch_.reset();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

// One signal per turn: the watch is level triggered, and a callback may destroy this object.
void SignalWatch::on_readable() {
  signalfd_siginfo info;
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return;
  auto alive = on_signal_;
  (*alive)(int(info.ssi_signo));
}

}  // namespace base
