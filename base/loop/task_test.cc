// Every flow is cancelled at each of its awaits; under ASan a frame that is freed twice or leaked stops the test.
#include "base/loop/task.h"

#include <gtest/gtest.h>

#include <string>

#include "base/core/result.h"
#include "base/sim/sim_loop.h"

namespace base {
namespace {

struct TaskTest : testing::Test {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  std::string log;
  Scope scope{*loop};
  void run_for(Duration d) {
    auto end = loop->timer([this] { loop->stop(); });
    end->arm(d);
    loop->run();
  }
};

struct Guard {  // a local of a coroutine: shows that its frame was unwound
  std::string& log;
  const char* text;
  ~Guard() { log += text; }
};

Task<int> answer(Loop& loop, int v) {
  co_await sleep_for(loop, 1ms);
  co_return v;
}

Task<Result<std::string>> refusal(Loop& loop) {
  co_await sleep_for(loop, 0ms);
  co_return fail(Code::denied, "no");
}

Task<void> adder(Loop& loop, std::string& log) {
  int sum = co_await answer(loop, 40) + co_await answer(loop, 2);
  log += std::to_string(sum);
  auto r = co_await refusal(loop);
  log += r ? "?" : " " + r.error().what;
}

TEST_F(TaskTest, ValuesAndErrorsComeBackThroughAwaits) {
  scope.spawn(adder(*loop, log));
  EXPECT_EQ(scope.live(), 1u);
  run_for(20ms);
  EXPECT_EQ(log, "42 no");
  EXPECT_EQ(scope.live(), 0u);
}

TEST_F(TaskTest, ATaskIsLazy) {
  auto t = adder(*loop, log);
  run_for(5ms);
  EXPECT_EQ(log, "");
}

Task<void> three_steps(Loop& loop, Slot<int>& slot, std::string& log) {
  Guard g{log, "."};
  co_await sleep_for(loop, 2ms);
  log += "1";
  auto v = co_await slot.wait(20ms);
  log += v ? std::to_string(*v) : "-";
  co_await answer(loop, 0);
  log += "3";
}

TEST_F(TaskTest, DroppingTheScopeCancelsAtEachAwait) {
  const char* want[] = {".", "1.", "12.", "123."};
  SimLoop virtual_time;
  for (int stop_at = 0; stop_at < 4; ++stop_at) {
    log.clear();
    Slot<int> slot(virtual_time);
    {
      Scope s(virtual_time);
      s.spawn(three_steps(virtual_time, slot, log));
      if (stop_at >= 1) virtual_time.run_for(4ms);
      if (stop_at >= 2) {
        slot.set(2);
        virtual_time.run_for(stop_at == 2 ? Duration(100us) : Duration(10ms));
      }
    }
    EXPECT_EQ(log, want[stop_at]) << stop_at;
    virtual_time.run_for(3ms);  // nothing of the dead flow may still fire
    EXPECT_EQ(log, want[stop_at]) << stop_at;
  }
}

TEST_F(TaskTest, ASlotTimesOut) {
  Slot<int> slot(*loop);
  scope.spawn(three_steps(*loop, slot, log));
  run_for(60ms);
  EXPECT_EQ(log, "1-3.");
}

TEST_F(TaskTest, ASlotSetBeforeTheWaitIsTakenAtOnceAndOnlyOnce) {
  Slot<int> slot(*loop);
  slot.set(7);
  slot.set(8);
  scope.spawn(three_steps(*loop, slot, log));
  run_for(20ms);
  EXPECT_EQ(log, "173.");
  EXPECT_FALSE(slot.has_value());
}

Task<void> waiter(Slot<int>& slot, std::string& log) {
  auto v = co_await slot.wait(1s);
  log += "woke" + std::to_string(*v);
}

TEST_F(TaskTest, SettingASlotResumesFromTheLoopNotFromTheSetter) {
  Slot<int> slot(*loop);
  scope.spawn(waiter(slot, log));
  loop->post([&] {
    slot.set(1);
    log += "set ";
  });
  run_for(5ms);
  EXPECT_EQ(log, "set woke1");
}

TEST_F(TaskTest, CancellingAWaiterWhoseValueIsOnItsWayIsSafe) {
  Slot<int> slot(*loop);
  auto s = std::make_unique<Scope>(*loop);
  s->spawn(waiter(slot, log));
  slot.set(1);
  s.reset();
  run_for(3ms);
  EXPECT_EQ(log, "");
  EXPECT_TRUE(slot.has_value());  // the next waiter gets it
}

Task<void> spawner(Scope& s, std::string& log, int depth) {
  log += std::to_string(depth);
  if (depth < 3) s.spawn(spawner(s, log, depth + 1));
  co_await sleep_for(s.loop(), 1ms);
  log += "x";
}

TEST_F(TaskTest, ATaskMaySpawnIntoItsOwnScope) {
  scope.spawn(spawner(scope, log, 0));
  EXPECT_EQ(scope.live(), 4u);
  run_for(10ms);
  EXPECT_EQ(log, "0123xxxx");
  EXPECT_EQ(scope.live(), 0u);
}

Task<void> ends_its_scope(std::unique_ptr<Scope>& s, Loop& loop, std::string& log) {
  Guard g{log, "gone"};
  co_await sleep_for(loop, 0ms);
  loop.defer_delete(std::move(s));
  co_await sleep_for(loop, 1s);
}

TEST_F(TaskTest, ATaskEndsItsOwnScopeByDeferredDelete) {
  auto s = std::make_unique<Scope>(*loop);
  s->spawn(ends_its_scope(s, *loop, log));
  run_for(5ms);
  EXPECT_EQ(log, "gone");
  EXPECT_FALSE(s);
}

}  // namespace
}  // namespace base
