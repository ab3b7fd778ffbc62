#include "lb/policy/picker.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

std::vector<Candidate> three() {
  return {{*base::IpPort::parse("10.1.0.1:80"), 1}, {*base::IpPort::parse("10.1.0.2:80"), 1}, {*base::IpPort::parse("10.1.0.3:80"), 1}};
}

PickKey client(uint32_t n, base::Duration at = {}) { return {base::IpAddr::v4(0x0a320000 + n), base::Instant(at)}; }

struct PickerTest : testing::Test {
  base::SeededRng rng{7};
};

TEST_F(PickerTest, RoundRobinRotatesStrictly) {
  Picker p(Picker::Policy::round_robin, std::nullopt, rng);
  p.set_candidates(three());
  std::vector<base::IpPort> seen;
  for (int i = 0; i < 9; ++i) seen.push_back(p.pick(client(1))->addr);
  for (int i = 3; i < 9; ++i) EXPECT_EQ(seen[size_t(i)], seen[size_t(i - 3)]);
  EXPECT_NE(seen[0], seen[1]);
}

TEST_F(PickerTest, WeightZeroAndNone) {
  Picker p(Picker::Policy::random, std::nullopt, rng);
  EXPECT_EQ(p.pick(client(1)), nullptr);
  auto c = three();
  c[0].weight = c[2].weight = 0;
  p.set_candidates(c);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(p.pick(client(1))->addr, c[1].addr);
}

TEST_F(PickerTest, ExcludedEndpointsAreSkippedUntilNoneIsLeft) {
  Picker p(Picker::Policy::source_hash, std::nullopt, rng);
  p.set_candidates(three());
  Picker::Exclude tried;
  for (int i = 0; i < 3; ++i) {
    auto* c = p.pick(client(5), tried);
    ASSERT_NE(c, nullptr);
    EXPECT_TRUE(tried.insert(c->addr).second);
  }
  EXPECT_EQ(p.pick(client(5), tried), nullptr);
}

TEST_F(PickerTest, SourceHashKeepsAClientAndSpreadsClients) {
  Picker p(Picker::Policy::source_hash, std::nullopt, rng);
  p.set_candidates(three());
  std::map<base::IpPort, int> spread;
  for (uint32_t i = 0; i < 300; ++i) {
    auto first = p.pick(client(i))->addr;
    EXPECT_EQ(p.pick(client(i))->addr, first);
    ++spread[first];
  }
  for (auto& [who, n] : spread) EXPECT_GT(n, 60) << who.str();
}

TEST_F(PickerTest, AffinitySlidesExpiresAndForgetsTheDead) {
  Picker p(Picker::Policy::round_robin, 10s, rng);
  p.set_candidates(three());
  auto home = p.pick(client(1, 0s))->addr;
  EXPECT_EQ(p.pick(client(1, 8s))->addr, home);
  EXPECT_EQ(p.pick(client(1, 17s))->addr, home);  // slid: 8 s + 10 s
  EXPECT_NE(p.pick(client(1, 28s))->addr, home);  // idle for longer than 10 s: the rotation went on
  auto now_home = p.pick(client(1, 29s))->addr;
  auto rest = three();
  std::erase_if(rest, [&](auto& c) { return c.addr == now_home; });
  p.set_candidates(rest);
  EXPECT_NE(p.pick(client(1, 30s))->addr, now_home);
}

}  // namespace
}  // namespace lb
