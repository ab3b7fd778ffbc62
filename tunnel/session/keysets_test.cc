#include "tunnel/session/keysets.h"

#include <gtest/gtest.h>

#include <set>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

constexpr base::Instant kStart{1000s};

// Both ends of one KeySet.
std::pair<DataKeysPtr, DataKeysPtr> make_pair(uint32_t a, uint32_t b, uint8_t fill) {
  DirectionKeys one, two;
  one.key.assign(16, fill);
  two.key.assign(16, uint8_t(fill + 100));
  return {DataKeys::make(AeadId::aes_128_gcm, one, two, a, b), DataKeys::make(AeadId::aes_128_gcm, two, one, b, a)};
}

struct Ends {
  KeySets a, b;
  void generation(uint32_t n, base::Instant now) {
    auto [ka, kb] = make_pair(n, 1000 + n, uint8_t(n));
    a.add_next(ka, now);
    b.add_next(kb, now);
  }
};

TEST(KeySets, NextReceivesButDoesNotSendUntilPromoted) {
  Ends e;
  e.generation(1, kStart);
  EXPECT_TRUE(e.a.seal(PacketType::check, base::as_bytes("x")).empty());
  e.a.promote(1, kStart);
  auto packet = e.a.seal(PacketType::check, base::as_bytes("hello"));
  auto opened = e.b.open(packet);
  ASSERT_TRUE(opened);
  EXPECT_EQ(base::as_text(opened->plain), "hello");
  EXPECT_TRUE(e.b.promote(opened->header.index, kStart));
  EXPECT_FALSE(e.b.promote(opened->header.index, kStart));
  EXPECT_TRUE(e.a.open(e.b.seal(PacketType::control, base::as_bytes("back"))));
}

TEST(KeySets, APacketIsTakenOnceAndForgeriesNever) {
  Ends e;
  e.generation(1, kStart);
  e.a.promote(1, kStart);
  auto packet = e.a.seal(PacketType::check, base::as_bytes("x"));
  auto forged = packet;
  forged.back() ^= 1;
  EXPECT_FALSE(e.b.open(forged));
  EXPECT_TRUE(e.b.open(packet));
  EXPECT_FALSE(e.b.open(packet));
}

TEST(KeySets, PreviousReceivesForThirtySeconds) {
  Ends e;
  e.generation(1, kStart);
  e.a.promote(1, kStart);
  e.b.promote(1001, kStart);
  auto late = e.a.seal(PacketType::check, base::as_bytes("late")), later = e.a.seal(PacketType::check, base::as_bytes("later"));
  e.generation(2, kStart);
  e.b.promote(1002, kStart);
  EXPECT_TRUE(e.b.open(late));
  EXPECT_TRUE(e.b.expire(kStart + 29s).empty());
  EXPECT_EQ(e.b.expire(kStart + 30s), std::vector<uint32_t>{1001});
  EXPECT_FALSE(e.b.open(later));
}

TEST(KeySets, AtMostThreeAndEveryDroppedIndexIsNamed) {
  Ends e;
  for (uint32_t g = 1; g <= 3; g++) {
    e.generation(g, kStart);
    e.a.promote(g, kStart);
  }
  EXPECT_EQ(e.a.expire(kStart), std::vector<uint32_t>{1});
  auto given_up = e.a.add_next(make_pair(8, 9, 1).first, kStart);
  EXPECT_FALSE(given_up);
  EXPECT_EQ(e.a.add_next(make_pair(10, 11, 1).first, kStart), 8u);
  auto all = e.a.clear();
  EXPECT_EQ(std::set<uint32_t>(all.begin(), all.end()), (std::set<uint32_t>{10, 3, 2}));
}

TEST(KeySets, RekeyIsDueAfterAnHourOrManyPackets) {
  Ends e;
  e.generation(1, kStart);
  e.a.promote(1, kStart);
  EXPECT_FALSE(e.a.should_rekey(kStart + 59min, 1000));
  EXPECT_TRUE(e.a.should_rekey(kStart + 60min, 0));
  EXPECT_TRUE(e.a.should_rekey(kStart, kRekeyPackets));
}

// A source that repeats itself: the pool must not.
class Repeating : public base::Rng {
  void fill(base::MutByteView out) override {
    for (auto& b : out) b = 0;
    out[out.size() - 1] = uint8_t(n_++ / 3);
  }
  int n_ = 0;
};

TEST(IndexPool, NeverZeroNotUsedTwiceAndRestsAfterUse) {
  Repeating rng;
  IndexPool pool(rng);
  EXPECT_EQ(pool.take(kStart), 1u);
  EXPECT_EQ(pool.take(kStart), 2u);
  pool.give_back(1, kStart);
  base::SeededRng seeded(3);
  IndexPool many(seeded);
  std::set<uint32_t> seen;
  for (int i = 0; i < 1000; i++) EXPECT_TRUE(seen.insert(many.take(kStart)).second);
}

}  // namespace
}  // namespace tunnel
