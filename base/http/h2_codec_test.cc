#include "base/http/h2_codec.h"

#include <gtest/gtest.h>

namespace base {
namespace {

struct Side {
  explicit Side(H2Codec::Role role, H2Limits l = {})
      : codec(role,
              {.on_headers = [this](int32_t s, const Headers& h, bool) { last = s, heads.push_back(h); },
               .on_data = [this](int32_t s, ByteView d) { data += as_text(d), unconsumed += d.size(), last = s; },
               .on_end = [this](int32_t) { ends++; },
               .on_closed = [this](int32_t, uint32_t code) { closed.push_back(code); },
               .on_ping_ack = [this](uint64_t v) { pong = v; },
               .on_goaway = [this] { goaway = true; }},
              l) {}
  std::vector<Headers> heads;
  std::string data;
  size_t unconsumed = 0;
  int32_t last = 0;
  int ends = 0;
  uint64_t pong = 0;
  bool goaway = false;
  std::vector<uint32_t> closed;
  H2Codec codec;
};

const Headers kRequest{{":method", "POST"}, {":scheme", "https"}, {":path", "/s"}, {":authority", "a"}};
const Headers kOk{{":status", "200"}};

// Carries bytes both ways until nothing moves; false when a side refused.
bool carry(Side& a, Side& b) {
  for (;;) {
    ByteVec x = a.codec.drain(), y = b.codec.drain();
    if (x.empty() && y.empty()) return true;
    if (!b.codec.feed(x, Instant{}) || !a.codec.feed(y, Instant{})) return false;
  }
}

struct Pair {
  Side client, server;
  explicit Pair(H2Limits l = {}) : client(H2Codec::Role::client, l), server(H2Codec::Role::server, l) {}
  int32_t open() {
    int32_t id = client.codec.open(kRequest, false).value();
    carry(client, server);
    EXPECT_TRUE(server.codec.respond(id, kOk, false));
    carry(client, server);
    return id;
  }
};

TEST(H2Codec, DataFlowsBothWaysOnOneLongStream) {
  Pair p;
  int32_t id = p.open();
  for (int i = 0; i < 3; i++) {
    ASSERT_TRUE(p.client.codec.send_data(id, as_bytes("to-server "), false));
    ASSERT_TRUE(p.server.codec.send_data(id, as_bytes("to-client "), false));
    ASSERT_TRUE(carry(p.client, p.server));
  }
  EXPECT_EQ(p.server.data, "to-server to-server to-server ");
  EXPECT_EQ(p.client.data, "to-client to-client to-client ");
  EXPECT_EQ(p.server.heads[0].get(":path"), "/s");
  EXPECT_EQ(p.client.heads[0].get(":status"), "200");
  ASSERT_TRUE(p.client.codec.send_data(id, {}, true));
  ASSERT_TRUE(p.server.codec.send_data(id, as_bytes("bye"), true));
  ASSERT_TRUE(carry(p.client, p.server));
  EXPECT_EQ(p.client.closed, std::vector<uint32_t>{0});
  EXPECT_EQ(p.server.closed, std::vector<uint32_t>{0});
  EXPECT_EQ(p.client.codec.send_data(id, as_bytes("x"), false).error().code, Code::not_found);
}

TEST(H2Codec, UnconsumedDataHoldsTheSenderBackAndTheQueueIsBounded) {
  H2Limits l;
  l.window = 70'000;
  l.queued_bytes = 100'000;
  Pair p(l);
  int32_t id = p.open();
  std::string block(10'000, 'x');
  int taken = 0;
  for (int i = 0; i < 100; i++) {
    if (p.client.codec.send_data(id, as_bytes(block), false)) taken++;
    ASSERT_TRUE(carry(p.client, p.server));
  }
  EXPECT_EQ(p.server.data.size(), 70'000u);
  EXPECT_EQ(taken, 17);  // 70,000 went, 100,000 wait, the rest was refused
  EXPECT_EQ(p.client.codec.queued(id), 100'000u);
  p.server.codec.consume(id, 70'000);
  ASSERT_TRUE(carry(p.client, p.server));
  EXPECT_EQ(p.server.data.size(), 140'000u);
}

TEST(H2Codec, DataMayBeGivenBeforeTheHeadIsOnTheWire) {
  Side client(H2Codec::Role::client), server(H2Codec::Role::server);
  int32_t id = client.codec.open(kRequest, false).value();
  ASSERT_TRUE(client.codec.send_data(id, as_bytes("early"), true));
  ASSERT_TRUE(carry(client, server));
  EXPECT_EQ(server.data, "early");
  ASSERT_TRUE(server.codec.respond(id, kOk, false));
  ASSERT_TRUE(server.codec.send_data(id, as_bytes("answer"), true));
  ASSERT_TRUE(carry(client, server));
  EXPECT_EQ(client.data, "answer");
}

TEST(H2Codec, PingIsAnswered) {
  Pair p;
  p.client.codec.ping(0x1122334455667788);
  ASSERT_TRUE(carry(p.client, p.server));
  EXPECT_EQ(p.client.pong, 0x1122334455667788u);
}

TEST(H2Codec, RapidResetIsCutOff) {
  Pair p;
  bool ok = true;
  int opened = 0;
  while (ok && opened < 1000) {
    int32_t id = p.client.codec.open(kRequest, false).value();
    ok = carry(p.client, p.server);
    p.client.codec.reset(id, 8);
    ok = ok && carry(p.client, p.server);
    opened++;
  }
  EXPECT_EQ(opened, 101);
  EXPECT_LE(p.server.codec.live_streams(), 1u);
}

TEST(H2Codec, TooManyHeaderBytesResetTheStreamOnly) {
  H2Limits l;
  l.header_bytes = 2000;
  Side client(H2Codec::Role::client), server(H2Codec::Role::server, l);
  Headers big = kRequest;
  for (int i = 0; i < 30; i++) big.add("x-" + std::to_string(i), std::string(100, 'v'));
  ASSERT_TRUE(client.codec.open(big, true));
  ASSERT_TRUE(carry(client, server));
  EXPECT_TRUE(server.heads.empty());
  ASSERT_EQ(client.closed.size(), 1u);
  EXPECT_NE(client.closed[0], 0u);
  ASSERT_TRUE(client.codec.open(kRequest, true));
  ASSERT_TRUE(carry(client, server));
  EXPECT_EQ(server.heads.size(), 1u);
}

TEST(H2Codec, GarbageIsAnErrorNotACrash) {
  Side server(H2Codec::Role::server);
  EXPECT_FALSE(server.codec.feed(as_bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), Instant{}));
}

}  // namespace
}  // namespace base
