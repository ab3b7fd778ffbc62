#include "tunnel/session/control_channel.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

const ExportRequest kAsk{"shop/web", base::Proto::tcp, *base::IpPort::parse("172.17.0.9:8080")};

struct Ends {
  base::SeededRng rng{1};
  std::vector<base::ByteVec> to_b, to_a;
  int carried_out = 0;
  ControlChannel a{ControlChannel::Hooks{[this](base::ByteView b) { to_b.emplace_back(b.begin(), b.end()); }, [](const ControlBody&) { return ControlBody(Ack{}); }}, rng};
  ControlChannel b{ControlChannel::Hooks{[this](base::ByteView x) { to_a.emplace_back(x.begin(), x.end()); },
                                         [this](const ControlBody& body) {
                                           carried_out++;
                                           EXPECT_EQ(std::get<ExportRequest>(body), kAsk);
                                           return ControlBody(ExportReply{ExportGrant{*base::IpPort::parse("100.64.0.2:30001"), 300s}, ""});
                                         }},
                   rng};
  base::Instant now{100s};
  int answers = 0;
  base::Result<ControlBody> last;
  void ask() {
    a.request(kAsk, [this](auto r) { answers++; last = std::move(r); }, now);
  }
  void deliver(std::vector<base::ByteVec>& from, ControlChannel& to) {
    for (auto& m : std::exchange(from, {})) to.on_message(m);
  }
};

TEST(ControlChannel, AnAnswerComesBack) {
  Ends e;
  e.ask();
  e.deliver(e.to_b, e.b);
  e.deliver(e.to_a, e.a);
  ASSERT_TRUE(e.last);
  EXPECT_EQ(std::get<ExportReply>(*e.last).grant->at.str(), "100.64.0.2:30001");
  EXPECT_FALSE(e.a.next_deadline());
}

TEST(ControlChannel, LostMessagesAreRepeatedAndCarriedOutOnce) {
  Ends e;
  e.ask();
  e.to_b.clear();  // lost
  e.a.tick(e.now + 249ms);
  EXPECT_TRUE(e.to_b.empty());
  e.a.tick(e.now += 250ms);
  ASSERT_EQ(e.to_b.size(), 1u);
  e.deliver(e.to_b, e.b);
  e.to_a.clear();  // the answer is lost
  e.a.tick(e.now += 500ms);
  e.deliver(e.to_b, e.b);
  e.deliver(e.to_a, e.a);
  EXPECT_EQ(e.answers, 1);
  EXPECT_EQ(e.carried_out, 1);
}

TEST(ControlChannel, GivesUpAfterFiveSeconds) {
  Ends e;
  e.ask();
  for (int i = 0; i < 60; i++) e.a.tick(e.now += 100ms);
  ASSERT_EQ(e.answers, 1);
  EXPECT_EQ(e.last.error().code, base::Code::timeout);
  EXPECT_LE(e.to_b.size(), 6u);
}

TEST(ControlChannel, ResetFailsWhatWaitsAndForgetsAnswers) {
  Ends e;
  e.ask();
  auto request = e.to_b;
  e.a.reset({base::Code::unavailable, "b was restarted"});
  EXPECT_EQ(e.last.error().what, "b was restarted");
  e.deliver(e.to_b, e.b);
  e.b.reset({base::Code::unavailable, "x"});
  e.b.on_message(request[0]);
  EXPECT_EQ(e.carried_out, 2);
}

TEST(ControlChannel, OversizedRequestsFailAtOnce) {
  Ends e;
  e.a.request(DenyPart{1, 0, 5000, base::ByteVec(5000)}, [&](auto r) { e.last = std::move(r); }, e.now);
  ASSERT_FALSE(e.last);
  EXPECT_EQ(e.last.error().code, base::Code::limit);
}

TEST(Messages, BadAddressesAndKindsAreDropped) {
  SessionHello h;
  h.index = 5;
  h.candidates = {{CandidateKind::host, *base::IpPort::parse("10.0.0.1:5000")}, {CandidateKind::srflx, *base::IpPort::parse("[2001:db8::1]:6000")}};
  EXPECT_EQ(decode_hello(encode(h))->candidates, h.candidates);
  h.candidates.assign(100, h.candidates[0]);
  EXPECT_LE(decode_hello(encode(h))->candidates.size(), 24u);
  h.index = 0;
  EXPECT_FALSE(decode_hello(encode(h)));
  EXPECT_FALSE(decode_control(base::ByteVec{0xff, 0xff, 0xff}));
}

}  // namespace
}  // namespace tunnel
