#include "lb/health/outlier.h"

#include <gtest/gtest.h>

#include "base/core/limits.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using base::Instant;
using base::IpPort;
using State = Outlier::State;

const Dialled kA(*IpPort::parse("172.17.0.2:8080")), kB(*IpPort::parse("172.17.0.3:8080"));

struct Detector : ::testing::Test {
  OutlierDetector d{{.ejection_time = 10s, .panic_percent = 50, .failures_to_eject = 3}};
  Instant now{1h};
  State state(const Dialled& a) const { return d.find(a) ? d.find(a)->state : State::healthy; }
  bool check(const Dialled& a, std::optional<Sign> failure) {
    auto due = d.take_checks(now, 10);
    EXPECT_TRUE(std::count(due.begin(), due.end(), a)) << "no check was due";
    return d.checked(a, failure, now);
  }
  void kill(const Dialled& a) {
    d.failed(a, Sign::refused, now);
    EXPECT_TRUE(check(a, Sign::refused));
  }
};

TEST_F(Detector, OneFailureAsksForACheckAndMovesNothing) {
  EXPECT_FALSE(d.failed(kA, Sign::unanswered, now));
  EXPECT_EQ(state(kA), State::suspected);
  EXPECT_EQ(d.next_deadline(), now);
  EXPECT_EQ(d.take_checks(now, 10), std::vector{kA});
  EXPECT_TRUE(d.take_checks(now, 10).empty()) << "one check at a time";
  EXPECT_FALSE(d.checked(kA, std::nullopt, now));
  EXPECT_EQ(state(kA), State::healthy);
  d.advance(now);
  EXPECT_TRUE(d.quiet()) << "nothing is remembered of an endpoint that was never ejected";
}

TEST_F(Detector, AFailedCheckEjectsAtOnce) {
  d.failed(kA, Sign::unanswered, now);
  EXPECT_TRUE(check(kA, Sign::refused));
  EXPECT_EQ(state(kA), State::ejected);
  EXPECT_TRUE(d.find(kA)->confirmed);
  EXPECT_EQ(d.ejected(), 1u);
  EXPECT_EQ(d.ejections_total(Sign::refused), 1u);
}

TEST_F(Detector, FailuresInARowEjectWithoutWaitingForTheCheck) {
  EXPECT_FALSE(d.failed(kA, Sign::unanswered, now));
  EXPECT_FALSE(d.failed(kA, Sign::unanswered, now));
  EXPECT_TRUE(d.failed(kA, Sign::unanswered, now));
  EXPECT_FALSE(d.find(kA)->confirmed);
  EXPECT_FALSE(d.failed(kA, Sign::unanswered, now)) << "already out";
  EXPECT_TRUE(check(kA, Sign::unanswered)) << "confirmed now: the panic threshold does not hold it any more";
}

TEST_F(Detector, ASuccessBreaksTheRow) {
  d.failed(kA, Sign::refused, now), d.failed(kA, Sign::refused, now);
  d.succeeded(kA, now);
  EXPECT_FALSE(d.failed(kA, Sign::refused, now));
  EXPECT_EQ(state(kA), State::suspected);
}

TEST_F(Detector, ADeadEndpointStaysOutBeyondItsTimeAndComesBackByACheck) {
  kill(kA);
  for (int i = 0; i < 40; i++) {
    now += 1s;
    d.advance(now);
    for (auto& a : d.take_checks(now, 10)) EXPECT_FALSE(d.checked(a, Sign::refused, now));
    ASSERT_EQ(state(kA), State::ejected) << i;
  }
  now += 5s;
  EXPECT_TRUE(check(kA, std::nullopt));
  EXPECT_EQ(state(kA), State::returning);
}

TEST_F(Detector, ItReturnsInSteps) {
  kill(kA);
  now += 1s;
  check(kA, std::nullopt);
  const Outlier* list[] = {d.find(kA), nullptr};
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{1, 4}));
  for (uint32_t want : {2u, 3u}) {
    EXPECT_TRUE(d.advance(now).empty());
    now += 1s;
    EXPECT_EQ(d.advance(now), std::vector{kA});
    EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{want, 4}));
  }
  now += 1s;
  EXPECT_EQ(d.advance(now), std::vector{kA});
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{1, 1}));
}

TEST_F(Detector, AFailedCheckEndsAReturn) {
  kill(kA);
  now += 1s;
  check(kA, std::nullopt);
  d.failed(kA, Sign::refused, now);
  EXPECT_TRUE(check(kA, Sign::refused));
  EXPECT_EQ(state(kA), State::ejected);
}

TEST_F(Detector, WithoutAnyVerdictOfAnyCheckAnEjectionEndsByTimeAndLastsLongerNextTime) {
  auto eject_by_clients = [&] { for (int i = 0; i < 3; i++) d.failed(kA, Sign::unanswered, now); };
  for (auto lasts : {10s, 20s, 40s}) {
    eject_by_clients();
    ASSERT_EQ(state(kA), State::ejected);
    now += lasts - 1ms;
    d.advance(now);
    EXPECT_EQ(state(kA), State::ejected);
    now += 1ms;
    EXPECT_EQ(d.advance(now), std::vector{kA});
    EXPECT_EQ(state(kA), State::returning);
  }
}

TEST_F(Detector, EachEjectionAsksForOneMoreGoodCheck) {
  kill(kA);
  now += 1s;
  check(kA, std::nullopt);
  kill(kA);
  now += 1s;
  EXPECT_FALSE(check(kA, std::nullopt)) << "it died twice: one good check is not enough";
  now += 1s;
  EXPECT_TRUE(check(kA, std::nullopt));
}

TEST_F(Detector, ThePastIsForgottenAfterAQuietTime) {
  kill(kA);
  now += 1s;
  check(kA, std::nullopt);
  while (auto next = d.next_deadline()) {
    ASSERT_LT(*next, now + 10min);
    now = std::max(now + 1ms, *next);
    d.advance(now);
  }
  EXPECT_TRUE(d.quiet());
}

TEST_F(Detector, ACheckThatToldNothingIsRepeated) {
  d.failed(kA, Sign::refused, now);
  ASSERT_EQ(d.take_checks(now, 1).size(), 1u);
  d.unchecked(kA, now);
  EXPECT_TRUE(d.take_checks(now, 1).empty());
  EXPECT_EQ(d.take_checks(now + 1s, 1).size(), 1u);
  EXPECT_EQ(state(kA), State::suspected);
}

TEST_F(Detector, ItsStateInWords) {
  EXPECT_EQ(words(d.find(kA), now), "healthy");
  d.failed(kA, Sign::refused, now);
  EXPECT_EQ(words(d.find(kA), now), "suspected: refused, being checked");
  check(kA, Sign::unanswered);
  EXPECT_EQ(words(d.find(kA), now + 12s), "ejected 12 s ago: unanswered, confirmed by a check");
  now += 1s;
  check(kA, std::nullopt);
  EXPECT_EQ(words(d.find(kA), now), "returning: 1/4 of its share");
}

TEST_F(Detector, AUdpEndpointIsOutWithItsFirstErrorAndTheTcpOneOfItsAddressStays) {
  const Dialled udp(kA.at, base::Proto::udp);
  EXPECT_TRUE(d.failed(udp, Sign::refused, now));
  ASSERT_EQ(d.find(udp)->state, State::ejected);
  EXPECT_EQ(state(kA), State::healthy);
  EXPECT_TRUE(d.take_checks(now + 1h, 10).empty()) << "nobody can check it";
  EXPECT_EQ(words(d.find(udp), now), "ejected 0 s ago: refused, as clients saw it");
  EXPECT_EQ(udp.str(), "172.17.0.2:8080/udp");
  for (auto lasts : {10s, 20s, 40s, 60s, 60s}) {
    now += lasts - 1ms;
    EXPECT_TRUE(d.advance(now).empty());
    now += 1ms;
    EXPECT_EQ(d.advance(now), std::vector{udp});
    EXPECT_EQ(d.find(udp)->state, State::returning);
    EXPECT_TRUE(d.failed(udp, Sign::refused, now)) << "its first datagram was refused again";
  }
}

TEST_F(Detector, MemoryIsBounded) {
  for (uint32_t i = 0; i < base::limits::kOutliersMax + 100; i++) d.failed(IpPort{base::IpAddr::v4(0x0A000000 + i), 80}, Sign::refused, now);
  EXPECT_EQ(d.addresses().size(), base::limits::kOutliersMax);
  EXPECT_EQ(d.take_checks(now, 7).size(), 7u);
}

// ---- shares

Outlier out(bool confirmed) { return {.state = State::ejected, .confirmed = confirmed, .share = 0}; }

TEST(Shares, AConfirmedDeadEndpointGetsNothingEvenBeyondHalf) {
  Outlier dead = out(true);
  const Outlier* list[] = {&dead, nullptr, &dead};
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{0, 1, 0}));
}

TEST(Shares, SuspicionsNeverTakeMoreThanTheThreshold) {
  Outlier o = out(false), dead = out(true);
  const Outlier* four[] = {&o, &o, &o, nullptr};
  EXPECT_EQ(shares(four, 50), (std::vector<uint32_t>{0, 0, 1, 1}));
  EXPECT_EQ(shares(four, 0), (std::vector<uint32_t>{1, 1, 1, 1}));
  const Outlier* one[] = {&o};
  EXPECT_EQ(shares(one, 50), std::vector<uint32_t>{1});
  const Outlier* mixed[] = {&o, &dead, &dead, nullptr};
  EXPECT_EQ(shares(mixed, 50), (std::vector<uint32_t>{1, 0, 0, 1})) << "the dead ones used the threshold up";
}

TEST(Shares, WhenAllAreEjectedAllStay) {
  Outlier dead = out(true);
  const Outlier* list[] = {&dead, &dead};
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{1, 1}));
}

TEST(Shares, OneThatReturnsIsNotHeldBackWhenItIsAlone) {
  Outlier dead = out(true), back{.state = State::returning, .share = 1};
  const Outlier* list[] = {&dead, &back};
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{0, 1}));
}

// ---- probes

struct Probed : Detector {
  void SetUp() override { d.watch(kA, {.failures = 3, .successes = 2}); }
  bool bad(Sign s = Sign::unhealthy) { return d.probed(kA, s, "GET /: status 503", now += 5s); }
  bool good() { return d.probed(kA, std::nullopt, "", now += 5s); }
  void eject() {
    bad(), bad();
    EXPECT_TRUE(bad());
  }
};

TEST_F(Probed, SoManyFailedProbesInARowEject) {
  EXPECT_FALSE(bad());
  EXPECT_FALSE(bad());
  EXPECT_FALSE(good()) << "and the row begins anew";
  EXPECT_FALSE(bad());
  EXPECT_FALSE(bad());
  EXPECT_EQ(words(d.find(kA), now), "suspected: unhealthy (GET /: status 503), failed checks in a row: 2");
  EXPECT_TRUE(bad());
  EXPECT_EQ(words(d.find(kA), now + 7s), "ejected 7 s ago: unhealthy (GET /: status 503), confirmed by a check");
  EXPECT_EQ(d.ejections_total(Sign::unhealthy), 1u);
}

TEST_F(Probed, NothingIsKeptOfOneThatIsWell) {
  bad();
  good();
  d.advance(now);
  EXPECT_TRUE(d.quiet());
  EXPECT_FALSE(d.probed(kB, Sign::refused, "", now)) << "nobody asked for probes of this one";
  EXPECT_TRUE(d.quiet());
}

TEST_F(Probed, OnlyGoodProbesBringItBack) {
  eject();
  EXPECT_TRUE(d.take_checks(now + 1min, 10).empty()) << "that it takes connections is known";
  for (int i = 0; i < 100; i++) d.advance(now += 1s);
  ASSERT_EQ(state(kA), State::ejected);
  EXPECT_FALSE(good());
  EXPECT_FALSE(bad());
  EXPECT_FALSE(good());
  EXPECT_TRUE(good());
  EXPECT_EQ(state(kA), State::returning);
}

TEST_F(Probed, ACheckOfOurOwnEjectsAtOnceAndDoesNotBringBack) {
  d.failed(kA, Sign::refused, now);
  EXPECT_TRUE(check(kA, Sign::refused));
  EXPECT_TRUE(d.find(kA)->is_dead_for_sure());
  EXPECT_TRUE(d.take_checks(now + 1min, 10).empty());
  EXPECT_FALSE(good());
  EXPECT_TRUE(good());
}

TEST_F(Probed, AWrongAnswerIsHeldByThePanicThresholdAndADeadPortIsNot) {
  d.watch(kB, {.failures = 1, .successes = 1});
  eject();
  d.probed(kB, Sign::unhealthy, "GET /: status 404", now);
  const Outlier* list[] = {d.find(kA), d.find(kB), nullptr};
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{0, 1, 1})) << "one of three";
  EXPECT_TRUE(d.probed(kB, Sign::refused, "", now)) << "its part changes";
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{1, 0, 1})) << "the dead one goes first, and half are out then";
  EXPECT_TRUE(bad(Sign::unanswered));
  EXPECT_EQ(shares(list, 50), (std::vector<uint32_t>{0, 0, 1}));
}

TEST_F(Probed, AnEndpointThatIsNoLongerProbedIsJudgedByChecksAgain) {
  eject();
  d.unwatch(kA, now);
  EXPECT_TRUE(check(kA, std::nullopt));
  EXPECT_EQ(state(kA), State::returning);
  EXPECT_FALSE(d.probed(kA, Sign::unhealthy, "", now)) << "a late answer";
}

TEST_F(Probed, AFailureOnTheWayBackEjectsAgain) {
  eject();
  good(), good();
  ASSERT_EQ(state(kA), State::returning);
  bad(), bad();
  EXPECT_EQ(state(kA), State::returning);
  EXPECT_TRUE(bad());
  EXPECT_EQ(state(kA), State::ejected);
}

TEST_F(Probed, TimeGoesOnWhileAProbeFailsNowAndThen) {  // and deadlines do not stand still
  eject();
  good(), good();
  bad();
  for (int i = 0; i < 1000; i++) {
    auto next = d.next_deadline();
    if (!next) break;
    now = std::max(now + 1ms, *next);
    d.advance(now);
  }
  EXPECT_FALSE(d.next_deadline()) << "one failed probe is for the next one to judge";
  EXPECT_EQ(state(kA), State::suspected);
}

}  // namespace
}  // namespace lb
