#include "tunnel/peer/door.h"

#include <gtest/gtest.h>

#include <deque>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::IpPort at(const char* s) { return *base::IpPort::parse(s); }
ResumeSecret secret(uint8_t fill) {
  ResumeSecret s;
  s.bytes.fill(fill);
  return s;
}

// One process of a node and its door to the other one.
struct Side {
  Side(bool client, base::Rng& r, base::IpPort own_at, base::IpPort peer_at)
      : house(r, metrics), here(own_at), there(peer_at),
        door(client, house,
             {[this](const PathAddr& to, base::ByteView b) { sent.push_back({to.remote, {b.begin(), b.end()}}); }, [this] { return std::vector<PathAddr>{{there, {}, 0}}; },
              [this](SignalKind k, base::ByteView b) { frames.push_back(fmt::format("{} {}", int(k), base::as_text(b))); }, [this] { opened++; }}) {
    door.set_secrets({secret(1)});
  }
  struct Sent {
    base::IpPort to;
    base::ByteVec bytes;
  };
  std::deque<Sent> take() { return std::exchange(sent, {}); }
  base::Metrics metrics;
  DoorHouse house;
  base::IpPort here, there;
  std::deque<Sent> sent;
  std::vector<std::string> frames;
  int opened = 0;
  Door door;
};

struct DoorTest : testing::Test {
  base::SeededRng rng{1};
  base::Instant now{1000s};
  std::unique_ptr<Side> a = make(true), b = make(false);
  std::unique_ptr<Side> make(bool client) {
    auto x = at("198.51.100.1:20006"), y = at("198.51.100.2:20006");
    return std::make_unique<Side>(client, rng, client ? x : y, client ? y : x);
  }
  void deliver(Side& from, Side& to) {
    for (auto& s : from.take())
      if (s.to == to.here) to.door.on_datagram({from.here, {}, 0}, s.bytes, now);
  }
  void open() {
    a->door.want(true, now);
    a->door.tick(now);
    deliver(*a, *b);
    deliver(*b, *a);
  }
  void call(Side& from, Side& to) {
    from.door.send(SignalKind::call, base::as_bytes("call"), now);
    deliver(from, to);
  }
};

TEST_F(DoorTest, AKnockIsAnsweredAndThenFramesPass) {
  open();
  EXPECT_TRUE(a->door.is_open(now));
  EXPECT_EQ(a->opened, 1);
  EXPECT_FALSE(b->door.is_open(now)) << "a knock alone proves nothing";
  EXPECT_EQ(b->opened, 0);
  call(*a, *b);
  EXPECT_TRUE(b->door.is_open(now));
  EXPECT_EQ(b->door.address()->remote, a->here);
  b->door.send(SignalKind::handshake, base::as_bytes("hello"), now);
  deliver(*b, *a);
  EXPECT_EQ(b->frames, std::vector<std::string>{"1 call"});
  EXPECT_EQ(a->frames, std::vector<std::string>{"2 hello"});
}

TEST_F(DoorTest, TheAnswerIsNoLongerThanTheKnock) {
  a->door.want(true, now);
  a->door.tick(now);
  size_t knock = a->sent[0].bytes.size();
  deliver(*a, *b);
  ASSERT_EQ(b->sent.size(), 1u);
  EXPECT_LE(b->sent[0].bytes.size(), knock);
}

TEST_F(DoorTest, WhoDoesNotHaveTheSecretGetsNotAByte) {
  b->door.set_secrets({secret(2)});
  open();
  EXPECT_TRUE(b->sent.empty());
  a->door.set_secrets({secret(2)});
  a->door.news(now);
  a->door.tick(now);
  auto knock = a->take()[0].bytes;
  for (size_t i = 0; i < knock.size(); i++) {
    auto forged = knock;
    forged[i] ^= 1;
    EXPECT_FALSE(b->door.on_datagram({a->here, {}, 0}, forged, now));
  }
  a->door.on_datagram({b->here, {}, 0}, knock, now);  // its own, back to it
  EXPECT_TRUE(b->sent.empty() && a->sent.empty());
}

TEST_F(DoorTest, ARepeatedDatagramDoesNothing) {
  open();
  a->door.send(SignalKind::call, base::as_bytes("call"), now);
  auto recorded = a->take()[0].bytes;
  for (int i = 0; i < 10; i++) b->door.on_datagram({at("203.0.113.9:9"), {}, 0}, recorded, now);
  EXPECT_EQ(b->frames.size(), 1u);
  EXPECT_TRUE(b->sent.empty());
}

TEST_F(DoorTest, ARepeatedKnockIsAnsweredOnce) {
  a->door.want(true, now);
  a->door.tick(now);
  auto knock = a->take()[0].bytes;
  for (int i = 0; i < 10; i++) b->door.on_datagram({a->here, {}, 0}, knock, now += 1s);
  EXPECT_EQ(b->sent.size(), 1u);
}

// Recorded before b's restart, sent to it afterwards: at most one short answer each, and few of them; nothing is carried out.
TEST_F(DoorTest, OldDatagramsToANewProcessAreNotBelieved) {
  open();
  std::vector<base::ByteVec> recorded;
  for (int i = 0; i < 1000; i++) {
    a->door.send(SignalKind::call, base::as_bytes("call"), now);
    recorded.push_back(a->take()[0].bytes);
  }
  b = make(false);
  for (int again = 0; again < 2; again++)
    for (const auto& r : recorded) b->door.on_datagram({at("203.0.113.9:9"), {}, 0}, r, now += 1ms);
  EXPECT_TRUE(b->frames.empty());
  EXPECT_FALSE(b->door.is_open(now));
  EXPECT_LE(b->sent.size(), 8u + 10u);
  for (const auto& s : b->sent) EXPECT_EQ(s.bytes.size(), kDoorBytesMin);
}

TEST_F(DoorTest, ARestartedPeerIsHeardAndItsOldNumberNeverAgain) {
  open();
  call(*a, *b);
  a->door.send(SignalKind::call, base::as_bytes("old"), now);
  auto old = a->take()[0].bytes;
  a = make(true);
  open();
  call(*a, *b);
  EXPECT_EQ(b->frames, (std::vector<std::string>{"1 call", "1 call"}));
  b->door.on_datagram({at("203.0.113.9:9"), {}, 0}, old, now);
  EXPECT_EQ(b->frames.size(), 2u);
  EXPECT_EQ(b->door.address()->remote, a->here);
}

// b does not know of a's restart and goes on with the old number: it is told the new one.
TEST_F(DoorTest, FramesToAProcessThatIsGoneBringTheNewOnesNumber) {
  open();
  call(*a, *b);
  a = make(true);
  b->door.send(SignalKind::handshake, base::as_bytes("x"), now);
  deliver(*b, *a);
  EXPECT_TRUE(a->frames.empty());
  deliver(*a, *b);
  b->door.send(SignalKind::handshake, base::as_bytes("y"), now);
  deliver(*b, *a);
  EXPECT_EQ(a->frames, std::vector<std::string>{"2 y"});
}

TEST_F(DoorTest, BothKnockAtOnce) {
  for (Side* s : {a.get(), b.get()}) s->door.want(true, now), s->door.tick(now);
  deliver(*a, *b);
  deliver(*b, *a);
  deliver(*a, *b);
  EXPECT_TRUE(a->door.is_open(now) && b->door.is_open(now));
}

TEST_F(DoorTest, AnOlderSecretIsTriedToo) {
  a->door.set_secrets({secret(9), secret(8), secret(1)});
  a->door.want(true, now);
  for (int i = 0; i < 4000; i += 10) {
    a->door.tick(now += 10ms);
    deliver(*a, *b);
    deliver(*b, *a);
  }
  EXPECT_TRUE(a->door.is_open(now));
  call(*a, *b);
  EXPECT_EQ(b->frames.size(), 1u);
}

TEST_F(DoorTest, KnocksBackOffAndNewsBringThemBack) {
  a->door.want(true, now);
  auto knocks_in = [&](base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 10ms) a->door.tick(now);
    return a->take().size();
  };
  size_t first = knocks_in(1s);
  EXPECT_GE(first, 3u);
  EXPECT_LE(first, 5u);
  knocks_in(60s);
  EXPECT_LE(knocks_in(60s), 5u);
  a->door.news(now);
  EXPECT_GE(knocks_in(1s), 3u);
  a->door.want(false, now);
  EXPECT_EQ(knocks_in(60s), 0u);
  EXPECT_FALSE(a->door.next_deadline());
}

TEST_F(DoorTest, AnOpenDoorClosesUnlessSomethingFreshComes) {
  open();
  EXPECT_FALSE(a->door.is_open(now + 5s));
  now += 6s;
  a->door.send(SignalKind::call, base::as_bytes("late"), now);
  EXPECT_TRUE(a->sent.empty());
}

TEST_F(DoorTest, WithoutSecretsThereIsNoDoor) {
  open();
  a->door.set_secrets({});
  EXPECT_FALSE(a->door.is_open(now));
  a->door.news(now);
  a->door.tick(now);
  EXPECT_TRUE(a->sent.empty());
  call(*b, *a);
  EXPECT_TRUE(a->frames.empty());
}

// All knocks of a node together are few, however many peers it knows.
TEST_F(DoorTest, KnocksShareABudget) {
  std::vector<std::unique_ptr<Door>> doors;
  size_t knocks = 0;
  for (int i = 0; i < 500; i++) {
    doors.push_back(std::make_unique<Door>(true, a->house, Door::Hooks{[&](const PathAddr&, base::ByteView) { knocks++; }, [&] { return std::vector<PathAddr>{{b->here, {}, 0}}; }, {}, {}}));
    doors.back()->set_secrets({secret(1)});
    doors.back()->want(true, now);
  }
  for (base::Instant end = now + 2s; now < end; now += 10ms)
    for (auto& d : doors) d->tick(now);
  EXPECT_LE(knocks, 100u + 2 * 50u + 1);
}

}  // namespace
}  // namespace tunnel
