#include "tunnel/path/path_mtu.h"

#include <gtest/gtest.h>

#include <deque>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

// A path of some MTU and round trip, its peer answering what comes through.
class PathMtuTest : public testing::Test {
 protected:
  void run(base::Duration d) {
    for (base::Instant end = now_ + d; now_ < end; now_ += 5ms) step();
  }
  void step() {
    while (!answers_.empty() && answers_.front().first <= now_) {
      mtu_.on_ack(answers_.front().second, now_);
      answers_.pop_front();
    }
    if (traffic_) mtu_.sent_long();
    auto at = mtu_.next_deadline();
    if (!at || *at > now_) return;
    for (const auto& p : mtu_.tick(now_, rtt_, rng_)) {
      sent_++;
      size_t wire = p.payload + headers_;
      bytes_ += wire;
      bool through = wire <= path_ && up_ && rng_.unit() >= loss_;
      if (through) answers_.push_back({now_ + rtt_, p.txid});
    }
  }
  // Until it is settled; how long that took.
  base::Duration settle(base::Duration at_most = 10s) {
    base::Instant from = now_;
    while (!mtu_.is_settled() && now_ - from < at_most) step(), now_ += 5ms;
    return now_ - from;
  }

  base::SeededRng rng_{7};
  PathMtu mtu_;
  base::Instant now_{1s};
  base::Duration rtt_ = 20ms;
  size_t path_ = 1500, headers_ = 28, sent_ = 0, bytes_ = 0;
  double loss_ = 0;
  bool up_ = true, traffic_ = false;
  std::deque<std::pair<base::Instant, uint64_t>> answers_;
};

TEST_F(PathMtuTest, AnEthernetIsKnownAfterOneRoundTrip) {
  mtu_.set_link(1500, false, now_);
  EXPECT_EQ(mtu_.wire(), 1280);  // what nearly every path carries, until more is proved
  mtu_.activate(now_);
  EXPECT_LE(settle(), 40ms);
  EXPECT_EQ(mtu_.wire(), 1500);
  EXPECT_EQ(mtu_.inner(), 1436);
}

TEST_F(PathMtuTest, FindsEveryMtuToEightBytesAndNeverMore) {
  for (size_t path : {576, 577, 1000, 1280, 1281, 1300, 1399, 1420, 1453, 1492, 1499, 1500}) {
    mtu_ = {};
    path_ = path;
    mtu_.activate(now_);
    EXPECT_LE(settle(), 2s) << path;
    EXPECT_LE(mtu_.wire(), path);
    EXPECT_GE(mtu_.wire() + 8, path);
    run(1s);
  }
}

TEST_F(PathMtuTest, TheInterfaceIsTheLimitAndJumboFramesAreUsed) {
  path_ = 9000;
  mtu_.activate(now_);
  settle();
  EXPECT_EQ(mtu_.wire(), 1500);
  mtu_.set_link(9000, false, now_);
  settle();
  EXPECT_EQ(mtu_.wire(), 9000);
  EXPECT_EQ(mtu_.inner(), kInnerMtuMax);
}

TEST_F(PathMtuTest, Ipv6HasLongerHeaders) {
  headers_ = 48;
  mtu_.set_link(1500, true, now_);
  mtu_.activate(now_);
  settle();
  EXPECT_EQ(mtu_.wire(), 1500);
  EXPECT_EQ(mtu_.inner(), 1416);
}

TEST_F(PathMtuTest, LossDoesNotLookLikeASmallMtu) {
  loss_ = 0.1;
  for (int i = 0; i < 20; i++) {
    mtu_ = {};
    mtu_.activate(now_);
    settle();
    EXPECT_EQ(mtu_.wire(), 1500);
    run(1s);
  }
}

TEST_F(PathMtuTest, ABlackHoleIsNoticedBeforeTcpTriesTheThirdTime) {
  mtu_.activate(now_);
  traffic_ = true;
  run(5s);
  path_ = 1300;  // and nobody says so
  base::Instant from = now_;
  while (mtu_.wire() > 1300 && now_ - from < 5s) step(), now_ += 5ms;
  EXPECT_LE(now_ - from, 620ms);  // 250 until it is asked, three times 120
  EXPECT_EQ(mtu_.black_holes(), 1u);
  settle();
  EXPECT_LE(mtu_.wire(), 1300);
  EXPECT_GE(mtu_.wire(), 1292);
}

TEST_F(PathMtuTest, ADeadPathIsNotABlackHole) {
  mtu_.activate(now_);
  traffic_ = true;
  run(5s);
  up_ = false;
  run(10s);
  EXPECT_EQ(mtu_.black_holes(), 0u);
  EXPECT_EQ(mtu_.wire(), 1500);
  up_ = true;
  run(1s);
  EXPECT_TRUE(mtu_.is_settled());
  EXPECT_EQ(mtu_.wire(), 1500);
}

TEST_F(PathMtuTest, AnHourOfLossyTrafficIsNoBlackHole) {
  mtu_.activate(now_);
  run(1s);
  loss_ = 0.05;
  traffic_ = true;
  run(1h);
  EXPECT_LE(mtu_.black_holes(), 1u);
}

TEST_F(PathMtuTest, SilentPathsAreNotProbed) {
  mtu_.activate(now_);
  settle();
  size_t before = sent_;
  run(9min);
  EXPECT_EQ(sent_, before);
}

TEST_F(PathMtuTest, AGrownPathIsFoundWithinTenMinutes) {
  path_ = 1400;
  mtu_.activate(now_);
  traffic_ = true;
  run(5s);
  EXPECT_EQ(mtu_.wire(), 1400);
  path_ = 1500;
  run(10min + 5s);
  EXPECT_EQ(mtu_.wire(), 1500);
}

TEST_F(PathMtuTest, WhatWasLeftAMomentAgoIsUsedAgainAtOnce) {
  mtu_.activate(now_);
  settle();
  mtu_.activate(now_ + 10s);
  EXPECT_EQ(mtu_.wire(), 1500);
  mtu_.activate(now_ + 5min);  // too long: anything may lie on the way now
  EXPECT_EQ(mtu_.wire(), 1280);
}

}  // namespace
}  // namespace tunnel
