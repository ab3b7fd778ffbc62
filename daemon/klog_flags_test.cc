#include "daemon/klog_flags.h"

#include <gtest/gtest.h>

namespace edgemeshd {
namespace {

struct Klog : ::testing::Test {
  KlogFlags flags;
  int take(std::string_view argument, std::string_view next = "--next") {
    auto r = take_klog_flag(argument, next, flags);
    return r ? *r : -1;
  }
};

TEST_F(Klog, VerbosityInEveryFormThatIsWritten) {
  struct Case {
    const char *argument, *next;
    int used;
  };
  for (auto& c : {Case{"-v=4", "", 1}, Case{"--v=4", "", 1}, Case{"-v", "4", 2}, Case{"--v", "10", 2}, Case{"-v5", "", 1}}) {
    flags = {};
    EXPECT_EQ(take(c.argument, c.next), c.used) << c.argument;
    EXPECT_EQ(flags.level, base::LogLevel::debug) << c.argument;
  }
  flags = {};
  EXPECT_EQ(take("-v=3"), 1);
  EXPECT_FALSE(flags.level);
  EXPECT_TRUE(flags.notes.empty());
}

TEST_F(Klog, AWrongVerbosityIsAnError) {
  auto r = take_klog_flag("-v=much", "", flags);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().what, "-v needs a number, not \"much\"");
  EXPECT_EQ(take("--v", ""), -1);
}

TEST_F(Klog, WhatHasNoEffectIsNamedWithTheReason) {
  EXPECT_EQ(take("--logtostderr=true"), 1);
  EXPECT_EQ(take("--alsologtostderr", "true"), 1) << "a flag that is on or off takes no word behind it";
  EXPECT_EQ(take("--log-dir", "/var/log"), 2);
  EXPECT_EQ(take("--vmodule=proxy=4"), 1);
  ASSERT_EQ(flags.notes.size(), 4u);
  EXPECT_EQ(flags.notes[0], "--logtostderr: has no effect: the log goes to standard error, for the journal or the container's log");
  EXPECT_EQ(flags.notes[2].substr(0, 24), "--log-dir: has no effect");
}

TEST_F(Klog, OtherFlagsAreNotTaken) {
  for (auto* a : {"--config", "--version", "-h", "--verbose", "agent.yaml"}) EXPECT_EQ(take(a), 0) << a;
}

}  // namespace
}  // namespace edgemeshd
