#include "tunnel/punch/ladder.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
using R = PunchRung;
constexpr NatClass kEasy{NatMapping::independent}, kHard{NatMapping::endpoint}, kCounting{NatMapping::endpoint, false, 1}, kUnknown{};

// Every attempt fails after a while.
struct Lab {
  base::SeededRng rng{3};
  PunchRules rules;
  Ladder ladder{rules, rng};
  base::Instant start{1000s}, now{start};
  std::vector<std::pair<base::Duration, R>> tried;
  bool birthday = true;
  base::Duration took = 1s;

  std::vector<R> run(base::Duration d, NatClass mine, NatClass theirs) {
    std::vector<R> out;
    for (base::Instant end = now + d; now < end; now += 50ms) {
      auto r = ladder.take(now, mine, theirs, birthday);
      if (!r) continue;
      out.push_back(*r);
      tried.push_back({now - start, *r});
      now += took;
      ladder.failed(now);
    }
    return out;
  }
  std::vector<R> first(NatClass mine, NatClass theirs) {
    ladder.start(now);
    took = 100ms;
    return run(2s, mine, theirs);
  }
};

TEST(Ladder, WhatIsTriedFollowsFromTheTwoNats) {
  EXPECT_EQ(Lab().first(kEasy, kEasy), (std::vector{R::plain, R::fresh, R::plain, R::fresh}));
  EXPECT_EQ(Lab().first(kUnknown, kUnknown), (std::vector{R::plain, R::fresh, R::plain, R::fresh}));
  EXPECT_EQ(Lab().first(kEasy, kHard), (std::vector{R::plain, R::birthday, R::birthday}));
  EXPECT_EQ(Lab().first(kHard, kEasy), (std::vector{R::plain, R::birthday, R::birthday}));
  EXPECT_EQ(Lab().first(kCounting, kEasy), (std::vector{R::plain, R::predict, R::predict, R::birthday, R::birthday}));
  EXPECT_EQ(Lab().first(kHard, kCounting), (std::vector{R::plain}));
}

TEST(Ladder, EachRungHasItsSwitch) {
  Lab lab;
  lab.rules.birthday = lab.rules.plain = false;
  EXPECT_EQ(lab.first(kCounting, kEasy), (std::vector{R::predict, R::predict}));
  lab.rules.predict = false;
  EXPECT_TRUE(lab.first(kCounting, kEasy).empty());
  lab.rules = {};
  lab.rules.fresh = false;
  EXPECT_EQ(lab.first(kEasy, kEasy), (std::vector{R::plain, R::plain}));
}

TEST(Ladder, NoBirthdayForAPairThatHasNothingToSay) {
  Lab lab;
  lab.birthday = false;
  EXPECT_EQ(lab.first(kEasy, kHard), std::vector{R::plain});
}

TEST(Ladder, AMinuteOfShortPausesThenAllRungsEverMoreRarely) {
  Lab lab;
  lab.ladder.start(lab.now);
  lab.run(3h, kEasy, kHard);
  std::vector<base::Duration> gambles, climbs;
  for (auto [at, r] : lab.tried) {
    if (r == R::plain) climbs.push_back(at);
    if (r == R::birthday && (gambles.empty() || at - gambles.back() > 3s)) gambles.push_back(at);
  }
  EXPECT_LE(gambles[0], 2s);
  EXPECT_GE(gambles[1], 50s);  // the first ones after that are plain only
  EXPECT_GE(gambles.size(), 10u);
  EXPECT_LE(gambles.size(), 30u);
  EXPECT_LE(climbs[5] - climbs[0], 30s);
  base::Duration last = climbs.back() - climbs[climbs.size() - 2];
  EXPECT_GE(last, 480s);
  EXPECT_LE(last, 730s);
}

TEST(Ladder, NewsBeginAgainAndSuccessEnds) {
  Lab lab;
  lab.ladder.start(lab.now);
  lab.run(1h, kEasy, kEasy);
  EXPECT_EQ(lab.first(kEasy, kEasy)[0], R::plain);
  lab.ladder.stop();
  EXPECT_TRUE(lab.run(1h, kEasy, kEasy).empty());
  EXPECT_FALSE(lab.ladder.next_deadline());
}

}  // namespace
}  // namespace tunnel
