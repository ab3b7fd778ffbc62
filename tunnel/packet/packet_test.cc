#include "tunnel/packet/packet.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

TEST(Packet, HeaderBytesAreTheOnesOnTheProtocolPage) {
  uint8_t b[kHeaderBytes];
  write_header(b, {PacketType::control, 0x010203, 0x0a0b0c0d, make_counter(5, 0x1122)});
  const uint8_t want[kHeaderBytes] = {0x89, 1, 2, 3, 0x0a, 0x0b, 0x0c, 0x0d, 5, 0, 0, 0, 0, 0, 0x11, 0x22};
  EXPECT_EQ(0, memcmp(b, want, sizeof b));
}

TEST(Packet, HeaderRoundTrip) {
  for (PacketType t : {PacketType::data, PacketType::check, PacketType::check_ack, PacketType::control}) {
    base::ByteVec p(kOverheadBytes);
    write_header(p.data(), {t, 0xabcdef, 0xffffffff, make_counter(255, 7)});
    auto h = read_header(p);
    ASSERT_TRUE(h);
    EXPECT_EQ(h->type, t);
    EXPECT_EQ(h->flags, 0xabcdefu);
    EXPECT_EQ(h->index, 0xffffffffu);
    EXPECT_EQ(h->lane(), 255);
    EXPECT_EQ(h->sequence(), 7u);
  }
}

TEST(Packet, ShortOrForeignIsNoHeader) {
  base::ByteVec p(kOverheadBytes);
  write_header(p.data(), {});
  EXPECT_TRUE(read_header(p));
  p.pop_back();
  EXPECT_FALSE(read_header(p));
  p.push_back(0);
  for (int first = 0; first < 256; ++first) {
    p[0] = uint8_t(first);
    bool sealed = first == 0x80 || first == 0x84 || first == 0x85 || first == 0x89;
    EXPECT_EQ(sealed, bool(read_header(p))) << first;
  }
}

TEST(Packet, RelayFrame) {
  base::ByteVec p(kRelayHeaderBytes + 3, 9);
  write_relay_header(p.data(), 0xfedcba);
  auto f = read_relay_frame(p);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->channel, 0xfedcbau);
  EXPECT_EQ(f->packet.size(), 3u);
  EXPECT_FALSE(read_relay_frame(base::ByteView(p).first(kRelayHeaderBytes)));
  write_relay_header(p.data(), 0);  // 0 means "direct" inside, never a channel
  EXPECT_FALSE(read_relay_frame(p));
}

TEST(Packet, FirstByteTellsTheKind) {
  auto kind = [](uint8_t b) { return classify(base::ByteView(&b, 1)); };
  EXPECT_EQ(kind(0x00), Kind::stun);
  EXPECT_EQ(kind(0x03), Kind::stun);
  EXPECT_EQ(kind(0x04), Kind::unknown);
  EXPECT_EQ(kind(0x40), Kind::unknown);  // QUIC
  EXPECT_EQ(kind(0xc0), Kind::unknown);
  EXPECT_EQ(kind(0x80), Kind::sealed);
  EXPECT_EQ(kind(0x86), Kind::relay_control);
  EXPECT_EQ(kind(0x87), Kind::handshake);
  EXPECT_EQ(kind(0x88), Kind::relay_data);
  EXPECT_EQ(classify({}), Kind::unknown);
}

}  // namespace
}  // namespace tunnel
