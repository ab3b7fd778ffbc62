#include "tunnel/punch/puncher.h"

#include <gtest/gtest.h>

#include <set>

#include "tunnel/punch/probe_budget.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr NatClass kEasy{NatMapping::independent}, kHard{NatMapping::endpoint}, kCounting{NatMapping::endpoint, false, 1};

base::IpPort at(const char* s) { return *base::IpPort::parse(s); }
const base::IpPort kPeer = at("203.0.113.9:7000"), kNeighbour = at("192.168.1.9:20006"), kStunOne = at("198.51.100.1:443"), kStunTwo = at("198.51.100.2:443");

// One side, and what it says and sends; the other side and its NAT are the test.
struct Lab final : PunchEnv {
  struct Sent {
    base::Duration after;
    PathAddr to;
    int ttl;
  };
  explicit Lab(bool drives, NatClass own = kEasy, NatClass theirs = kEasy) : nat(own), puncher(drives, rules, *this, rng) {
    puncher.set_remote({{CandidateKind::srflx, kPeer}, {CandidateKind::host, kNeighbour}}, theirs);
  }
  ~Lab() override = default;
  void send_probe(const PathAddr& to, uint8_t ttl) override { probes.push_back({now - start, to, ttl}); }
  void send_stun(const PathAddr& to, const StunId& id) override { stun.push_back({to, id}); }
  std::optional<uint32_t> open_socket() override { return open.insert(++last).second ? std::optional(last) : std::nullopt; }
  void close_socket(uint32_t s) override { open.erase(s); }
  bool is_socket_used(uint32_t s) const override { return s == used; }
  void tell(PunchNow p, std::function<void(bool)> answered) override {
    told.push_back({now - start, p});
    answer = std::move(answered);
  }
  bool take_probe(base::Instant t) override { return budget.take(t); }
  bool take_birthday(bool take) override {
    if (take && birthday) return false;
    birthday = take;
    return true;
  }
  bool is_busy() const override { return busy; }
  bool has_path() const override { return path; }
  base::Duration path_rtt() const override { return 0ms; }
  NatClass own_nat() const override { return nat; }
  std::optional<base::IpPort> own_outside() const override { return at("203.0.113.1:5000"); }
  std::vector<base::IpPort> stun_servers() const override { return {kStunOne, kStunTwo}; }
  void on_attempt(PunchRung r, bool ok, base::Duration) override { attempts.push_back({r, ok}); }
  void ask_outside() override { asked_outside++; }
  void on_port_step(int step) override { nat.delta = step; }
  void on_birthday_skipped(BirthdaySkip why) override { skipped.push_back(why); }

  void run(base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 5ms) puncher.tick(now);
  }
  void answer_stun(const base::IpPort& mapped) {
    auto [to, id] = stun.back();
    EXPECT_TRUE(puncher.on_stun(to.socket, {StunType::success, id, mapped}, now));
  }
  // What the two relays see of the new socket: another port each, as a random symmetric NAT does.
  void look_hard() {
    answer_stun(at("203.0.113.1:41000"));
    answer_stun(at("203.0.113.1:52000"));
  }
  void climb_to_birthday() {  // a driver whose plain attempt fails
    puncher.want(now);
    run(10ms);
    answer(true);
    run(720ms);
  }
  std::vector<Sent> to(const base::IpPort& a) const {
    std::vector<Sent> out;
    for (const auto& p : probes)
      if (p.to.remote == a) out.push_back(p);
    return out;
  }

  PunchRules rules;
  base::SeededRng rng{5};
  ProbeBudget budget;
  base::Instant start{1000s}, now{start};
  NatClass nat;
  bool path = true, birthday = false, busy = true;
  uint32_t last = 0, used = 0;
  std::set<uint32_t> open;
  std::vector<Sent> probes;
  std::vector<std::pair<PathAddr, StunId>> stun;
  std::vector<std::pair<base::Duration, PunchNow>> told;
  std::function<void(bool)> answer;
  std::vector<std::pair<PunchRung, bool>> attempts;
  std::vector<BirthdaySkip> skipped;
  size_t asked_outside = 0;
  Puncher puncher;
};

TEST(Puncher, TheDriverOpensItsNatBeforeItSpeaksAndSendsAfterTheAnswer) {
  Lab lab(true);
  lab.puncher.want(lab.now);
  lab.run(100ms);
  ASSERT_EQ(lab.told.size(), 1u);
  EXPECT_EQ(lab.told[0].second.rung, PunchRung::plain);
  for (const auto& p : lab.to(kPeer)) EXPECT_EQ(p.ttl, 2);  // nothing that could meet the peer's NAT
  EXPECT_EQ(lab.to(kPeer).size(), 2u);
  EXPECT_GE(lab.to(kNeighbour).size(), 1u);                 // no NAT there
  lab.answer(true);
  lab.run(400ms);
  ASSERT_EQ(lab.to(kPeer).size(), 5u);  // and no more to one that is silent
  EXPECT_EQ(lab.to(kPeer).back().ttl, 0);
}

TEST(Puncher, TheFollowerSendsAtOnce) {
  Lab lab(false);
  lab.puncher.on_punch({1, PunchRung::plain, false, {}}, lab.now);
  lab.run(10ms);
  ASSERT_EQ(lab.to(kPeer).size(), 1u);
  EXPECT_EQ(lab.to(kPeer)[0].ttl, 0);
  lab.run(2s);
  EXPECT_LE(lab.to(kPeer).size(), 5u);
  EXPECT_FALSE(lab.puncher.is_trying());
}

TEST(Puncher, AFreshPortIsOpenedShortBeforeThePeerIsToldOfIt) {
  Lab lab(false);
  lab.puncher.on_punch({2, PunchRung::fresh, false, {{CandidateKind::srflx, at("203.0.113.9:9999")}}}, lab.now);
  ASSERT_EQ(lab.open.size(), 1u);
  ASSERT_EQ(lab.stun.size(), 1u);
  EXPECT_TRUE(lab.told.empty());
  lab.answer_stun(at("203.0.113.1:6000"));
  lab.run(10ms);
  ASSERT_EQ(lab.told.size(), 1u);
  EXPECT_TRUE(lab.told[0].second.ready);
  EXPECT_EQ(lab.told[0].second.candidates[0].at, at("203.0.113.1:6000"));
  auto sent = lab.to(at("203.0.113.9:9999"));
  ASSERT_GE(sent.size(), 1u);
  EXPECT_EQ(sent[0].ttl, 2);
  EXPECT_NE(sent[0].to.socket, 0u);
  lab.run(3s);
  EXPECT_TRUE(lab.open.empty());  // it was of no use
}

TEST(Puncher, TheSocketThatWonStaysTheOthersGo) {
  Lab lab(false, kHard, kEasy);
  lab.puncher.on_punch({2, PunchRung::birthday, false, {}}, lab.now);
  lab.look_hard();
  lab.run(200ms);
  EXPECT_EQ(lab.open.size(), lab.rules.birthday_sockets);
  lab.used = 17;
  lab.puncher.success(lab.now);
  EXPECT_EQ(lab.open, std::set<uint32_t>{17});
  EXPECT_EQ(lab.puncher.won(), PunchRung::birthday);
  EXPECT_FALSE(lab.birthday);
}

TEST(Puncher, PredictionTellsThePortsThatComeNext) {
  Lab lab(true, kCounting, kEasy);
  lab.puncher.want(lab.now);
  lab.run(10ms);
  lab.answer(true);
  lab.run(720ms);  // plain fails
  ASSERT_FALSE(lab.attempts.empty());
  ASSERT_EQ(lab.stun.size(), 1u);
  lab.answer_stun(at("203.0.113.1:40000"));
  ASSERT_EQ(lab.stun.size(), 2u);
  EXPECT_NE(lab.stun[0].first.remote, lab.stun[1].first.remote);
  lab.answer_stun(at("203.0.113.1:40002"));
  const PunchNow& p = lab.told.back().second;
  EXPECT_EQ(p.rung, PunchRung::predict);
  EXPECT_EQ(p.candidates.size(), 16u);
  EXPECT_EQ(p.candidates[0].at, at("203.0.113.1:40004"));
  lab.run(5ms);
  auto opening = lab.to(kPeer).back();
  EXPECT_EQ(opening.ttl, 2);
  EXPECT_NE(opening.to.socket, 0u);
}

TEST(Puncher, TheEasySideSendsToThePredictedPortsFromItsOwnPort) {
  Lab lab(false, kEasy, kCounting);
  std::vector<Candidate> ports;
  for (uint16_t i = 0; i < 16; i++) ports.push_back({CandidateKind::srflx, {kPeer.ip, uint16_t(40000 + i)}});
  lab.puncher.on_punch({3, PunchRung::predict, true, ports}, lab.now);
  lab.run(20ms);
  std::set<uint16_t> reached;
  for (const auto& p : lab.probes) {
    reached.insert(p.to.remote.port);
    EXPECT_EQ(p.to.socket, 0u);
  }
  EXPECT_EQ(reached.size(), 16u);
}

TEST(Puncher, ABirthdayIsTwoHundredRandomPortsASecondAndEnds) {
  Lab lab(false, kEasy, kHard);
  lab.puncher.on_punch({3, PunchRung::birthday, true, {{CandidateKind::srflx, at("203.0.113.9:1")}}}, lab.now);
  lab.answer_stun(at("203.0.113.1:5000"));
  lab.run(1s);
  EXPECT_GE(lab.probes.size(), 190u);
  EXPECT_LE(lab.probes.size(), 205u);
  lab.run(20s);
  std::set<uint16_t> ports;
  for (const auto& p : lab.probes) {
    EXPECT_EQ(p.to.remote.ip, kPeer.ip);
    EXPECT_GE(p.to.remote.port, 1024);
    ports.insert(p.to.remote.port);
  }
  EXPECT_EQ(ports.size(), lab.probes.size());  // none twice
  EXPECT_LE(ports.size(), 1600u);
}

TEST(Puncher, OneBirthdayAtATimePerNode) {
  Lab lab(false, kEasy, kHard);
  lab.birthday = true;  // of another peer
  lab.puncher.on_punch({3, PunchRung::birthday, true, {{CandidateKind::srflx, kPeer}}}, lab.now);
  lab.run(1s);
  EXPECT_TRUE(lab.probes.empty());
  EXPECT_TRUE(lab.birthday);
}

TEST(Puncher, BeforeABirthdayARelayIsAskedFromTheOwnPortOrANewOne) {
  Lab easy(false, kEasy, kHard);
  easy.puncher.on_punch({3, PunchRung::birthday, true, {{CandidateKind::srflx, kPeer}}}, easy.now);
  easy.run(100ms);
  ASSERT_EQ(easy.stun.size(), 1u);
  EXPECT_EQ(easy.stun[0].first.socket, 0u);
  EXPECT_TRUE(easy.probes.empty()) << "nothing is played before the answer";
  easy.answer_stun(at("203.0.113.1:5000"));
  easy.run(100ms);
  EXPECT_GE(easy.probes.size(), 15u);

  Lab hard(true, kHard, kEasy);
  hard.climb_to_birthday();
  ASSERT_EQ(hard.stun.size(), 1u);
  EXPECT_NE(hard.stun[0].first.socket, 0u);
  EXPECT_EQ(hard.open.size(), 1u);
  hard.look_hard();
  hard.run(50ms);
  EXPECT_EQ(hard.open.size(), hard.rules.birthday_sockets) << "the socket that asked is one of them";
  EXPECT_EQ(hard.told.back().second.candidates.at(0).at, at("203.0.113.1:5000"));
  EXPECT_TRUE(hard.skipped.empty());
}

TEST(Puncher, HolesForCarriersNatsAreTriedOnceToAlsoWhenNobodyTalks) {
  Lab hard(true, kHard, kEasy);
  hard.busy = false;
  hard.climb_to_birthday();
  for (int ttl : {2, 3}) {  // behind one NAT; behind two
    hard.look_hard();
    hard.probes.clear();
    hard.run(9s);
    ASSERT_FALSE(hard.probes.empty());
    EXPECT_EQ(hard.probes.back().ttl, ttl);
    for (int i = 0; i < 1000 && hard.open.size() > 1; i++) hard.run(5ms);  // its end; the next asks from a socket of its own
  }
  auto births = [&] {
    return std::count_if(hard.attempts.begin(), hard.attempts.end(), [](const auto& a) { return a.first == PunchRung::birthday; });
  };
  EXPECT_EQ(births(), 2);
  hard.run(600s);
  EXPECT_EQ(births(), 2) << "more of them are for traffic";
}

TEST(Puncher, ABirthdayIsNotPlayedWhenTheAddressChanged) {
  Lab easy(true, kEasy, kHard);
  easy.climb_to_birthday();
  easy.answer_stun(at("203.0.113.1:5001"));
  easy.run(100ms);
  EXPECT_EQ(easy.skipped, std::vector{BirthdaySkip::moved});
  EXPECT_EQ(easy.told.back().second.rung, PunchRung::plain) << "nothing was announced";
  EXPECT_GE(easy.asked_outside, 1u);

  Lab hard(false, kHard, kEasy);
  hard.puncher.on_punch({2, PunchRung::birthday, false, {}}, hard.now);
  hard.answer_stun(at("203.0.113.77:41000"));
  hard.answer_stun(at("203.0.113.77:52000"));
  hard.run(1s);
  EXPECT_EQ(hard.skipped, std::vector{BirthdaySkip::moved});
  EXPECT_TRUE(hard.probes.empty());
  EXPECT_TRUE(hard.open.empty());
  EXPECT_FALSE(hard.birthday) << "another peer may play";
}

TEST(Puncher, PortsThatCountUpAfterAllArePredicted) {
  Lab lab(true, kHard, kEasy);
  lab.climb_to_birthday();
  lab.answer_stun(at("203.0.113.1:41000"));
  lab.answer_stun(at("203.0.113.1:41002"));
  EXPECT_EQ(lab.skipped, std::vector{BirthdaySkip::predictable});
  EXPECT_EQ(lab.nat.delta, 2);
  EXPECT_TRUE(lab.puncher.sockets() <= 1);
  lab.run(10ms);
  lab.answer(true);
  lab.run(720ms);  // plain once more
  lab.answer_stun(at("203.0.113.1:41004"));
  lab.answer_stun(at("203.0.113.1:41006"));
  EXPECT_EQ(lab.told.back().second.rung, PunchRung::predict);
  EXPECT_EQ(lab.told.back().second.candidates.at(0).at, at("203.0.113.1:41008"));
}

// The side that finds out is not the one that climbs: it tells by its class, and the driver does not wait for the end of its game.
TEST(Puncher, ADriverThatHearsOfCountingPortsPredictsAtOnce) {
  Lab lab(true, kEasy, kHard);
  lab.climb_to_birthday();
  lab.answer_stun(at("203.0.113.1:5000"));
  lab.run(50ms);
  ASSERT_EQ(lab.told.back().second.rung, PunchRung::birthday);
  lab.puncher.set_remote({{CandidateKind::srflx, kPeer}}, kCounting);
  EXPECT_FALSE(lab.birthday);
  lab.run(10ms);
  lab.answer(true);
  lab.run(750ms);
  EXPECT_EQ(lab.told.back().second.rung, PunchRung::predict);
}

TEST(Puncher, CountingPortsThatPredictionMissedAreGambledFor) {
  Lab lab(false, kCounting, kEasy);
  lab.puncher.on_punch({2, PunchRung::birthday, false, {}}, lab.now);
  lab.answer_stun(at("203.0.113.1:41000"));
  lab.answer_stun(at("203.0.113.1:41001"));
  lab.run(50ms);
  EXPECT_EQ(lab.open.size(), lab.rules.birthday_sockets);
  EXPECT_TRUE(lab.skipped.empty());
}

TEST(Puncher, ANatThatBecameFriendlyNeedsNoBirthday) {
  Lab lab(false, kHard, kEasy);
  lab.puncher.on_punch({2, PunchRung::birthday, false, {}}, lab.now);
  lab.answer_stun(at("203.0.113.1:41000"));
  lab.answer_stun(at("203.0.113.1:41000"));
  EXPECT_EQ(lab.skipped, std::vector{BirthdaySkip::predictable});
  EXPECT_EQ(lab.asked_outside, 1u) << "its class is asked for anew";
}

TEST(Puncher, WithoutARelaysWordNoBirthday) {
  Lab lab(true, kHard, kEasy);
  lab.climb_to_birthday();
  lab.run(3s);
  ASSERT_FALSE(lab.skipped.empty());
  EXPECT_EQ(lab.skipped[0], BirthdaySkip::unseen);
  EXPECT_LE(lab.open.size(), 1u);
  EXPECT_EQ(lab.to(kPeer).size(), 5u) << "those of the plain attempt";
}

// What an enrolled node may make us send packets to is its own address and nothing else.
TEST(Puncher, AnAttemptGoesOnlyToAddressesThePeerIsKnownBy) {
  Lab lab(false, kEasy, kHard);
  lab.puncher.on_punch({3, PunchRung::birthday, true, {{CandidateKind::srflx, at("192.0.2.77:1")}}}, lab.now);
  lab.puncher.on_punch({4, PunchRung::predict, true, {{CandidateKind::srflx, at("192.0.2.77:4000")}}}, lab.now);
  lab.puncher.on_punch({5, PunchRung::fresh, false, {{CandidateKind::srflx, at("192.0.2.77:4000")}}}, lab.now);
  lab.run(5s);
  EXPECT_TRUE(lab.probes.empty());
}

TEST(Puncher, WithoutAnyPathBothSidesSendBlindly) {
  Lab lab(false);
  lab.path = false;
  lab.puncher.want(lab.now);
  lab.run(5s);
  EXPECT_TRUE(lab.told.empty());
  EXPECT_GE(lab.to(kPeer).size(), 4u);
  EXPECT_GE(lab.to(kNeighbour).size(), 3u);
}

TEST(Puncher, APathThatComesLateEndsTheBlindAttempt) {
  Lab lab(true);
  lab.path = false;
  lab.puncher.want(lab.now);
  lab.run(4s);
  EXPECT_TRUE(lab.puncher.is_trying());
  lab.path = true;
  lab.run(50ms);
  ASSERT_EQ(lab.told.size(), 1u);
  EXPECT_EQ(lab.told[0].second.rung, PunchRung::plain);
}

TEST(Puncher, TheFollowerAsksTheDriverWhenNothingHappens) {
  Lab lab(false);
  lab.puncher.want(lab.now);
  lab.run(1s);
  ASSERT_EQ(lab.told.size(), 1u);
  EXPECT_EQ(lab.told[0].second.rung, PunchRung::ask);
  Lab driver(true);
  driver.puncher.on_punch(lab.told[0].second, driver.now);
  driver.run(10ms);
  EXPECT_EQ(driver.told.size(), 1u);
}

TEST(Puncher, AnnouncementsOfTheFollowerStartNothing) {
  Lab lab(true);
  for (auto rung : {PunchRung::plain, PunchRung::fresh, PunchRung::predict, PunchRung::birthday})
    for (bool ready : {false, true}) lab.puncher.on_punch({1, rung, ready, {{CandidateKind::srflx, kPeer}}}, lab.now);
  lab.run(1s);
  EXPECT_TRUE(lab.probes.empty());
  EXPECT_TRUE(lab.open.empty());
}

TEST(ProbeBudget, FiftyPerSecondWhateverIsAsked) {
  ProbeBudget b;
  base::Instant now{1000s};
  int taken = 0;
  for (int ms = 0; ms < 10'000; ms++) taken += b.take(now + 1ms * ms);
  EXPECT_GE(taken, 500);
  EXPECT_LE(taken, 552);
  int burst = 0;
  for (int i = 0; i < 1000; i++) burst += b.take(now + 1h);
  EXPECT_EQ(burst, 50);  // rest does not add up
}

}  // namespace
}  // namespace tunnel
