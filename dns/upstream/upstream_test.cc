// The forwarder in virtual time, with servers that are told how to behave.
#include "dns/upstream/upstream.h"

#include <gtest/gtest.h>

#include "base/sim/sim_loop.h"
#include "dns/wire/message_writer.h"

namespace dns {
namespace {

using base::Duration;
using base::IpPort;
using namespace std::chrono_literals;

Name name(const std::string& s) { return *Name::from_text(s); }
IpPort at(int i) { return {base::IpAddr::v4(0x0a000000u + uint32_t(i)), 53}; }

enum class Mode { answers, silent, refuses, servfail, other_question, poisons_answer, poisons_authority, lower_case };

struct Behaviour {
  Mode mode = Mode::answers;
  Duration delay = 10ms;
  int lost = 0;                    // percent
  std::vector<std::string> asked;  // names, as they came
  int tcp = 0;
};

base::ByteVec reply_to(base::ByteView query, Mode mode, uint8_t last) {
  Query q;
  EXPECT_EQ(parse_query(query, q), Parsed::ok);
  Name n = *Name::from_wire(q.name());
  MessageWriter w(n);
  base::ByteVec question(q.question.begin(), q.question.end());
  if (mode == Mode::other_question) question[1] ^= 1;
  if (mode == Mode::lower_case) std::copy(q.key().begin(), q.key().end(), question.begin());
  q.question = question;
  if (mode != Mode::servfail) w.add(n, type::A, 300, base::ByteVec{192, 0, 2, last});
  if (mode == Mode::poisons_answer) w.add(name("www.bank.example"), type::A, 300, base::ByteVec{192, 0, 2, 66});
  w.authority();
  if (mode == Mode::poisons_authority) w.add_name(name("bank.example"), type::NS, 300, name("ns.evil.example"));
  w.additional();
  w.add(name("www.bank.example"), type::A, 300, base::ByteVec{192, 0, 2, 66});
  base::ByteVec out(1500);
  out.resize(write_reply(q, {.rcode = mode == Mode::servfail ? Rcode::servfail : Rcode::noerror, .flags = flag::RA}, w.body(), 1232, out));
  return out;
}

class FakeLink final : public ServerLink {
 public:
  FakeLink(base::Loop& loop, Behaviour& b, uint8_t last, bool tcp) : loop_(loop), b_(b), last_(last), tcp_(tcp) {}
  void send(base::ByteView query, Done done) override {
    Query q;
    EXPECT_EQ(parse_query(query, q), Parsed::ok);
    b_.asked.push_back(name_text(q));
    b_.tcp += tcp_;
    if (b_.mode == Mode::refuses) return done({});
    bool silent = b_.mode == Mode::silent || int(rng_.below(100)) < b_.lost;
    auto answer = silent ? base::ByteVec() : reply_to(query, tcp_ && b_.mode == Mode::lower_case ? Mode::answers : b_.mode, last_);
    in_flight_++;
    timers_.push_back(loop_.timer([this, answer, done] { in_flight_--, done(answer); }));
    timers_.back()->arm(silent ? 1900ms : b_.delay);
  }
  size_t in_flight() const override { return in_flight_; }
  bool is_own_socket(const IpPort&) const override { return false; }

 private:
  static std::string name_text(const Query& q) { return Name::from_wire(q.name())->text(); }
  base::Loop& loop_;
  Behaviour& b_;
  uint8_t last_;
  base::SeededRng rng_{last_};
  bool tcp_;
  size_t in_flight_ = 0;
  std::vector<std::unique_ptr<base::Timer>> timers_;
};

struct Reply {
  int rcode = -1;  // -1: nobody answered
  uint8_t last = 0;
  Duration took{0};
  size_t additional = 0;
};

class World {
 public:
  base::SimLoop loop;
  base::SeededRng rng{7};
  base::Metrics metrics;
  UpstreamConfig config;
  std::map<IpPort, Behaviour> servers;
  std::unique_ptr<Upstream> up;

  explicit World(int n) {
    config.resolv_conf = "/nonexistent/resolv.conf";
    for (int i = 1; i <= n; i++) config.servers.push_back(at(i)), servers[at(i)];
  }
  void start() {
    up = std::make_unique<Upstream>(loop, rng, metrics, config, [this](const ServerAddress& a, bool tcp) {
      return std::make_unique<FakeLink>(loop, servers[a.at], a.at.ip.bytes()[3], tcp);
    });
  }
  Reply ask(const std::string& n) {
    Reply r;
    bool done = false;
    auto began = loop.now();
    up->resolve({name(n), type::A}, [&](const Upstream::Outcome& o) {
      done = true;
      r.took = loop.now() - began;
      if (!o.answer) return;
      r.rcode = int(o.answer->scan.rcode);
      r.additional = o.answer->scan.additional;
      each_answer(o.answer->message, [&](const Record& rec) { return r.last = o.answer->message[rec.data_at + 3], true; });
    });
    EXPECT_TRUE(loop.run_until([&] { return done; }, 10s));
    return r;
  }
  Behaviour& server(int i) { return servers[at(i)]; }
  uint64_t count(const char* n) { return metrics.counter(n, "").value(); }
};

TEST(Upstream, TheFastestServerIsAskedAndASlowOneOnlyToMeasureIt) {
  World w(3);
  w.server(1).delay = 400ms;
  w.server(3).delay = 30ms;
  w.start();
  EXPECT_EQ(w.ask("n0.example").last, 2) << "the first question goes to all: their speed is not known";
  w.loop.run_for(1s);
  for (int i = 1; i <= 100; i++) {
    Reply r = w.ask("n" + std::to_string(i) + ".example");
    EXPECT_EQ(r.last, 2);
    EXPECT_LE(r.took, 20ms);
  }
  EXPECT_LE(w.server(1).asked.size(), 3u);
}

TEST(Upstream, AnotherServerIsAskedWhenOneTakesLongerThanItUsuallyDoes) {
  World w(2);
  w.server(2).delay = 20ms;
  w.start();
  for (int i = 0; i < 30; i++) w.ask("n" + std::to_string(i) + ".example");
  w.loop.run_for(1s);
  w.server(1).mode = Mode::silent;
  Reply r = w.ask("late.example");
  EXPECT_EQ(r.last, 2);
  EXPECT_LE(r.took, 45ms) << "10 ms is usual, so the second is asked soon after";
  EXPECT_GE(w.count("edgemeshd_dns_upstream_hedge_won_total"), 1u);
}

TEST(Upstream, ASilentServerLosesItsPlaceAndGetsItBack) {
  World w(2);
  w.server(2).delay = 50ms;
  w.start();
  w.ask("a.example");
  w.server(1).mode = Mode::silent;
  for (int i = 0; i < 40; i++) w.ask("s" + std::to_string(i) + ".example"), w.loop.run_for(100ms);
  size_t asked = w.server(1).asked.size();
  Reply r = w.ask("after.example");
  EXPECT_LE(r.took, 51ms) << "nobody waits for a server that is down";
  EXPECT_LE(w.server(1).asked.size() - asked, 1u);
  w.server(1).mode = Mode::answers;
  for (int i = 0; i < 40; i++) w.ask("b" + std::to_string(i) + ".example"), w.loop.run_for(100ms);
  EXPECT_EQ(w.ask("back.example").last, 1);
}

TEST(Upstream, OneServerIsAskedAgainButNotWithoutEnd) {
  World w(1);
  w.server(1).mode = Mode::silent;
  w.start();
  Reply r = w.ask("n.example");
  EXPECT_EQ(r.rcode, -1);
  EXPECT_LE(r.took, 2s);
  EXPECT_GE(w.server(1).asked.size(), 4u) << "a lost packet is sent again within the client's patience";
  EXPECT_LE(w.server(1).asked.size(), ServerPool::kAskedMax);
}

TEST(Upstream, AServerThatRefusesOrFailsIsFollowedByTheNextAtOnce) {
  for (Mode m : {Mode::refuses, Mode::servfail}) {
    World w(2);
    w.server(2).delay = 40ms;
    w.start();
    w.ask("a.example");
    w.loop.run_for(1s);
    w.server(1).mode = m;
    Reply r = w.ask("n.example");
    EXPECT_EQ(r.last, 2);
    EXPECT_LE(r.took, 51ms);
    w.server(2).mode = m;
    EXPECT_EQ(w.ask("x.example").rcode, m == Mode::servfail ? 2 : -1);
  }
}

TEST(Upstream, HalfOfAllAttemptsMayBeLost) {
  World w(3);
  for (int i = 1; i <= 3; i++) w.server(i).lost = 50;
  w.start();
  std::vector<int64_t> ms;
  int missed = 0;
  for (int i = 0; i < 1000; i++) {
    Reply r = w.ask("n" + std::to_string(i) + ".example");
    missed += r.last == 0;
    ms.push_back(base::to_ms(r.took));
  }
  std::sort(ms.begin(), ms.end());
  EXPECT_LE(missed, 10);
  EXPECT_LE(ms[750], 40);
  EXPECT_LE(ms[990], 800);
}

TEST(Upstream, LiesAreNotBelieved) {
  for (Mode m : {Mode::other_question, Mode::poisons_answer, Mode::poisons_authority}) {
    World w(2);
    w.server(1).mode = m;
    w.server(2).delay = 30ms;
    w.start();
    Reply r = w.ask("www.shop.example");
    EXPECT_EQ(r.last, 2) << int(m);
    EXPECT_EQ(r.additional, 0u) << "addresses nobody asked for are left out";
    EXPECT_EQ(w.count("edgemeshd_dns_upstream_lies_total"), 1u);
    w.server(2).mode = m;
    w.loop.run_for(1s);
    EXPECT_EQ(w.ask("other.shop.example").rcode, -1);
  }
}

TEST(Upstream, AnAnswerThatLostTheCaseIsAskedForOverTcp) {
  World w(1);
  w.server(1).mode = Mode::lower_case;
  w.start();
  EXPECT_EQ(w.ask("www.some-long-name.example").last, 1);
  EXPECT_EQ(w.server(1).tcp, 1);
}

TEST(Upstream, AZoneHasServersOfItsOwn) {
  World w(1);
  w.config.zones = {{name("corp.example"), {at(8)}}, {name("lab.corp.example"), {at(9)}}};
  w.start();
  EXPECT_EQ(w.ask("www.example").last, 1);
  EXPECT_EQ(w.ask("www.corp.example").last, 8);
  EXPECT_EQ(w.ask("corp.example").last, 8);
  EXPECT_EQ(w.ask("a.lab.corp.example").last, 9);
  EXPECT_EQ(w.ask("notcorp.example").last, 1) << "whole labels only";
  w.server(8).mode = Mode::refuses;
  EXPECT_EQ(w.ask("down.corp.example").rcode, -1) << "names of a private zone are not shown to everybody's servers";
}

TEST(Upstream, AServerWhoseProbeComesBackRests) {
  World w(2);
  w.server(2).delay = 30ms;
  w.start();
  w.ask("first.some.example");
  w.loop.run_for(1s);
  bool done = false;
  w.up->resolve({name("second.some.example"), type::A}, [&](const Upstream::Outcome&) { done = true; });
  auto back = [&](const std::string& text, uint16_t t) {
    base::ByteVec b(600);
    b.resize(write_query(name(text), t, 1, 1232, false, false, b));
    Query q;
    EXPECT_EQ(parse_query(b, q), Parsed::ok);
    return w.up->is_echo(q);
  };
  EXPECT_FALSE(back("second.some.example", type::A)) << "a client's own question, all lower";
  EXPECT_TRUE(back(w.server(1).asked.back(), type::A));
  EXPECT_EQ(w.up->servers().size(), 2u) << "perhaps that zone alone loops";
  EXPECT_TRUE(back(w.server(1).asked.back(), type::HINFO));
  EXPECT_EQ(w.up->servers(), std::vector<IpPort>{at(2)});
  EXPECT_TRUE(w.loop.run_until([&] { return done; }, 5s));
  EXPECT_EQ(w.ask("third.some.example").last, 2);
  w.loop.run_for(61s);
  EXPECT_EQ(w.up->servers().size(), 2u) << "it may be set right meanwhile";
}

TEST(Upstream, ServersThatStayAreKeptAcrossAReload) {
  World w(2);
  w.start();
  w.ask("a.example");
  w.loop.run_for(1s);
  auto c = w.config;
  c.servers = {at(2), at(3)};
  bool done = false;
  w.up->resolve({name("under-way.example"), type::A}, [&](const Upstream::Outcome& o) { done = o.answer; });
  w.up->reload(c);
  EXPECT_TRUE(w.loop.run_until([&] { return done; }, 5s)) << "what is under way ends as it is";
  auto v = w.up->view();
  ASSERT_EQ(v.size(), 2u);
  EXPECT_TRUE(v[0].measured && v[0].queries >= 1);
  EXPECT_FALSE(v[1].measured);
}

TEST(Upstream, ANameThatIsAskedOftenIsAskedAgainBeforeItsTimeEnds) {
  World w(1);
  w.start();
  auto use = [&](const char* n) {
    uint8_t b[600];
    Query q;
    const size_t size = write_query(name(n), type::A, 1, 1232, false, false, b);
    EXPECT_EQ(parse_query({b, size}, q), Parsed::ok);
    return w.up->cached(q) != nullptr;
  };
  w.ask("often.example"), w.ask("rare.example");  // for 300 s
  w.loop.run_for(200s);
  for (int i = 0; i < 10; i++) EXPECT_TRUE(use("often.example"));
  w.loop.run_for(1s);
  EXPECT_EQ(w.server(1).asked.size(), 2u) << "not in the middle of its time";
  w.loop.run_for(80s);
  EXPECT_TRUE(use("often.example"));
  EXPECT_TRUE(use("rare.example"));
  w.loop.run_for(1s);
  EXPECT_EQ(w.count("edgemeshd_dns_prefetched_total"), 1u);
  EXPECT_EQ(w.server(1).asked.size(), 3u);
  w.loop.run_for(100s);
  EXPECT_TRUE(use("often.example")) << "no client waits at its end";
  EXPECT_FALSE(use("rare.example"));
}

TEST(Upstream, AskingAheadThatFailsLeavesWhatIsThere) {
  World w(1);
  w.start();
  w.ask("often.example");
  w.server(1).mode = Mode::servfail;
  w.loop.run_for(280s);
  uint8_t b[600];
  Query q;
  const size_t size = write_query(name("often.example"), type::A, 1, 1232, false, false, b);
  ASSERT_EQ(parse_query({b, size}, q), Parsed::ok);
  for (int i = 0; i < 3; i++) EXPECT_TRUE(w.up->cached(q));
  w.loop.run_for(5s);
  EXPECT_EQ(w.server(1).asked.size(), 2u);
  const StoredAnswer* a = w.up->cached(q);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->scan.rcode, Rcode::noerror);
}

TEST(ServerStats, TheUsualTimeAndItsTailFollowWhatIsSeen) {
  ServerStats s;
  base::Instant now{1s};
  EXPECT_FALSE(s.measured());
  for (int i = 0; i < 100; i++) s.answered(i % 10 ? 10ms : 100ms, now);
  EXPECT_GE(s.p95(), 100ms);
  EXPECT_LT(s.usual(), 60ms);
  for (int i = 0; i < 64; i++) s.answered(20ms, now);
  EXPECT_EQ(s.p95(), 20ms);
  auto before = s.cost();
  s.unanswered(now);
  EXPECT_GT(s.cost(), before);
  s.unanswered(now), s.unanswered(now);
  EXPECT_TRUE(s.down());
  s.answered(20ms, now);
  EXPECT_FALSE(s.down());
}

}  // namespace
}  // namespace dns
