#include "tunnel/session/door_packet.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

ResumeSecret secret(uint8_t fill) {
  ResumeSecret s;
  s.bytes.fill(fill);
  return s;
}

const char kPayload[] = "frame";

base::ByteVec packet(const DoorKeys& k) { return make_door({DoorKind::frame, k.id, 0x1112131415161718, 0x2122232425262728, 7, base::as_bytes(kPayload)}, k.client); }

TEST(DoorPacket, IsReadAsItWasWritten) {
  DoorKeys k = derive_door_keys(secret(1));
  auto b = packet(k);
  auto p = read_door(b);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->kind, DoorKind::frame);
  EXPECT_EQ(p->id, k.id);
  EXPECT_EQ(p->sender, 0x1112131415161718u);
  EXPECT_EQ(p->receiver, 0x2122232425262728u);
  EXPECT_EQ(p->counter, 7u);
  EXPECT_EQ(base::as_text(p->payload), "frame");
  EXPECT_TRUE(is_authentic(b, k.client));
}

TEST(DoorPacket, EveryByteIsAuthenticated) {
  DoorKeys k = derive_door_keys(secret(1));
  auto good = packet(k);
  for (size_t i = 0; i < good.size(); i++) {
    auto b = good;
    b[i] ^= 1;
    EXPECT_FALSE(read_door(b) && is_authentic(b, k.client)) << i;
  }
}

struct Vector {
  const char *exported, *psk, *secret;
  bool client;
  uint32_t kind;
  uint64_t sender, receiver;
  uint32_t counter;
  const char *payload, *datagram;
};
const Vector kVectors[] = {
#include "tunnel/session/door_vectors.inc"
};

TEST(DoorPacket, MatchesTheIndependentScript) {
  for (const Vector& v : kVectors) {
    Digest exported{};
    auto bytes = *base::from_hex(v.exported);
    std::copy(bytes.begin(), bytes.end(), exported.begin());
    ResumeSecret s = derive_resume_secret(exported, *base::from_hex(v.psk));
    EXPECT_EQ(base::to_hex(s.bytes), v.secret);
    DoorKeys k = derive_door_keys(s);
    auto payload = *base::from_hex(v.payload);
    auto made = make_door({DoorKind(v.kind), k.id, v.sender, v.receiver, v.counter, payload}, v.client ? k.client : k.server);
    EXPECT_EQ(base::to_hex(made), v.datagram);
  }
}

// What a node sent cannot be sent back to it: each direction has a key of its own.
TEST(DoorPacket, AReflectedOneIsNotAuthentic) {
  DoorKeys k = derive_door_keys(secret(1)), other = derive_door_keys(secret(2));
  EXPECT_FALSE(is_authentic(packet(k), k.server));
  EXPECT_FALSE(is_authentic(packet(k), other.client));
  EXPECT_NE(k.id, other.id);
}

TEST(DoorPacket, OtherFormsAreNotRead) {
  DoorKeys k = derive_door_keys(secret(1));
  auto good = make_door({DoorKind::knock, k.id, 1, 0, 1, {}}, k.client);
  EXPECT_EQ(good.size(), kDoorBytesMin);
  ASSERT_TRUE(read_door(good));
  EXPECT_FALSE(read_door(base::ByteView(good).first(good.size() - 1)));
  EXPECT_FALSE(read_door(base::ByteVec(kDoorBytesMax + 1, 0x87)));
  auto with = [&](size_t at, uint8_t value) {
    auto b = good;
    b[at] = value;
    return read_door(b).has_value();
  };
  EXPECT_FALSE(with(0, 0x86));
  EXPECT_FALSE(with(1, 2));   // version
  EXPECT_FALSE(with(2, 0));   // kind
  EXPECT_FALSE(with(2, 4));   // a frame without a payload
  EXPECT_FALSE(with(2, 5));
  EXPECT_FALSE(with(3, 1));
  EXPECT_FALSE(with(19, 0));  // no sender
}

}  // namespace
}  // namespace tunnel
