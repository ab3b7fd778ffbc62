#include "tunnel/path/path_set.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

const PathAddr kHost{*base::IpPort::parse("192.168.1.5:20006"), {}, 0}, kPublic{*base::IpPort::parse("198.51.100.1:4001"), {}, 0},
    kRelay{*base::IpPort::parse("203.0.113.1:20006"), {}, 77};

// A peer that answers each CHECK after a round trip of the path's, unless the path is cut.
struct Lab {
  base::SeededRng rng{1};
  PathSet set{rng};
  base::Instant now{1000s};
  std::map<PathAddr, base::Duration> rtts;
  std::vector<std::pair<base::Instant, uint64_t>> answers;
  std::map<PathAddr, int> checks;
  std::optional<base::Duration> nat_life;  // a path that nothing crossed for longer lets nothing through
  std::map<PathAddr, base::Instant> crossed;

  Path& add(const PathAddr& a, PathKind kind, base::Duration rtt) {
    rtts[a] = rtt;
    return *set.add(a, kind);
  }
  void send(Path& p) {
    checks[p.addr]++;
    uint64_t txid = set.sent(p, now);
    if (nat_life && crossed.contains(p.addr) && now - crossed[p.addr] > *nat_life) return;
    crossed[p.addr] = now;
    if (auto it = rtts.find(p.addr); it != rtts.end()) answers.push_back({now + it->second, txid});
  }
  void cut(const PathAddr& a) { rtts.erase(a); }
  void run(base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 10ms) {
      for (auto it = answers.begin(); it != answers.end();) {
        if (it->first > now) { ++it; continue; }
        set.on_ack(it->second, now);
        it = answers.erase(it);
      }
      for (Path* p : set.tick(now)) send(*p);
    }
  }
  void prove(Path& p) {
    send(p);
    run(500ms);
  }
  std::optional<PathAddr> choose(std::optional<PathAddr> active = std::nullopt) {
    const Path* p = set.choose(active);
    return p ? std::optional(p->addr) : std::nullopt;
  }
};

TEST(PathSet, NothingIsUsedBeforeThePeerAnswered) {
  Lab lab;
  Path& p = lab.add(kHost, PathKind::host, 20ms);
  EXPECT_FALSE(lab.choose());
  lab.send(p);
  EXPECT_FALSE(lab.choose());
  lab.run(100ms);
  EXPECT_EQ(lab.choose(), kHost);
  EXPECT_EQ(p.rtt, 20ms);
}

TEST(PathSet, AnAnswerCountsOnceAndOnlyForItsOwnCheck) {
  Lab lab;
  Path& p = lab.add(kHost, PathKind::host, 20ms);
  uint64_t txid = lab.set.sent(p, lab.now);
  EXPECT_EQ(lab.set.on_ack(txid + 2, lab.now), nullptr);
  EXPECT_EQ(lab.set.on_ack(txid, lab.now), &p);
  EXPECT_EQ(lab.set.on_ack(txid, lab.now), nullptr);
}

TEST(PathSet, DirectBeatsAFasterRelay) {
  Lab lab;
  lab.prove(lab.add(kRelay, PathKind::relay, 10ms));
  EXPECT_EQ(lab.choose(), kRelay);
  lab.prove(lab.add(kPublic, PathKind::srflx, 90ms));
  EXPECT_EQ(lab.choose(kRelay), kPublic);
}

TEST(PathSet, ARelayByTcpIsTheLastResort) {
  PathAddr tcp = kRelay;
  tcp.socket = kFirstCarrier;
  Lab lab;
  lab.prove(lab.add(tcp, PathKind::relay, 10ms));
  EXPECT_EQ(lab.choose(), tcp);
  lab.prove(lab.add(kRelay, PathKind::relay, 80ms));
  EXPECT_EQ(lab.choose(tcp), kRelay);
  lab.set.remove_if_relay(kRelay.remote, kRelay.relay_channel);
  EXPECT_EQ(lab.set.all().size(), 2u) << "two ways to one channel";
}

TEST(PathSet, TheOneInUseStaysUnlessAnotherIsClearlyBetter) {
  struct Case { base::Duration used, other; bool moves; };
  for (auto [used, other, moves] : {Case{50ms, 40ms, false}, Case{50ms, 30ms, true}, Case{10ms, 8ms, false}, Case{6ms, 2ms, false}, Case{100ms, 85ms, false}}) {
    Lab lab;
    lab.now += 5ms;
    lab.prove(lab.add(kPublic, PathKind::srflx, used));
    lab.prove(lab.add(kHost, PathKind::host, other));
    lab.set.find(kPublic)->rtt = used;
    lab.set.find(kHost)->rtt = other;
    EXPECT_EQ(lab.choose(kPublic), moves ? kHost : kPublic) << used.count() << " " << other.count();
  }
}

TEST(PathSet, ASilentPathIsSuspectThenDeadAndTheOthersAreLookedAtFirst) {
  Lab lab;
  Path& direct = lab.add(kPublic, PathKind::srflx, 30ms);
  lab.prove(direct);
  lab.prove(lab.add(kRelay, PathKind::relay, 50ms));
  lab.run(3s);
  int relay_checks = lab.checks[kRelay];
  lab.cut(kPublic);
  lab.set.check_now(direct, lab.now);
  lab.run(250ms);
  EXPECT_EQ(direct.state, PathState::suspect);
  EXPECT_EQ(lab.choose(kPublic), kPublic);     // one lost CHECK is no death
  EXPECT_EQ(lab.checks[kRelay], relay_checks + 1);
  lab.run(500ms);
  EXPECT_EQ(lab.choose(kPublic), kRelay);
  EXPECT_EQ(direct.state, PathState::dead);
}

TEST(PathSet, AQuietDirectPathIsKeptAliveAndItsDeathIsNoticed) {
  Lab lab;
  Path& p = lab.add(kPublic, PathKind::srflx, 30ms);
  lab.prove(p);
  lab.run(40s);  // until the NATs are known to remember
  int before = lab.checks[kPublic];
  lab.run(60s);
  EXPECT_EQ(lab.checks[kPublic] - before, 3 + 1);  // every 15 s
  lab.cut(kPublic);
  lab.run(17s);
  EXPECT_FALSE(lab.choose(kPublic));
  before = lab.checks[kPublic];
  lab.run(60s);
  EXPECT_EQ(lab.checks[kPublic], before);  // a dead direct path is for punching to try
}

TEST(PathSet, ARelayPathIsTriedForEver) {
  Lab lab;
  Path& p = lab.add(kRelay, PathKind::relay, 0ms);
  lab.cut(kRelay);
  p.due = lab.now;
  lab.run(1s);
  EXPECT_GE(lab.checks[kRelay], 4);  // 50 ms, doubling
  EXPECT_LE(lab.checks[kRelay], 7);
  int before = lab.checks[kRelay];
  lab.run(60s);
  EXPECT_GE(lab.checks[kRelay] - before, 11);
  EXPECT_LE(lab.checks[kRelay] - before, 18);
  lab.rtts[kRelay] = 40ms;
  lab.run(6s);
  EXPECT_EQ(lab.choose(), kRelay);
}

TEST(PathSet, LearnedAddressesThatFailedAreForgottenListedOnesWait) {
  Lab lab;
  lab.cut(kHost);
  Path& listed = *lab.set.add(kHost, PathKind::host);
  Path& learned = *lab.set.add(kPublic, PathKind::prflx);
  lab.set.sent(listed, lab.now);
  lab.set.sent(learned, lab.now);
  lab.set.end_round(lab.now + 1s);
  ASSERT_NE(lab.set.find(kHost), nullptr);
  EXPECT_EQ(listed.state, PathState::waiting);
  EXPECT_EQ(lab.set.find(kPublic), nullptr);
}

TEST(PathSet, AFloodOfAddressesPushesOutNothingThatWorks) {
  Lab lab;
  lab.prove(lab.add(kPublic, PathKind::srflx, 30ms));
  lab.prove(lab.add(kRelay, PathKind::relay, 30ms));
  for (uint16_t i = 0; i < 500; i++) (void)lab.set.add({{base::IpAddr::v4(0xc6120000u + i), 4000}, {}, 0}, PathKind::prflx);
  EXPECT_LE(lab.set.all().size(), kPathsMax);
  EXPECT_NE(lab.set.find(kPublic), nullptr);
  EXPECT_NE(lab.set.find(kRelay), nullptr);
}

TEST(PathSet, WorkingDirectPathsLeaveRoomForARelayAndSparesAreNotKeptAlive) {
  Lab lab;
  auto proved = [&](uint32_t first, PathKind kind) {
    for (uint32_t i = 0; i < 100; i++) {
      PathAddr at{{base::IpAddr::v4(first + i), 4000}, {}, 0};
      lab.rtts[at] = 20ms;
      if (Path* p = lab.set.add(at, kind)) lab.prove(*p);
    }
  };
  proved(0xc6120000u, PathKind::prflx);
  EXPECT_EQ(std::count_if(lab.set.all().begin(), lab.set.all().end(), [](const Path& p) { return p.due.has_value(); }), long(kDirectProvedMax));
  proved(0xc6130000u, PathKind::srflx);
  EXPECT_NE(lab.set.add(kRelay, PathKind::relay), nullptr);
  for (uint32_t i = 0; i < 20; i++) {
    PathAddr more = kRelay;
    more.relay_channel = 1000 + i;
    (void)lab.set.add(more, PathKind::relay);
  }
  EXPECT_LE(lab.set.all().size(), kPathsMax);
}

TEST(PathSet, ANewChannelOfARelayTakesThePlaceOfTheOldOne) {
  Lab lab;
  lab.prove(lab.add(kRelay, PathKind::relay, 30ms));
  PathAddr other = kRelay;
  other.relay_channel = 78;
  (void)lab.set.add(other, PathKind::relay);
  lab.set.remove_if_relay(kRelay.remote, 78);
  EXPECT_EQ(lab.set.find(kRelay), nullptr);
  EXPECT_NE(lab.set.find(other), nullptr);
}

TEST(PathSet, KeepalivesComeRarelyWhereTheNatRemembersAndOftenEnoughWhereItForgets) {
  struct Case {
    base::Duration life;
    int deaths_max;
    int checks_per_minute_max;
  };
  for (auto [life, deaths_max, checks_max] : {Case{100s, 0, 5}, Case{20s, 0, 5}, Case{5s, 1, 25}, Case{3s, 1, 45}, Case{2s, 1, 65}}) {
    Lab lab;
    lab.nat_life = life;
    Path& p = lab.add(kPublic, PathKind::srflx, 20ms);
    lab.prove(p);
    int deaths = 0;
    for (int s = 0; s < 1800; s++) {
      lab.run(1s);
      if (p.state != PathState::dead) continue;
      deaths++;
      lab.crossed.clear();  // punched again
      lab.prove(p);
      EXPECT_EQ(p.state, PathState::valid);
    }
    EXPECT_LE(deaths, deaths_max) << life.count();
    lab.checks.clear();
    lab.run(600s);
    EXPECT_LE(lab.checks[kPublic] / 10, checks_max) << life.count();
  }
}

TEST(PathSet, WhatThePeerAndDataSendKeepsThePathAliveToo) {
  Lab lab;
  Path& p = lab.add(kPublic, PathKind::srflx, 20ms);
  lab.prove(p);
  lab.run(60s);
  int before = lab.checks[kPublic];
  for (int i = 0; i < 600; i++) {
    lab.set.used(p, lab.now);
    lab.run(100ms);
  }
  int sent = lab.checks[kPublic] - before;
  EXPECT_GE(sent, 3) << "the own direction is looked at all the same";
  EXPECT_LE(sent, 5);
}

TEST(BindingLife, ALengthThatWasBorneByLuckIsTakenBackAfterTwoLosses) {
  BindingLife life(15s);
  base::Instant t{1h};
  life.survived(1s), life.survived(2s);  // the NAT forgets after two seconds, give or take
  life.died(4s, t);
  EXPECT_EQ(life.interval(t), 2s);
  life.died(2s, t + 10s);
  EXPECT_EQ(life.interval(t + 10s), 2s) << "that may have had other reasons";
  life.died(2s, t + 10min);
  EXPECT_EQ(life.interval(t + 10min), 2s) << "and this too";
  life.survived(2s);
  life.died(2s, t + 11min);
  EXPECT_EQ(life.interval(t + 11min), 1s);
  EXPECT_EQ(life.interval(t + 3h), 2s) << "in hours the NAT may be another";
}

TEST(PathSet, ADeathThatIsNoNatsFaultChangesLittle) {
  Lab lab;
  Path& p = lab.add(kPublic, PathKind::srflx, 20ms);
  lab.prove(p);
  lab.run(60s);
  lab.cut(kPublic);
  lab.run(20s);
  EXPECT_EQ(p.state, PathState::dead);
  lab.rtts[kPublic] = 20ms;
  lab.prove(p);
  lab.checks.clear();
  lab.run(60s);
  EXPECT_LE(lab.checks[kPublic], 9) << "a silence as long as before is borne";
}

}  // namespace
}  // namespace tunnel
