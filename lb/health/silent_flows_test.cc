#include "lb/health/silent_flows.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using base::IpPort;

const IpPort kFrontend = *IpPort::parse("10.96.0.7:53"), kA = *IpPort::parse("172.17.0.2:53"), kB = *IpPort::parse("172.17.0.3:53");

// A kernel's table of flows.
struct Flows : ::testing::Test {
  SilentFlows s;
  int looks = 0;
  std::vector<Flow> unanswered, answered;
  uint16_t port = 1000;

  void send(int n, const IpPort& to, std::vector<Flow>& where, const char* client = "10.1.0.1") {
    for (int i = 0; i < n; i++) where.push_back({{*base::IpAddr::parse(client), ++port}, kFrontend, to});
  }
  std::vector<IpPort> look() {
    looks++;
    std::vector<IpPort> out;
    if (s.look(unanswered).empty()) return out;
    for (auto& x : s.judge(answered)) out.push_back(x.endpoint);
    return out;
  }
  // Between looks two flows to each of the two; A answers, B does not.
  std::vector<IpPort> run(int most, const char* client = "10.1.0.1") {
    for (int i = 0; i < most; i++) {
      send(2, kA, answered, client);
      send(2, kB, unanswered, client);
      if (auto silent = look(); !silent.empty()) return silent;
    }
    return {};
  }
};

TEST_F(Flows, OneThatIsSilentWhileAnotherAnswersIsFoundAfterAFewLooks) {
  EXPECT_EQ(run(20), std::vector{kB});
  EXPECT_LE(looks, 5);
  EXPECT_EQ(look(), std::vector<IpPort>{}) << "told once";
}

TEST_F(Flows, AServiceThatNeverAnswersAnybodyIsLeftAlone) {
  for (int i = 0; i < 60; i++) {
    send(5, kA, unanswered), send(5, kB, unanswered, "10.1.0.2");
    ASSERT_TRUE(look().empty()) << i;
  }
}

TEST_F(Flows, OneThatAnswersSomeIsNotSilent) {
  for (int i = 0; i < 60; i++) {
    send(5, kA, answered), send(5, kB, unanswered);
    if (i % 2) send(1, kB, answered);
    ASSERT_TRUE(look().empty()) << i;
  }
}

TEST_F(Flows, AnswersThatTakeAWhileAreAnswers) {
  for (int i = 0; i < 60; i++) {
    send(5, kA, answered);
    answered.insert(answered.end(), unanswered.begin(), unanswered.end());  // those of a second ago
    unanswered.clear();
    send(5, kB, unanswered);
    ASSERT_TRUE(look().empty()) << i;
  }
}

TEST_F(Flows, OneClientThatNobodyAnswersProvesNothing) {  // source hash leads it to B alone
  for (int i = 0; i < 60; i++) {
    send(5, kA, answered, "10.1.0.1");
    send(5, kB, unanswered, "10.1.0.2");
    ASSERT_TRUE(look().empty()) << i;
  }
}

TEST_F(Flows, SeveralClientsDo) {
  std::vector<IpPort> found;
  for (int i = 0; i < 20 && found.empty(); i++) {
    send(2, kA, answered, "10.1.0.1");
    send(1, kB, unanswered, "10.1.0.2"), send(1, kB, unanswered, "10.1.0.3");
    found = look();
  }
  EXPECT_EQ(found, std::vector{kB});
}

TEST_F(Flows, OldFlowsThatNobodyAnsweredSayNothingAboutNow) {
  send(9, kB, unanswered);  // while it was restarted; the kernel keeps them for half a minute
  for (int i = 0; i < 30; i++) {
    ASSERT_TRUE(look().empty()) << i;
    if (i >= 6) send(3, kA, answered);
  }
}

TEST_F(Flows, FlowsThatWereAnsweredBeforeTheDeathDoNotHideIt) {
  send(50, kB, answered), send(50, kA, answered);
  EXPECT_EQ(run(20), std::vector{kB});
}

TEST_F(Flows, AServiceOfManyOneWayFlowsHidesNoOther) {
  for (int i = 0; i < 20000; i++)
    unanswered.push_back(
        {{*base::IpAddr::parse("10.2.0.1"), uint16_t(i)}, *IpPort::parse("10.96.0.8:514"), *IpPort::parse("172.17.0.9:514")});
  EXPECT_EQ(run(20), std::vector{kB});
}

TEST_F(Flows, WithMoreAnswersThanCanBeRememberedNobodyIsJudged) {
  for (uint32_t i = 0; i <= SilentFlows::kAnsweredMax; i++) answered.push_back({{base::IpAddr::v4(0x0a020000 + i), 1}, kFrontend, kA});
  EXPECT_TRUE(run(20).empty());
  unanswered.clear();
  look();
  EXPECT_FALSE(s.is_uneasy());
}

}  // namespace
}  // namespace lb
