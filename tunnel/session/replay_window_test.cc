#include "tunnel/session/replay_window.h"

#include <gtest/gtest.h>

#include <set>

#include "base/core/rng.h"

namespace tunnel {
namespace {

bool take(ReplayWindow& w, uint64_t s) {
  if (!w.is_fresh(s)) return false;
  w.commit(s);
  return true;
}

TEST(ReplayWindow, EachSequenceOnce) {
  ReplayWindow w;
  EXPECT_FALSE(take(w, 0));
  for (uint64_t s = 1; s < 100'000; ++s) {
    EXPECT_TRUE(take(w, s));
    EXPECT_FALSE(take(w, s));
  }
  EXPECT_EQ(w.count(), 99'999u);
}

TEST(ReplayWindow, ReorderedWithinReach) {
  ReplayWindow w;
  EXPECT_TRUE(take(w, 1'000'000));
  EXPECT_TRUE(take(w, 1'000'000 - ReplayWindow::kReach + 1));
  EXPECT_FALSE(take(w, 1'000'000 - ReplayWindow::kReach));
  EXPECT_FALSE(take(w, 1));
}

TEST(ReplayWindow, CheckAloneChangesNothing) {
  ReplayWindow w;
  EXPECT_TRUE(w.is_fresh(uint64_t(1) << 55));  // a forged packet from far ahead
  EXPECT_TRUE(take(w, 1));
}

// Against the plain definition: a set of everything ever taken.
TEST(ReplayWindow, AgreesWithASet) {
  base::SeededRng rng(7);
  ReplayWindow w;
  std::set<uint64_t> seen;
  uint64_t high = 0;
  for (int i = 0; i < 200'000; ++i) {
    uint64_t base = high > 20'000 ? high - 20'000 : 0;
    uint64_t s = i % 1000 == 0 ? high + rng.below(60'000) : base + 1 + rng.below(20'050);
    bool want = s > 0 && !seen.contains(s) && (s > high || high - s < ReplayWindow::kReach);
    ASSERT_EQ(want, take(w, s)) << s << " after " << high;
    if (want) seen.insert(s), high = std::max(high, s);
  }
}

TEST(ReplayWindows, LanesAreApart) {
  ReplayWindows w;
  EXPECT_EQ(w.lane(3), nullptr);
  w.commit(make_counter(3, 50'000));
  EXPECT_FALSE(w.is_fresh(make_counter(3, 50'000)));
  EXPECT_TRUE(w.is_fresh(make_counter(4, 50'000)));
  EXPECT_TRUE(w.is_fresh(make_counter(4, 1)));
  EXPECT_FALSE(w.is_fresh(make_counter(3, 1)));
  EXPECT_EQ(w.lane(3)->highest(), 50'000u);
}

}  // namespace
}  // namespace tunnel
