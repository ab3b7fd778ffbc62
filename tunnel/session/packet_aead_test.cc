#include "tunnel/session/packet_aead.h"

#include <gtest/gtest.h>

#include "base/core/rng.h"
#include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

base::ByteVec noise(size_t n) {
  base::ByteVec v(n);
  base::SystemRng().fill(v);
  return v;
}

// A packet's length decides which of an implementation's loops run: every length up to beyond the longest of an Ethernet, then a few.
TEST(PacketAead, TheFastImplementationGivesTheBytesOfBoringSsl) {
  auto key = noise(16), header = noise(kHeaderBytes), nonce = noise(kNonceBytes);
  auto fast = make_ipsec_mb_aead(AeadId::aes_128_gcm, key), plain = make_boringssl_aead(AeadId::aes_128_gcm, key);
  if (!fast) return;  // not on this processor
  for (size_t n = 0; n <= 9000; n += n < 1600 ? 1 : 925) {
    base::ByteVec text = noise(n), a = text;
    a.resize(n + kTagBytes);
    base::ByteVec b = a;
    fast->seal(nonce.data(), header, a.data(), a.data(), n);
    plain->seal(nonce.data(), header, b.data(), b.data(), n);
    ASSERT_EQ(a, b) << n;
    for (auto* aead : {fast.get(), plain.get()}) {
      base::ByteVec elsewhere(n + kTagBytes);
      aead->seal(nonce.data(), header, text.data(), elsewhere.data(), n);
      ASSERT_EQ(elsewhere, a) << n;
    }
    ASSERT_TRUE(fast->open(nonce.data(), header, a.data(), n)) << n;
    ASSERT_TRUE(std::equal(text.begin(), text.end(), a.begin())) << n;
  }
}

TEST(PacketAead, EveryImplementationRefusesWhatWasChanged) {
  for (auto make : {make_ipsec_mb_aead, make_boringssl_aead}) {
    auto aead = make(AeadId::aes_128_gcm, noise(16));
    if (!aead) continue;
    auto header = noise(kHeaderBytes), nonce = noise(kNonceBytes), good = noise(100 + kTagBytes);
    aead->seal(nonce.data(), header, good.data(), good.data(), 100);
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      auto bad = good;
      bad[bit / 8] ^= uint8_t(1 << bit % 8);
      EXPECT_FALSE(aead->open(nonce.data(), header, bad.data(), 100)) << bit;
    }
    for (size_t bit = 0; bit < header.size() * 8; ++bit) {
      auto bad = good;
      auto other = header;
      other[bit / 8] ^= uint8_t(1 << bit % 8);
      EXPECT_FALSE(aead->open(nonce.data(), other, bad.data(), 100)) << bit;
    }
  }
}

#ifdef __x86_64__
TEST(PacketAead, IsTheFastOneWhereTheProcessorCan) {
  bool can = __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
  EXPECT_EQ(!ipsec_mb_version().empty(), can);
}
#endif

TEST(PacketAead, NamesWhatItUses) {
  EXPECT_EQ(packet_aead_name(AeadId::chacha20_poly1305), "boringssl");
  EXPECT_EQ(packet_aead_name(AeadId::aes_128_gcm), ipsec_mb_version().empty() ? "boringssl" : "ipsec-mb " + ipsec_mb_version());
}

}  // namespace
}  // namespace tunnel
