#include "tunnel/stun/stun.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

const StunId kId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

TEST(Stun, RequestIsAsLongAsAnyResponse) {
  auto q = make_stun_request(kId);
  EXPECT_GE(q.size(), make_stun_response(kId, *base::IpPort::parse("[2001:db8::1]:65535")).size());
  auto m = parse_stun(q);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->type, StunType::request);
  EXPECT_EQ(m->id, kId);
}

TEST(Stun, TheAddressComesBack) {
  for (const char* text : {"192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853", "0.0.0.0:0"}) {
    auto at = *base::IpPort::parse(text);
    auto m = parse_stun(make_stun_response(kId, at));
    ASSERT_TRUE(m) << text;
    EXPECT_EQ(m->type, StunType::success);
    EXPECT_EQ(m->mapped, at);
  }
}

// RFC 5769 §2.2 and §2.3 name the transaction id, the address, and the bytes they become.
TEST(Stun, XorMappedAddressOfTheRfcVectors) {
  const StunId id = {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae};
  auto v4 = make_stun_response(id, *base::IpPort::parse("192.0.2.1:32853"));
  EXPECT_EQ(base::to_hex(base::ByteView(v4).subspan(20, 12)), "002000080001a147e112a643");
  auto v6 = make_stun_response(id, *base::IpPort::parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853"));
  EXPECT_EQ(base::to_hex(base::ByteView(v6).subspan(20, 24)), "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9");
}

TEST(Stun, AnyFlippedBitIsRefusedOrAnotherId) {  // FINGERPRINT covers all
  const auto good = make_stun_response(kId, *base::IpPort::parse("192.0.2.1:1"));
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= uint8_t(1 << bit % 8);
    if ((bit / 8) >= good.size() - 8 && (bit / 8) < good.size() - 4) continue;  // no longer a FINGERPRINT: optional then
    EXPECT_FALSE(parse_stun(bad)) << bit;
  }
}

TEST(Stun, WithoutFingerprintItIsFine) {  // other people's servers
  auto r = make_stun_response(kId, *base::IpPort::parse("192.0.2.1:1"));
  r.resize(r.size() - 8);
  base::store_be16(&r[2], uint16_t(r.size() - 20));
  EXPECT_TRUE(parse_stun(r));
}

TEST(Stun, RefusesWhatIsNotBinding) {
  auto q = make_stun_request(kId);
  auto changed = [&](size_t at, uint8_t v) { auto c = q; c[at] = v; return bool(parse_stun(c)); };
  EXPECT_FALSE(changed(1, 3));   // Allocate
  EXPECT_FALSE(changed(4, 0));   // cookie
  EXPECT_FALSE(changed(3, 4));   // length
  EXPECT_FALSE(parse_stun(base::ByteView(q).first(19)));
  EXPECT_FALSE(parse_stun({}));
  base::ByteVec mandatory = {0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x00, 0x19, 0, 0};
  EXPECT_FALSE(parse_stun(mandatory));
  mandatory[20] = 0x80;  // may be ignored
  EXPECT_TRUE(parse_stun(mandatory));
}

}  // namespace
}  // namespace tunnel
