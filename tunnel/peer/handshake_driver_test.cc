#include "tunnel/peer/handshake_driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "tunnel/session/sim_channel.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

// Two drivers and the signalling between them: frames take 20 ms and may be lost. client goes first when attempts cross.
struct Lab {
  struct Side {
    Side(Lab& l, std::string own, std::string peer)
        : lab(l), name(own), context(config(own), l.rng, metrics),
          driver(own, peer, context,
                 {[this](SignalKind k, base::ByteView b) { lab.send(*this, k, b); }, [this, peer](bool client) { return make(client, peer); },
                  [this](const Handshake::Outcome& o) { outcomes.push_back({o.keys, o.confirmed}); },
                  [this](const base::Error& e) { errors.push_back(e); }, [this](base::ByteView) { packets++; }}) {}
    static NodeContext::Config config(const std::string& own) {
      NodeContext::Config c;
      c.identity.name = own;
      c.identity.trust_domain = "mesh.sim";
      c.leaf = sim_leaf(c.identity);
      return c;
    }
    std::unique_ptr<Handshake> make(bool client, const std::string& peer) {
      made++;
      Handshake::Config h{client, "mesh.sim", name, peer, context.config.leaf, psks, {}, accept};
      h.hello.instance = context.instance;
      h.hello.index = uint32_t(made);
      if (padding) h.psks.push_back({base::ByteVec(padding, 7), base::ByteVec(32, 7)});
      return std::make_unique<Handshake>(std::move(h), make_sim_channel(client, context.config.identity, lab.rng));
    }
    bool confirmed() const { return !outcomes.empty() && outcomes.back().second; }
    Lab& lab;
    std::string name;
    base::Metrics metrics;
    NodeContext context;
    std::vector<Psk> psks;
    std::function<base::Result<void>(const base::NodeIdentity&)> accept;
    size_t padding = 0, packets = 0;
    int made = 0, calls = 0, frames = 0;
    std::vector<std::pair<DataKeysPtr, bool>> outcomes;
    std::vector<base::Error> errors;
    HandshakeDriver driver;
  };

  explicit Lab(uint64_t seed = 1) : rng(seed) {
    std::string a = "a", b = "b";
    if (!goes_first(a, b)) std::swap(a, b);
    client = std::make_unique<Side>(*this, a, b);
    server = std::make_unique<Side>(*this, b, a);
  }
  void send(Side& from, SignalKind kind, base::ByteView b) {
    (kind == SignalKind::call ? from.calls : from.frames)++;
    if (rng.unit() < loss || (drops && drops(from, kind))) return;
    longest = std::max(longest, b.size());
    flights.push_back({now + way + (jitter.count() ? base::Duration(rng.below(uint64_t(jitter.count()))) : 0ms), &from == client.get() ? server.get() : client.get(), kind, {b.begin(), b.end()}});
  }
  void run(base::Duration d) {
    for (base::Instant end = now + d; now < end; now += 5ms) {
      for (;;) {
        auto due = std::find_if(flights.begin(), flights.end(), [&](const Flight& f) { return f.at <= now; });
        if (due == flights.end()) break;
        Flight f = std::move(*due);
        flights.erase(due);
        if (f.kind == SignalKind::call) f.to->driver.on_call(f.bytes, now);
        else f.to->driver.on_frame(f.bytes, now);
      }
      client->driver.tick(now);
      server->driver.tick(now);
    }
  }
  // The server process starts again: nothing is left of what it knew.
  void restart_server() { server = std::make_unique<Side>(*this, server->name, client->name); }
  bool agreed() const {
    return client->confirmed() && server->confirmed() && client->outcomes.back().first->peer_index() == server->outcomes.back().first->local_index();
  }
  struct Flight {
    base::Instant at;
    Side* to;
    SignalKind kind;
    base::ByteVec bytes;
  };
  base::SeededRng rng;
  base::Instant now{1000s};
  double loss = 0;
  base::Duration way = 20ms, jitter{0};
  std::function<bool(const Side& from, SignalKind)> drops;
  size_t longest = 0;  // frame
  std::deque<Flight> flights;
  std::unique_ptr<Side> client, server;
};

TEST(HandshakeDriver, TheClientStartsWhenItWants) {
  Lab lab;
  lab.client->driver.want(lab.now);
  lab.run(200ms);
  EXPECT_TRUE(lab.agreed());
  EXPECT_EQ(lab.client->made + lab.server->made, 2);
  EXPECT_EQ(lab.server->context.half_open, 0u);
}

// 20 ms one way: the answer's keys are there after two of them, the other side's with the third. No CALL goes before.
TEST(HandshakeDriver, WhoeverWantsItBegins) {
  for (bool at_first : {true, false}) {
    Lab lab;
    auto &side = at_first ? lab.client : lab.server, &other = at_first ? lab.server : lab.client;
    side->driver.want(lab.now);
    lab.run(70ms);
    EXPECT_EQ(other->outcomes.size(), 1u) << at_first;
    lab.run(50ms);
    EXPECT_TRUE(lab.agreed()) << at_first;
    EXPECT_EQ(lab.client->made + lab.server->made, 2);
    EXPECT_EQ(lab.client->calls + lab.server->calls, 0);
    EXPECT_EQ(lab.client->context.half_open + lab.server->context.half_open, 0u);
  }
}

// One frame is lost, and packets go on following behind it: it is repeated in its time all the same.
TEST(HandshakeDriver, PacketsThatFollowDoNotPutOffARepeat) {
  Lab lab;
  lab.client->driver.want(lab.now);
  lab.run(45ms);
  ASSERT_NE(lab.client->driver.stream(), 0u);
  lab.flights.clear();  // what the client sent behind the server's Finished
  base::Instant began = lab.now;
  size_t sent = 0;
  for (; sent < kCarriedPacketsMax && lab.server->outcomes.empty(); sent++) {
    lab.client->driver.carry(base::as_bytes("packet"), lab.now);
    lab.run(30ms);
  }
  EXPECT_LE(lab.now - began, 320ms);
  lab.run(100ms);
  EXPECT_TRUE(lab.agreed());
  EXPECT_EQ(lab.server->packets, sent);
}

// The other side is of a version that takes no first flight from the side that does not go first.
TEST(HandshakeDriver, AFirstFlightThatIsNotTakenIsFollowedByACall) {
  Lab lab;
  lab.drops = [&](const Lab::Side& from, SignalKind kind) { return &from == lab.server.get() && kind == SignalKind::handshake && !lab.client->made; };
  lab.server->driver.want(lab.now);
  lab.run(900ms);
  EXPECT_EQ(lab.server->calls, 1);
  EXPECT_TRUE(lab.agreed());
}

// Attempts of both sides cross, whatever the delay and whoever is a little earlier: one session, at once, and not two.
TEST(HandshakeDriver, CrossingAttemptsMakeOneSession) {
  for (base::Duration way : {5ms, 20ms, 100ms, 300ms, 600ms})
    for (base::Duration lead : {0ms, 5ms, 40ms, 250ms})
      for (bool first_leads : {true, false}) {
        Lab lab;
        lab.way = way;
        (first_leads ? lab.client : lab.server)->driver.want(lab.now);
        lab.run(lead);
        auto& later = first_leads ? lab.server : lab.client;
        if (!later->confirmed()) later->driver.want(lab.now);
        lab.run(5 * way + 300ms);
        auto what = fmt::format("{} ms, lead {} ms of {}", way.count() / 1000000, lead.count() / 1000000, first_leads ? "the first" : "the other");
        EXPECT_TRUE(lab.agreed()) << what;
        size_t confirmed = size_t(std::count_if(lab.client->outcomes.begin(), lab.client->outcomes.end(), [](const auto& o) { return o.second; }));
        EXPECT_EQ(confirmed, 1u) << what;
        EXPECT_EQ(lab.client->context.half_open + lab.server->context.half_open, 0u) << what;
        lab.run(10s);
        EXPECT_TRUE(lab.client->errors.empty() && lab.server->errors.empty()) << what;
      }
}

// Both have been calling into the void. The first frame that comes through says that the other is there now.
TEST(HandshakeDriver, WhoIsHeardIsSentTheFirstFlightAgain) {
  Lab lab;
  lab.drops = [&](const Lab::Side&, SignalKind) { return lab.now < base::Instant(1002s); };
  lab.client->driver.want(lab.now);
  lab.run(500ms);
  lab.server->driver.want(lab.now);
  lab.run(1900ms);  // the server's repeat after 1.75 s is the first frame that arrives
  EXPECT_TRUE(lab.agreed());
  EXPECT_EQ(lab.client->made, 1);
}

TEST(HandshakeDriver, BothAtOnceMakeOneSession) {
  Lab lab;
  lab.client->driver.want(lab.now);
  lab.server->driver.want(lab.now);
  lab.run(3s);
  EXPECT_TRUE(lab.agreed());
  EXPECT_EQ(lab.client->made, 1);
  EXPECT_FALSE(lab.client->driver.is_wanted() || lab.server->driver.is_wanted());
}

TEST(HandshakeDriver, LostFramesAreRepeated) {
  for (uint64_t seed = 1; seed < 40; seed++) {
    Lab lab(seed);
    lab.loss = 0.3;
    lab.client->driver.want(lab.now);
    lab.server->driver.want(lab.now);
    lab.run(20s);
    EXPECT_TRUE(lab.agreed()) << seed;
    EXPECT_EQ(lab.server->context.half_open, 0u) << seed;
  }
}

// Flights of several frames, in any order, doubled and lost.
TEST(HandshakeDriver, LongFlightsInAnyOrderArrive) {
  for (uint64_t seed = 1; seed < 40; seed++) {
    Lab lab(seed);
    lab.loss = 0.1;
    lab.jitter = 60ms;
    lab.server->padding = lab.client->padding = 6000;
    lab.client->driver.want(lab.now);
    lab.run(20s);
    EXPECT_TRUE(lab.agreed()) << seed;
    EXPECT_LE(lab.longest, 1184u);
  }
}

// Everything fell into the void until a way opened: then it does not wait for its turn.
TEST(HandshakeDriver, HurryTriesAtOnce) {
  for (bool at_client : {true, false}) {
    Lab lab;
    lab.loss = 1;
    auto& side = at_client ? lab.client : lab.server;
    side->driver.want(lab.now);
    lab.run(62s);
    lab.loss = 0;
    side->driver.hurry(lab.now);
    lab.run(200ms);
    EXPECT_TRUE(lab.agreed()) << at_client;
  }
}

TEST(HandshakeDriver, OnceIsOnce) {
  for (bool at_client : {true, false}) {
    Lab lab;
    auto& side = at_client ? lab.client : lab.server;
    lab.loss = 1;
    side->driver.try_once(lab.now);
    lab.run(1min);
    EXPECT_EQ(side->made, 1);
    lab.loss = 0;
    lab.run(1min);
    EXPECT_FALSE(lab.agreed()) << "nobody wants it any more";
    side->driver.try_once(lab.now);
    lab.run(200ms);
    EXPECT_TRUE(lab.agreed()) << at_client;
  }
}

TEST(HandshakeDriver, NobodyThereIsSaidAfterFiveSecondsAndTriedAgainEverMoreSlowly) {
  Lab lab;
  lab.loss = 1;
  lab.client->driver.want(lab.now);
  lab.run(5100ms);
  ASSERT_EQ(lab.client->errors.size(), 1u);
  EXPECT_EQ(lab.client->errors[0].code, base::Code::timeout);
  EXPECT_NE(lab.client->errors[0].what.find("no answer from " + lab.server->name), std::string::npos);
  lab.run(10min);
  EXPECT_GE(lab.client->made, 12);
  EXPECT_LE(lab.client->made, 32);
  lab.loss = 0;
  lab.run(37s);  // 30 s, + 20 %
  EXPECT_TRUE(lab.agreed());
}

TEST(HandshakeDriver, ARestartInTheMiddleIsNoticedByTheNextFrame) {
  Lab lab;
  lab.client->driver.want(lab.now);
  lab.run(50ms);  // the server has answered; its process dies
  lab.flights.clear();
  lab.restart_server();
  lab.client->driver.tick(lab.now);
  lab.run(3s);
  EXPECT_TRUE(lab.agreed());
}

TEST(HandshakeDriver, ARefusalIsKnownToBothAtOnce) {
  Lab lab;
  lab.server->accept = [](const base::NodeIdentity& i) -> base::Result<void> { return base::fail(base::Code::denied, "{} is on the deny list", i.name); };
  lab.client->driver.want(lab.now);
  lab.run(300ms);
  ASSERT_GE(lab.server->errors.size(), 1u);
  EXPECT_NE(lab.server->errors[0].what.find("deny list"), std::string::npos);
  ASSERT_GE(lab.client->errors.size(), 1u);
  EXPECT_NE(lab.client->errors[0].what.find("refuses"), std::string::npos);
  EXPECT_FALSE(lab.client->confirmed());
}

TEST(HandshakeDriver, AnotherPreSharedKeyIsNamedOnBothSides) {
  Lab lab;
  auto psk = [](uint8_t fill) { return Psk{psk_id_of(base::ByteVec(32, fill)), base::ByteVec(32, fill)}; };
  lab.client->psks = {psk(1)};
  lab.server->psks = {psk(2)};
  lab.client->driver.want(lab.now);
  lab.run(300ms);
  for (auto* side : {lab.client.get(), lab.server.get()}) {
    ASSERT_GE(side->errors.size(), 1u);
    EXPECT_NE(side->errors[0].what.find("no pre-shared key in common"), std::string::npos) << side->errors[0].what;
  }
  lab.server->psks.push_back(psk(1));  // during rotation both are known
  lab.client->driver.want(lab.now);
  lab.run(5s);
  EXPECT_TRUE(lab.agreed());
}

TEST(HandshakeDriver, AFloodOfCallsIsOneAttemptPerSecond) {
  Lab lab;
  base::ByteVec call;
  base::Writer w(call);
  w.u8(1);
  w.u64(99);
  lab.loss = 1;  // nobody answers
  for (int i = 0; i < 1000; i++) {
    lab.client->driver.on_call(call, lab.now);
    lab.run(5ms);
  }
  EXPECT_GE(lab.client->made, 1);
  EXPECT_LE(lab.client->made, 6);
  EXPECT_LE(lab.client->frames, 40);
}

TEST(HandshakeDriver, StrangeFramesStartNothing) {
  Lab lab;
  base::ByteVec good;
  lab.server->driver.on_frame({}, lab.now);
  auto frame = [](uint8_t version, uint8_t flags, uint32_t offset, std::string_view text, uint32_t received = 0) {
    base::ByteVec out;
    base::Writer w(out);
    w.u8(version);
    w.u8(flags);
    w.u64(5);
    w.u32(offset);
    w.u32(received);
    w.put(base::as_bytes(text));
    return out;
  };
  for (auto& f : {frame(2, 1, 0, "x"), frame(1, 0, 0, "x"), frame(1, 1, 0, ""), frame(1, 3, 0, "x"), frame(1, 5, 0, "x")})
    lab.server->driver.on_frame(f, lab.now);
  EXPECT_EQ(lab.server->made, 0);
  EXPECT_EQ(lab.server->frames, 0);
  lab.server->driver.on_frame(frame(1, 1, 100, "the beginning is on its way"), lab.now);
  EXPECT_EQ(lab.server->frames, 0);
  lab.server->driver.on_frame(frame(1, 1, 100, "middle", 50), lab.now);  // of an attempt it does not know: said, not started
  EXPECT_EQ(lab.server->made, 0);
  EXPECT_EQ(lab.server->frames, 1);
}

TEST(HandshakeDriver, HalfOpenAttemptsAreBounded) {
  Lab lab;
  lab.server->context.half_open = base::limits::kHalfOpenHandshakesMax;
  lab.client->driver.want(lab.now);
  lab.run(1s);
  EXPECT_EQ(lab.server->made, 0);
  lab.server->context.half_open = 0;
  lab.run(10s);
  EXPECT_TRUE(lab.agreed());
}

}  // namespace
}  // namespace tunnel
