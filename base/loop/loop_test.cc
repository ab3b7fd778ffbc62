// The contract of loop.h over libevent. The simulated loop keeps the same contract in base/sim/sim_loop_test.cc.
#include "base/loop/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/core/unique_fd.h"
#include "base/loop/signals.h"

namespace base {
namespace {

struct LoopTest : testing::Test {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  std::string log;
  std::unique_ptr<Timer> guard = loop->timer([this] { log += " STUCK"; loop->stop(); });
  LoopTest() { guard->arm(5s); }
  std::unique_ptr<Timer> after(Duration d, std::function<void()> fn) {
    auto t = loop->timer(std::move(fn));
    t->arm(d);
    return t;
  }
};

TEST_F(LoopTest, TimersFireByDeadlineThenByOrderOfArming) {
  std::vector<std::unique_ptr<Timer>> timers;
  timers.push_back(after(3ms, [&] { log += "d"; loop->stop(); }));
  timers.push_back(after(1ms, [&] { log += "b"; }));
  timers.push_back(after(1ms, [&] { log += "c"; }));
  timers.push_back(after(-1s, [&] { log += "a"; }));
  loop->run();
  EXPECT_EQ(log, "abcd");
}

TEST_F(LoopTest, ManyTimersInAnyOrderFireSorted) {
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<int> fired;
  for (int i = 0; i < 500; ++i) timers.push_back(after(Duration(i * 7919 % 500 * 1000), [&fired, i] { fired.push_back(i * 7919 % 500); }));
  for (int i = 0; i < 500; i += 3) timers[size_t(i)]->cancel();
  auto end = after(20ms, [&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(fired.size(), 333u);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST_F(LoopTest, ATimerIsNeverEarlyAndNowIsConstantWithinATurn) {
  Instant start = loop->now();
  Instant at;
  auto t = after(10ms, [&] {
    at = loop->now();
    usleep(3000);
    EXPECT_EQ(loop->now(), at);
    loop->stop();
  });
  loop->run();
  EXPECT_GE(at - start, 10ms);
  EXPECT_LT(at - start, 2s);
}

TEST_F(LoopTest, ArmingAgainMovesATimer) {
  auto moved = after(1ms, [&] { log += "moved"; loop->stop(); });
  auto first = after(4ms, [&] { log += "first "; });
  moved->arm(8ms);
  EXPECT_TRUE(moved->armed());
  loop->run();
  EXPECT_EQ(log, "first moved");
  EXPECT_FALSE(moved->armed());
}

TEST_F(LoopTest, ATimerArmedForNowInACallbackFiresInALaterTurn) {
  std::unique_ptr<Timer> again = loop->timer([&] {
    log += "t";
    loop->post([&] { log += "p"; });  // ends this turn
    if (log.size() < 5) again->arm(0s);
  });
  again->arm(0s);
  auto end = after(2ms, [&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(log, "tptptp");
}

TEST_F(LoopTest, AnEarlierTimerMovesTheAlarmForward) {
  Instant start = loop->now(), fired;
  std::unique_ptr<Timer> t = loop->timer([&] { fired = loop->now(); loop->stop(); });
  loop->post([&] { loop->post([&] { t->arm(1ms); }); });  // by now the kernel waits for the guard
  loop->run();
  EXPECT_EQ(log, "");
  EXPECT_LT(fired - start, 4s);
}

TEST_F(LoopTest, DroppingAHandleCancelsWhatWasDueInTheSameTurn) {
  std::unique_ptr<Timer> victim;
  auto killer = after(0s, [&] { victim.reset(); loop->post([&] { loop->stop(); }); });
  victim = after(0s, [&] { log += "dead timer fired"; });
  loop->run();
  EXPECT_EQ(log, "");
}

TEST_F(LoopTest, DroppingAWatchCancelsItsReadyCallbackInTheSameTurn) {
  int a[2], b[2];
  ASSERT_EQ(pipe(a), 0);
  ASSERT_EQ(pipe(b), 0);
  UniqueFd fds[] = {UniqueFd(a[0]), UniqueFd(a[1]), UniqueFd(b[0]), UniqueFd(b[1])};
  std::unique_ptr<FdWatch> wa, wb;
  wa = loop->watch(a[0], kFdRead, [&](FdEvents) { log += "x"; wa.reset(); wb.reset(); loop->stop(); });
  wb = loop->watch(b[0], kFdRead, [&](FdEvents) { log += "x"; wa.reset(); wb.reset(); loop->stop(); });
  ASSERT_EQ(write(a[1], "1", 1) + write(b[1], "1", 1), 2);
  loop->run();
  EXPECT_EQ(log, "x");
}

TEST_F(LoopTest, ACallbackMayDestroyItselfAndStillUseItsCaptures) {
  std::unique_ptr<Timer> t;
  std::string text = "captures live";
  t = loop->timer([&, text] {
    t.reset();
    log += text;
    loop->stop();
  });
  t->arm(0s);
  loop->run();
  EXPECT_EQ(log, "captures live");
}

TEST_F(LoopTest, WatchesAreLevelTriggeredAndPauseAndSwitch) {
  int s[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
  UniqueFd one(s[0]), two(s[1]);
  ASSERT_EQ(write(s[1], "zz", 2), 2);
  std::unique_ptr<FdWatch> w = loop->watch(s[0], kFdRead, [&](FdEvents e) {
    log += e & kFdWrite ? "w" : "r";
    char c;
    if (log == "rr") w->set(kFdWrite);
    if (log == "rrw") w->set(kFdNone);
    if (log.size() < 3) EXPECT_EQ(read(s[0], &c, log.size() == 2 ? 1 : 0), log.size() == 2 ? 1 : 0);
  });
  auto end = after(10ms, [&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(log, "rrw");
}

TEST_F(LoopTest, PostRunsInALaterTurnInOrder) {
  loop->post([&] {
    loop->post([&] { log += "3"; loop->stop(); });
    log += "1";
  });
  loop->post([&] { log += "2"; });
  loop->run();
  EXPECT_EQ(log, "123");
}

TEST_F(LoopTest, PostsFromThreadsAllArriveInEachThreadsOrder) {
  constexpr int kThreads = 4, kEach = 2000;
  std::vector<int> next(kThreads, 0);
  int total = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i)
        loop->post([&, t, i] {
          ordered &= next[size_t(t)]++ == i;
          if (++total == kThreads * kEach) loop->stop();
        });
    });
  loop->run();
  for (auto& t : threads) t.join();
  EXPECT_EQ(total, kThreads * kEach);
  EXPECT_TRUE(ordered);
  EXPECT_EQ(log, "");
}

TEST_F(LoopTest, StopFromAnotherThreadAlsoBeforeRun) {
  loop->stop();
  loop->run();  // returns at once
  std::thread other([&] { loop->stop(); });
  loop->run();
  other.join();
  EXPECT_EQ(log, "");
}

TEST_F(LoopTest, DeferDeleteWaitsUntilTheCallbackReturned) {
  struct Noisy {
    std::string& log;
    ~Noisy() { log += "deleted"; }
  };
  auto t = after(0s, [&] {
    loop->defer_delete(std::make_unique<Noisy>(log));
    log += "returned ";
    loop->post([&] { loop->stop(); });
  });
  loop->run();
  EXPECT_EQ(log, "returned deleted");
}

TEST_F(LoopTest, DestroyingTheLoopDestroysWhatWasPosted) {
  auto alive = std::make_shared<int>(1);
  std::weak_ptr<int> seen = alive;
  loop->post([this, a = std::move(alive)] { log += "ran"; });
  auto t = after(0s, [] {});
  guard.reset();
  loop.reset();
  EXPECT_TRUE(seen.expired());
  EXPECT_EQ(log, "");
  t->arm(1s);  // a handle that outlives its loop does nothing
  EXPECT_FALSE(t->armed());
}

TEST_F(LoopTest, SignalsAreCallbacks) {
  {
    auto w = SignalWatch::make(*loop, {SIGTERM, SIGHUP}, [&](int s) {
      log += s == SIGHUP ? "hup " : "term";
      if (s == SIGTERM) loop->stop();
    });
    ASSERT_TRUE(w);
    raise(SIGHUP);
    auto later = after(2ms, [] { raise(SIGTERM); });
    loop->run();
  }
  EXPECT_EQ(log, "hup term");
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_FALSE(sigismember(&now, SIGTERM));
}

TEST_F(LoopTest, ASignalCallbackMayDestroyItsWatch) {
  std::unique_ptr<SignalWatch> w;
  w = SignalWatch::make(*loop, {SIGHUP}, [&](int) { w.reset(); log += "once"; loop->stop(); }).value();
  raise(SIGHUP);
  loop->run();
  EXPECT_EQ(log, "once");
}

}  // namespace
}  // namespace base
