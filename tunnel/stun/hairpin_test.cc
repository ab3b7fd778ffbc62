#include "tunnel/stun/hairpin.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

const base::IpPort kOutside = *base::IpPort::parse("203.0.113.7:20006");

TEST(Hairpin, WhatComesBackIsRecognisedAndEndsIt) {
  base::SeededRng rng(1);
  Hairpin h(rng);
  base::Instant now{100s};
  h.set_outside(kOutside, now);
  auto ask = h.tick(now);
  ASSERT_TRUE(ask);
  EXPECT_EQ(ask->to, kOutside);
  EXPECT_FALSE(h.works());
  auto m = parse_stun(make_stun_request(ask->id));
  ASSERT_TRUE(m);
  StunMessage other = *m;
  other.id[0] ^= 1;
  EXPECT_FALSE(h.on_message(other)) << "somebody else's";
  EXPECT_TRUE(h.on_message(*m));
  EXPECT_EQ(h.works(), true);
  EXPECT_FALSE(h.next_deadline());
}

TEST(Hairpin, ThreeUnansweredMeanItDoesNot) {
  base::SeededRng rng(1);
  Hairpin h(rng);
  base::Instant now{100s};
  h.set_outside(kOutside, now);
  int sent = 0;
  for (; now < base::Instant{110s}; now += 10ms) sent += h.tick(now).has_value();
  EXPECT_EQ(sent, 3);
  EXPECT_EQ(h.works(), false);
  h.set_outside(kOutside, now);
  EXPECT_FALSE(h.tick(now)) << "the same address is not asked again";
  h.set_outside(base::IpPort{kOutside.ip, 1234}, now);
  EXPECT_TRUE(h.tick(now));
  EXPECT_FALSE(h.works());
  h.set_outside(std::nullopt, now);
  EXPECT_FALSE(h.next_deadline());
}

}  // namespace
}  // namespace tunnel
