#include "lb/policy/slot_table.h"

#include <gtest/gtest.h>

#include <map>

#include "lb/policy/maglev.h"

namespace lb {
namespace {

std::vector<Candidate> endpoints(size_t n, std::vector<uint32_t> weights = {}) {
  std::vector<Candidate> out;
  for (size_t i = 0; i < n; ++i)
    out.push_back({{base::IpAddr::v4(uint32_t(0x0a010001 + i)), 8080}, i < weights.size() ? weights[i] : 1});
  return out;
}

std::map<int, int> shares(const SlotTable& t) {
  std::map<int, int> n;
  for (auto s : t.slots) ++n[s];
  return n;
}

TEST(Slots, SmallClassesAreExact) {
  for (size_t n : {2, 3, 4, 5, 6, 10, 12, 15, 20, 30}) {
    auto t = assign_slots(endpoints(n), SlotUse::rotate);
    ASSERT_EQ(t.modulus, 12 % n == 0 ? 12u : 60u) << n;
    for (auto [who, slots] : shares(t)) EXPECT_EQ(slots, int(t.modulus / n)) << n << " " << who;
  }
}

TEST(Slots, AsManyAsNeededAtFirst) {
  for (size_t n : {2, 3, 4, 6, 12}) EXPECT_EQ(assign_slots(endpoints(n), SlotUse::rotate, 0).modulus, n);
  EXPECT_EQ(assign_slots(endpoints(5), SlotUse::rotate, 0).modulus, 60u);
  EXPECT_EQ(assign_slots(endpoints(7), SlotUse::rotate, 0).modulus, 1021u);
  EXPECT_EQ(assign_slots(endpoints(2, {3, 1}), SlotUse::rotate, 0).modulus, 4u);
}

TEST(Slots, WhatHoldsTheSharesIsKept) {
  EXPECT_EQ(assign_slots(endpoints(2), SlotUse::rotate, 4).modulus, 4u);
  EXPECT_EQ(assign_slots(endpoints(3), SlotUse::rotate, 4).modulus, 12u) << "changed once: room for the next changes";
  EXPECT_EQ(assign_slots(endpoints(4), SlotUse::rotate, 60).modulus, 60u);
  EXPECT_EQ(assign_slots(endpoints(4), SlotUse::rotate, 1021).modulus, 12u);
  EXPECT_EQ(assign_slots(endpoints(4), SlotUse::rotate, 1).modulus, 12u);
  EXPECT_EQ(assign_slots(endpoints(7), SlotUse::rotate, 12).modulus, 1021u);
}

TEST(Slots, RotationIsStrict) {
  auto t = assign_slots(endpoints(3), SlotUse::rotate);
  for (size_t i = 3; i < t.slots.size(); ++i) EXPECT_EQ(t.slots[i], t.slots[i - 3]);
}

TEST(Slots, OneAndNone) {
  EXPECT_EQ(assign_slots(endpoints(1), SlotUse::hash).modulus, 1u);
  EXPECT_EQ(assign_slots(endpoints(0), SlotUse::rotate).modulus, 0u);
  EXPECT_EQ(assign_slots(endpoints(2, {0, 0}), SlotUse::rotate).modulus, 0u);
  auto t = assign_slots(endpoints(3, {0, 1, 0}), SlotUse::rotate);
  EXPECT_EQ(t.slots, (std::vector<uint16_t>{1}));
}

TEST(Slots, WeightsThatReduceStayInTheSmallClass) {
  auto t = assign_slots(endpoints(2, {80, 20}), SlotUse::rotate);
  EXPECT_EQ(t.modulus, 60u);
  EXPECT_EQ(shares(t), (std::map<int, int>{{0, 48}, {1, 12}}));
}

TEST(Slots, FineWeightsAreFair) {
  auto t = assign_slots(endpoints(2, {99, 1}), SlotUse::rotate);
  EXPECT_EQ(t.modulus, 1021u);
  EXPECT_NEAR(shares(t)[1], 10.2, 1.0);
  auto seven = shares(assign_slots(endpoints(7), SlotUse::rotate));
  for (auto [who, slots] : seven) EXPECT_NEAR(slots, 1021 / 7.0, 1.0) << who;
}

TEST(Slots, FiveHundredIsTheBound) {
  auto t = assign_slots(endpoints(510), SlotUse::rotate);
  EXPECT_EQ(t.left_out, 10u);
  EXPECT_EQ(shares(t).size(), 500u);
}

TEST(Maglev, LosingOneOfNMovesItsShareOnly) {
  auto all = endpoints(10);
  auto before = maglev_table(all, 1021);
  auto fewer = all;
  fewer[4].weight = 0;
  auto after = maglev_table(fewer, 1021);
  int moved = 0, of_the_others = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    moved += before[i] != after[i];
    of_the_others += before[i] != 4 && before[i] != after[i];
  }
  EXPECT_LT(moved, 1021 * 0.17);
  EXPECT_LT(of_the_others, 1021 * 0.07);
}

TEST(Maglev, OrderDoesNotMatterAndWeightsDo) {
  auto a = endpoints(3, {2, 1, 1});
  std::vector<Candidate> b(a.rbegin(), a.rend());
  auto ta = maglev_table(a, 1021), tb = maglev_table(b, 1021);
  int heavy = 0;
  for (size_t i = 0; i < ta.size(); ++i) {
    EXPECT_EQ(a[ta[i]].addr, b[tb[i]].addr);
    heavy += ta[i] == 0;
  }
  EXPECT_NEAR(heavy, 510, 20);
}

}  // namespace
}  // namespace lb
