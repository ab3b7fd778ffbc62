#include "tunnel/peer/exports.h"

#include <gtest/gtest.h>

#include "base/core/limits.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

ExportRequest web(uint16_t port = 8080) { return {"shop/web", base::Proto::tcp, {base::IpAddr::v4(0xac110009), port}}; }

// Two ledgers that talk without a wire; `linked` false: requests time out as CONTROL's do.
struct Side {
  Side* peer = nullptr;
  bool up = true, linked = true;
  base::Instant* now;
  std::vector<ExportRequest> released, withdrawn;
  base::Result<ExportGrant> decision = ExportGrant{*base::IpPort::parse("100.64.1.1:30080"), 300s};
  int asked = 0;
  ExportLedger ledger{{[this] { return up; },
                       [this](ControlBody b, ControlChannel::Answer answer) {
                         if (!linked) return answer(base::fail(base::Code::timeout, "the peer did not answer within 5 s"));
                         auto reply = peer->ledger.on_request(b, *peer->now);
                         ASSERT_TRUE(reply);
                         answer(*reply);
                       },
                       [this](const ExportRequest&) { return asked++, decision; },
                       [this](const ExportRequest& r) { released.push_back(r); }, [this](const ExportRequest& r) { withdrawn.push_back(r); }}};
};

struct Pair {
  base::Instant now{1000s};
  Side a{.now = &now}, b{.now = &now};  // a asks, b grants
  Pair() { a.peer = &b, b.peer = &a; }
  void run(base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 500ms) a.ledger.tick(now), b.ledger.tick(now);
  }
  std::optional<base::Result<ExportGrant>> ask(ExportRequest r = web()) {
    auto got = std::make_shared<std::optional<base::Result<ExportGrant>>>();
    a.ledger.ask(r, [got](auto x) { *got = x; }, now);
    last = got;
    return *got;
  }
  std::shared_ptr<std::optional<base::Result<ExportGrant>>> last;
};

TEST(Exports, AreGrantedOnceAndAnsweredFromWhatIsHeld) {
  Pair p;
  auto first = p.ask();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->at.str(), "100.64.1.1:30080");
  p.ask();
  EXPECT_EQ(p.b.asked, 1);
  EXPECT_EQ(p.b.ledger.granted(), 1u);
}

TEST(Exports, ARefusalIsToldInTheOwnersWords) {
  Pair p;
  p.b.decision = base::fail(base::Code::denied, "shop/web is not exported");
  auto got = p.ask();
  ASSERT_TRUE(got && !*got);
  EXPECT_EQ(got->error().what, "shop/web is not exported");
  EXPECT_EQ(p.b.ledger.granted(), 0u);
}

TEST(Exports, AreRenewedWhileHeldAndDecidedAgainEachTime) {
  Pair p;
  p.ask();
  p.run(20min);
  EXPECT_GE(p.b.asked, 8);
  EXPECT_TRUE(p.b.released.empty());
  EXPECT_TRUE(p.a.withdrawn.empty());
  p.b.decision = base::fail(base::Code::denied, "not any more");
  p.run(151s);
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
  EXPECT_EQ(p.b.released, std::vector{web()});
  EXPECT_FALSE(p.a.ledger.has_interest());
}

TEST(Exports, ALeaseThatIsNotRenewedEndsOnBothSidesTheGranterLast) {
  Pair p;
  p.ask();
  p.a.linked = false;
  p.run(299s);
  EXPECT_TRUE(p.a.withdrawn.empty());
  EXPECT_TRUE(p.b.released.empty());
  p.run(2s);
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
  EXPECT_TRUE(p.b.released.empty());
  p.run(15s);
  EXPECT_EQ(p.b.released, std::vector{web()});
}

TEST(Exports, AnInterruptionShorterThanTheLeaseIsNotNoticed) {
  Pair p;
  p.ask();
  p.a.linked = false;
  p.run(200s);
  p.a.linked = true;
  p.run(10min);
  EXPECT_TRUE(p.a.withdrawn.empty());
  EXPECT_TRUE(p.b.released.empty());
}

TEST(Exports, ReleaseAndWithdrawReachTheOtherSide) {
  Pair p;
  p.ask();
  p.a.ledger.release(web());
  EXPECT_EQ(p.b.released, std::vector{web()});
  EXPECT_EQ(p.b.ledger.granted(), 0u);
  p.ask();
  p.b.ledger.withdraw(web());
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
  EXPECT_FALSE(p.a.ledger.has_interest());
}

TEST(Exports, OnePeerGetsSoManyAndNotOneMore) {
  Pair p;
  for (size_t i = 0; i < base::limits::kExportsPerPeerMax; i++) EXPECT_TRUE(*p.ask(web(uint16_t(i + 1)))) << i;
  // The asking side stops by itself...
  EXPECT_FALSE(*p.ask(web(9999)));
  EXPECT_EQ(p.b.asked, int(base::limits::kExportsPerPeerMax));
  // ...and one that does not is refused.
  auto reply = p.b.ledger.on_request(web(9999), p.now);
  ASSERT_TRUE(reply && std::get_if<ExportReply>(&*reply));
  EXPECT_NE(std::get<ExportReply>(*reply).error.find("at most 256"), std::string::npos);
}

TEST(Exports, WithoutASessionTheAnswerComesWhenItIsUpOrAfterFiveSeconds) {
  Pair p;
  p.a.up = false;
  EXPECT_FALSE(p.ask());
  p.run(3s);
  p.a.up = true;
  p.a.ledger.on_up(p.now);
  ASSERT_TRUE(*p.last && **p.last);

  Pair q;
  q.a.up = false;
  EXPECT_FALSE(q.ask());
  q.run(4500ms);
  EXPECT_FALSE(*q.last);
  q.run(1s);
  ASSERT_TRUE(*q.last);
  EXPECT_FALSE(**q.last);
  EXPECT_FALSE(q.a.ledger.has_interest());
}

// Flows that run through an export go on over a restart of either side: it stays until it was time to ask again.
TEST(Exports, ARestartedPeerIsAskedAgainAndMayAskAgain) {
  Pair p;
  p.ask();
  p.a.ledger.peer_restarted(p.now);
  p.run(1s);
  EXPECT_EQ(p.b.asked, 2);
  EXPECT_TRUE(p.a.withdrawn.empty());
  p.b.ledger.peer_restarted(p.now);
  p.run(70s);
  EXPECT_TRUE(p.b.released.empty());
  p.run(10s);
  EXPECT_EQ(p.b.released, std::vector{web()}) << "nobody asked again";
}

TEST(Exports, ARestartedPeerThatGrantsNothingMoreIsTold) {
  Pair p;
  p.ask();
  p.b.decision = base::fail(base::Code::not_found, "no such endpoint");
  p.a.ledger.peer_restarted(p.now);
  p.run(1s);
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
}

TEST(Exports, APeerThatIsGoneHasForgottenEverything) {
  Pair p;
  p.ask();
  p.a.ledger.peer_forgot(p.now);
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
  p.b.ledger.peer_forgot(p.now);
  EXPECT_EQ(p.b.released, std::vector{web()});
  ASSERT_TRUE(*p.ask());  // and can be asked again
  EXPECT_EQ(p.b.asked, 2);
}

// The endpoint got another port: who uses the old one hears of it and asks again.
TEST(Exports, AGrantThatMovedIsTold) {
  Pair p;
  p.ask();
  p.b.decision = ExportGrant{*base::IpPort::parse("100.64.1.1:30099"), 300s};
  p.run(151s);
  EXPECT_EQ(p.a.withdrawn, std::vector{web()});
  auto again = p.ask();
  ASSERT_TRUE(again && *again);
  EXPECT_EQ((*again)->at.port, 30099);
}

TEST(Exports, OtherControlMessagesAreNotForTheLedger) {
  Pair p;
  EXPECT_FALSE(p.a.ledger.on_request(PunchNow{}, p.now));
  EXPECT_FALSE(p.a.ledger.on_request(std::monostate{}, p.now));
}

}  // namespace
}  // namespace tunnel
