#include "dns/server/rate_limit.h"

#include <gtest/gtest.h>

namespace dns {
namespace {

using namespace std::chrono_literals;
using V = RateLimit::Verdict;

base::IpAddr ip(const std::string& s) { return *base::IpAddr::parse(s); }
const base::Instant kStart{1000s};

struct Counts {
  int answer = 0, truncate = 0, drop = 0;
};
Counts ask(RateLimit& l, const std::string& from, int n, base::Instant at) {
  Counts c;
  for (int i = 0; i < n; i++) {
    auto v = l.judge(ip(from), at);
    (v == V::answer ? c.answer : v == V::truncate ? c.truncate : c.drop)++;
  }
  return c;
}

TEST(RateLimit, ASecondsWorthAtOnceThenTheRateAndOfTheRestEverySecondIsCut) {
  RateLimit l({.per_second = 100}, 7);
  auto c = ask(l, "10.0.0.1", 300, kStart);
  EXPECT_EQ(c.answer, 100);
  EXPECT_EQ(c.truncate, 100);
  EXPECT_EQ(c.drop, 100);
  EXPECT_EQ(ask(l, "10.0.0.1", 50, kStart + 100ms).answer, 10);
  EXPECT_EQ(ask(l, "10.0.0.1", 300, kStart + 10s).answer, 100) << "quiet time is kept for a second, not for ever";
}

TEST(RateLimit, TruncationMayBeOffOrForAll) {
  RateLimit none({.per_second = 1, .truncate_every = 0}, 7), all({.per_second = 1, .truncate_every = 1}, 7);
  EXPECT_EQ(ask(none, "10.0.0.1", 50, kStart).truncate, 0);
  EXPECT_EQ(ask(all, "10.0.0.1", 50, kStart).truncate, 49);
}

TEST(RateLimit, PodsCountAloneOthersByTheirNetwork) {
  RateLimit l({.per_second = 10}, 7);
  EXPECT_EQ(ask(l, "10.0.0.1", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "10.0.0.2", 20, kStart).answer, 10) << "the neighbour of a pod that floods";
  EXPECT_EQ(ask(l, "fd00::1", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "fd00::2", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "198.51.100.1", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "198.51.100.200", 20, kStart).answer, 0) << "the same /24";
  EXPECT_EQ(ask(l, "198.51.101.1", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "2001:db8:0:1::1", 20, kStart).answer, 10);
  EXPECT_EQ(ask(l, "2001:db8:0:2::1", 20, kStart).answer, 0) << "the same /56";
}

TEST(RateLimit, ManySourcesAreBoundedAndDoNotSetTheBusyOneFree) {
  RateLimit l({.per_second = 100}, 7);
  int free = 0;
  for (int i = 0; i < 100'000; i++) {
    const auto at = kStart + i * 10us;
    free += l.judge(ip("10.0.0.1"), at) == V::answer;
    l.judge(ip(fmt::format("{}.{}.{}.9", 20 + i % 100, i / 100 % 200, i / 20000)), at);
  }
  EXPECT_LE(free, 201) << "a second's worth at once and a second's worth in the second";
}

}  // namespace
}  // namespace dns
