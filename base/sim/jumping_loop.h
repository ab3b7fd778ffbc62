// JumpingLoop: one machine's view of a SimLoop. Its clock runs ahead by jump(), as the boot clock does while a machine is suspended;
// its timers are those of the SimLoop. Tests only.
#pragma once
#include "base/sim/sim_loop.h"

namespace base {

class JumpingLoop final : public Loop {
 public:
  explicit JumpingLoop(SimLoop& under) : under_(under) {}
  void jump(Duration ahead) { ahead_ += ahead; }

  Instant now() const override { return under_.now() + ahead_; }
  std::unique_ptr<Timer> timer(std::function<void()> fn) override { return under_.timer(std::move(fn)); }
  std::unique_ptr<FdWatch> watch(int fd, FdEvents events, std::function<void(FdEvents)> fn) override { return under_.watch(fd, events, std::move(fn)); }
  void post(std::function<void()> fn) override { under_.post(std::move(fn)); }
  void run() override { under_.run(); }
  void stop() override { under_.stop(); }

 private:
  SimLoop& under_;
  Duration ahead_{0};
};

}  // namespace base
