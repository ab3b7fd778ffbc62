#include "tunnel/signal/record_queue.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

constexpr base::Instant kStart{};

base::ByteVec numbered(uint8_t n, size_t size = 1000) { return base::ByteVec(size, n); }

TEST(RecordQueue, GivesBackInOrderAndWakesOnlyFromEmpty) {
  RecordQueue q;
  EXPECT_TRUE(q.push(numbered(1)));
  EXPECT_FALSE(q.push(numbered(2)));
  EXPECT_EQ((*q.pop(kStart, 100ms))[0], 1);
  EXPECT_EQ((*q.pop(kStart, 100ms))[0], 2);
  EXPECT_FALSE(q.pop(kStart, 100ms));
  EXPECT_TRUE(q.push(numbered(3)));
}

TEST(RecordQueue, TheOldestGoWhenItIsFull) {
  RecordQueue q;
  const size_t fit = RecordQueue::kBytesMax / 1000;
  for (size_t i = 0; i < fit + 10; i++) q.push(numbered(uint8_t(i)));
  EXPECT_LE(q.bytes(), RecordQueue::kBytesMax);
  EXPECT_EQ(q.take_lost(), 10u);
  EXPECT_EQ((*q.pop(kStart, 100ms))[0], 10);
}

TEST(RecordQueue, WhatWaitedTooLongIsNotSentAnyMore) {
  RecordQueue q;
  q.push(numbered(1));
  q.look(kStart, 100ms);
  q.push(numbered(2));
  q.look(kStart + 80ms, 100ms);
  EXPECT_EQ((*q.pop(kStart + 150ms, 100ms))[0], 2);
  EXPECT_EQ(q.take_lost(), 1u);
  EXPECT_EQ(q.take_lost(), 0u);
}

TEST(RecordQueue, NothingLargerThanADatagram) {
  RecordQueue q;
  EXPECT_FALSE(q.push(numbered(1, RecordQueue::kRecordBytesMax + 1)));
  EXPECT_FALSE(q.push({}));
  EXPECT_EQ(q.bytes(), 0u);
  EXPECT_FALSE(q.pop(kStart, 100ms));
}

}  // namespace
}  // namespace tunnel
