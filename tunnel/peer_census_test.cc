#include "tunnel/peer_census.h"

#include <gtest/gtest.h>

#include <set>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

class PeerCensusTest : public testing::Test {
 protected:
  static std::vector<PeerHint> nodes(int n, int first = 0) {
    std::vector<PeerHint> out;
    for (int i = first; i < n; i++) {
      PeerHint h;
      h.name = "node-" + std::to_string(i);
      h.overlay_ips = {base::IpAddr::v4(0x64400001u + uint32_t(i))};
      h.advertise = {*base::IpPort::parse("192.0.2.1:20006")};
      out.push_back(std::move(h));
    }
    return out;
  }
  std::vector<PeerHint> take(std::vector<PeerHint> said) { return census_.take(std::move(said), now_); }
  PeerCensus census_;
  base::Instant now_{1000s};
};

TEST_F(PeerCensusTest, OneThatIsGoneIsCalledForTenMinutes) {
  take(nodes(30));
  auto after = take(nodes(30, 1));
  ASSERT_EQ(after.size(), 30u);
  EXPECT_EQ(after[0].name, "node-0");
  EXPECT_EQ(after[0].advertise.size(), 1u);
  EXPECT_TRUE(after[0].overlay_ips.empty()) << "its address may be another's by now";
  EXPECT_EQ(census_.frozen(), 0u);
  now_ += PeerCensus::kGoneLife - 1s;
  EXPECT_FALSE(census_.is_due(now_));
  now_ += 1s;
  EXPECT_TRUE(census_.is_due(now_));
  EXPECT_EQ(take(nodes(30, 1)).size(), 29u);
  EXPECT_FALSE(census_.is_due(now_));
}

TEST_F(PeerCensusTest, ManyThatAreGoneStayUntilTheyAreBack) {
  take(nodes(30));
  EXPECT_EQ(take(nodes(30, 4)).size(), 30u);
  EXPECT_EQ(census_.frozen(), 4u);
  EXPECT_EQ(census_.known_before(), 30u);
  now_ += 24h;
  auto after = take(nodes(30, 4));
  EXPECT_EQ(after.size(), 30u);
  EXPECT_EQ(after[0].overlay_ips.size(), 1u);
  take(nodes(30));
  EXPECT_EQ(census_.frozen(), 0u);
}

TEST_F(PeerCensusTest, AllAtOnceOrOneAfterTheOther) {
  take(nodes(3));
  EXPECT_EQ(take({}).size(), 3u);
  EXPECT_EQ(census_.frozen(), 3u);
  take(nodes(3));
  for (int i = 1; i <= 3; i++) {
    now_ += 20s;
    EXPECT_EQ(take(nodes(3, i)).size(), 3u);
  }
  EXPECT_EQ(census_.frozen(), 3u);
}

TEST_F(PeerCensusTest, ATenthOrOneNowAndThenIsNoBulk) {
  take(nodes(30));
  take(nodes(30, 3));
  EXPECT_EQ(census_.frozen(), 0u);
  now_ += PeerCensus::kGoneLife;
  for (int i = 4; i < 10; i++) {
    take(nodes(30, i));
    now_ += PeerCensus::kBulkWindow;
  }
  EXPECT_EQ(census_.frozen(), 0u);
}

TEST_F(PeerCensusTest, TheOnlyOneMayGo) {
  take(nodes(1));
  take({});
  EXPECT_EQ(census_.frozen(), 0u);
  now_ += PeerCensus::kGoneLife;
  EXPECT_TRUE(take({}).empty());
}

TEST_F(PeerCensusTest, RevokedOnesAreOutAtOnce) {
  auto all = nodes(4);
  take(all);
  for (auto& h : all) h.revoked = true;
  EXPECT_TRUE(take(all).empty());
  EXPECT_EQ(census_.frozen(), 0u);
  EXPECT_TRUE(take({}).empty());
}

}  // namespace
}  // namespace tunnel
