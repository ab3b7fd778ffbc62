#include "lb/policy/source_hash.h"

#include <bit>
#include <cstring>

namespace lb {
namespace {

// Bob Jenkins' lookup3 (public domain), in the arrangement of the kernel: words in host order, the tail in little-endian order.
struct Lookup3 {
  uint32_t a, b, c;
  void mix() {
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }
  void finish() {
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
  }
};

uint32_t host_word(const uint8_t* p) {
  uint32_t w;
  std::memcpy(&w, p, 4);
  return w;
}

uint32_t tail_word(const uint8_t* p) { return uint32_t(p[0]) | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24; }

}  // namespace

uint32_t source_hash(const base::IpAddr& client, uint32_t modulus, uint32_t seed) {
  const uint8_t* p = client.bytes().data();
  uint32_t start = 0xdeadbeef + uint32_t(client.bytes().size()) + seed;
  Lookup3 h{start, start, start};
  if (client.is_v6()) {
    h.a += host_word(p), h.b += host_word(p + 4), h.c += host_word(p + 8);
    h.mix();
    p += 12;
  }
  h.a += tail_word(p);
  h.finish();
  return uint32_t(uint64_t(h.c) * modulus >> 32);
}

}  // namespace lb
