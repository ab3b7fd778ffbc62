#include "base/sim/sim_loop.h"

#include <gtest/gtest.h>

#include <string>

#include "base/loop/task.h"

namespace base {
namespace {

TEST(SimLoop, TimeIsVirtualAndJumps) {
  SimLoop loop;
  Instant start = loop.now(), fired;
  auto t = loop.timer([&] { fired = loop.now(); });
  t->arm(24h);
  loop.run_for(23h);
  EXPECT_EQ(fired, Instant{});
  EXPECT_EQ(loop.now() - start, 23h);
  loop.run_for(2h);
  EXPECT_EQ(fired - start, 24h);
  EXPECT_EQ(loop.now() - start, 25h);
}

TEST(SimLoop, KeepsTheOrderOfTheRealLoop) {
  SimLoop loop;
  std::string log;
  auto mark = [&](const char* s) { return loop.timer([&log, s] { log += s; }); };
  auto d = mark("d"), b = mark("b"), c = mark("c"), a = mark("a");
  d->arm(3s);
  b->arm(1s);
  c->arm(1s);
  a->arm(-1s);
  loop.post([&] { log += "p"; });
  EXPECT_TRUE(loop.run_until_idle());
  EXPECT_EQ(log, "apbcd");
}

TEST(SimLoop, APeriodicTimerIsNeverIdle) {
  SimLoop loop;
  int n = 0;
  std::unique_ptr<Timer> t = loop.timer([&] { ++n; t->arm(1s); });
  t->arm(1s);
  EXPECT_FALSE(loop.run_until_idle(10s));
  EXPECT_EQ(n, 10);
  EXPECT_TRUE(loop.run_until([&] { return n == 15; }, 1h));
  EXPECT_EQ(n, 15);
  EXPECT_FALSE(loop.run_until([] { return false; }, 1s));
}

TEST(SimLoop, StopEndsARun) {
  SimLoop loop;
  auto t = loop.timer([&] { loop.stop(); }), never = loop.timer([] { FAIL(); });
  t->arm(1s);
  never->arm(2s);
  loop.run();
  EXPECT_EQ(never->armed(), true);
}

Task<void> flow(Loop& loop, std::string& log) {
  for (int i = 0; i < 3; ++i) {
    co_await sleep_for(loop, 1min);
    log += std::to_string(i);
  }
}

TEST(SimLoop, RunsFlows) {
  SimLoop loop;
  std::string log;
  Scope scope(loop);
  scope.spawn(flow(loop, log));
  loop.run_for(2min);
  EXPECT_EQ(log, "01");
  loop.run_until_idle();
  EXPECT_EQ(log, "012");
}

TEST(SimLoopDeathTest, HasNoDescriptors) {
  SimLoop loop;
  EXPECT_DEATH(loop.watch(0, kFdRead, [](FdEvents) {}), "no file descriptors");
}

}  // namespace
}  // namespace base
