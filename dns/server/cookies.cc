#include "dns/server/cookies.h"

#include <bit>
#include <cstring>

namespace dns {

namespace {

uint64_t little(const uint8_t* p, size_t n = 8) {
  uint64_t v = 0;
  for (size_t i = 0; i < n; i++) v |= uint64_t(p[i]) << 8 * i;
  return v;
}

struct Sip {
  uint64_t a, b, c, d;
  void rounds(int n) {
    for (; n; n--) {
      a += b, c += d;
      b = std::rotl(b, 13) ^ a, d = std::rotl(d, 16) ^ c;
      a = std::rotl(a, 32);
      c += b, a += d;
      b = std::rotl(b, 17) ^ c, d = std::rotl(d, 21) ^ a;
      c = std::rotl(c, 32);
    }
  }
  void word(uint64_t m) {
    d ^= m;
    rounds(2);
    a ^= m;
  }
};

}  // namespace

uint64_t siphash24(const CookieSecret& key, base::ByteView in) {
  const uint64_t k0 = little(&key[0]), k1 = little(&key[8]);
  Sip s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
  const uint64_t size = in.size();
  for (; in.size() >= 8; in = in.subspan(8)) s.word(little(in.data()));
  s.word(little(in.data(), in.size()) | size << 56);
  s.c ^= 0xff;
  s.rounds(4);
  return s.a ^ s.b ^ s.c ^ s.d;
}

void make_cookie(Query& q, const base::IpAddr& client, uint32_t unix_seconds, const CookieSecret& secret) {
  uint8_t* server = &q.cookie[kClientCookie];
  base::store_be32(server, 0x01000000);  // version 1
  base::store_be32(server + 4, unix_seconds);
  uint8_t text[kClientCookie + 8 + 16];
  std::memcpy(text, q.cookie.data(), kClientCookie + 8);
  std::memcpy(text + kClientCookie + 8, client.bytes().data(), client.bytes().size());
  const uint64_t h = siphash24(secret, {text, kClientCookie + 8 + client.bytes().size()});
  for (size_t i = 0; i < 8; i++) server[8 + i] = uint8_t(h >> 8 * i);
}

}  // namespace dns
