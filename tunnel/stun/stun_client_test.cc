#include "tunnel/stun/stun_client.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::IpPort at(const char* s) { return *base::IpPort::parse(s); }
const base::IpPort kOne = at("198.51.100.1:443"), kTwo = at("198.51.100.2:443");

struct Lab {
  base::SeededRng rng{1};
  StunClient client{rng};
  base::Instant now{1000s};
  std::map<base::IpPort, base::IpPort> nat;  // what each server sees; a server that is not in it is silent
  int asked = 0, news = 0;
  uint16_t other_port = 0;
  Lab() { client.set_servers({kOne, kTwo}); }
  void run(base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 10ms) {
      for (const auto& a : client.tick(now)) {
        asked++;
        if (auto it = nat.find(a.server); it != nat.end()) news += client.on_answer(a.server, {StunType::success, a.id, it->second, other_port}, now);
      }
      news += client.is_news(now);
    }
  }
  NatMapping mapping() const { return client.nat({at("10.0.0.1:20006")}).mapping; }
};

TEST(StunClient, AsksAtOnceAndThenRarely) {
  Lab lab;
  lab.nat = {{kOne, at("203.0.113.1:7")}, {kTwo, at("203.0.113.1:7")}};
  lab.run(100ms);
  EXPECT_EQ(lab.asked, 2);
  EXPECT_EQ(lab.mapping(), NatMapping::independent);
  EXPECT_EQ(lab.client.mapped().size(), 1u);
  EXPECT_EQ(lab.client.answering(), (std::vector{kOne, kTwo}));
  lab.run(100s);
  EXPECT_EQ(lab.asked, 2 + 2 * 4);
  EXPECT_EQ(lab.news, 2);
}

// One relay is enough to see that ports depend on the destination's, and a second one to see that they do not.
TEST(StunClient, TheOtherPortOfAServerTellsTheClass) {
  Lab lab;
  lab.other_port = 3479;
  base::IpPort other{kOne.ip, 3479}, other_two{kTwo.ip, 3479};
  lab.client.set_servers({kOne});
  lab.nat = {{kOne, at("203.0.113.1:7")}, {other, at("203.0.113.1:5000")}};
  lab.run(1s);
  EXPECT_EQ(lab.mapping(), NatMapping::endpoint);
  EXPECT_EQ(lab.client.mapped(), std::vector{at("203.0.113.1:7")});
  EXPECT_EQ(lab.client.answering().size(), 2u);
  lab.client.set_servers({kOne, kTwo});
  lab.nat = {{kOne, at("203.0.113.1:7")}, {other, at("203.0.113.1:7")}, {kTwo, at("203.0.113.1:9")}, {other_two, at("203.0.113.1:9")}};
  lab.run(30s);
  EXPECT_EQ(lab.mapping(), NatMapping::address);
  lab.client.set_servers({kTwo});
  lab.run(1s);
  EXPECT_EQ(lab.client.answering().size(), 2u);
}

TEST(StunClient, ASilentServerIsAskedAgainEverMoreSlowly) {
  Lab lab;
  lab.run(1s);
  EXPECT_GE(lab.asked, 6);
  lab.asked = 0;
  lab.run(60s);
  EXPECT_LE(lab.asked, 30);
}

// The NAT was rebooted: for a moment the servers disagree, which is no reason to call it symmetric.
TEST(StunClient, ANewAddressIsNotTakenForASymmetricNat) {
  Lab lab;
  lab.nat = {{kOne, at("203.0.113.1:7")}, {kTwo, at("203.0.113.1:7")}};
  lab.run(10s);
  lab.nat = {{kOne, at("203.0.113.1:9")}, {kTwo, at("203.0.113.1:9")}};
  for (int i = 0; i < 3000; i++) {
    lab.run(10ms);
    EXPECT_FALSE(lab.client.nat({}).is_hard()) << i;
  }
  EXPECT_EQ(lab.client.mapped(), std::vector{at("203.0.113.1:9")});
  EXPECT_EQ(lab.mapping(), NatMapping::independent);
}

TEST(StunClient, AnAnswerNobodyAskedForIsNone) {
  Lab lab;
  lab.run(100ms);
  EXPECT_FALSE(lab.client.on_answer(kOne, {StunType::success, {}, at("203.0.113.1:7")}, lab.now));
  EXPECT_TRUE(lab.client.mapped().empty());
}

TEST(StunClient, WhatASilentServerSawIsForgotten) {
  Lab lab;
  lab.nat = {{kOne, at("203.0.113.1:7")}};
  lab.run(1s);
  EXPECT_TRUE(lab.client.outside());
  lab.nat.clear();
  lab.run(100s);
  EXPECT_FALSE(lab.client.outside());
  EXPECT_EQ(lab.news, 2);
}

TEST(StunClient, AServerThatIsTakenAwayTakesItsAddressAlong) {
  Lab lab;
  lab.nat = {{kOne, at("203.0.113.1:7")}, {kTwo, at("203.0.113.1:8")}};
  lab.run(1s);
  EXPECT_TRUE(lab.client.set_servers({kTwo}));
  EXPECT_EQ(lab.client.mapped(), std::vector{at("203.0.113.1:8")});
}

}  // namespace
}  // namespace tunnel
