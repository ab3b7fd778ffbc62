#include "tunnel/data/prefix_map.h"

namespace tunnel {
namespace {

struct Words {
  uint64_t hi = 0, lo = 0;
};
Words words_of(const uint8_t* a, bool v6) {
  if (!v6) return {uint64_t(base::load_be32(a)) << 32, 0};
  return {base::load_be64(a), base::load_be64(a + 8)};
}
uint64_t high_bits(int n) { return n <= 0 ? 0 : n >= 64 ? ~uint64_t(0) : ~uint64_t(0) << (64 - n); }

}  // namespace

base::IpAddr masked(const base::IpAddr& a, uint8_t len) {
  if (len >= a.bytes().size() * 8) return a;
  uint8_t b[16] = {};
  for (size_t i = 0; i < a.bytes().size(); ++i) {
    int bits = int(len) - int(i) * 8;
    b[i] = uint8_t(a.bytes()[i] & (bits >= 8 ? 0xff : bits <= 0 ? 0 : 0xff << (8 - bits)));
  }
  return inner_address(b, a.is_v6());
}

InnerFilter::InnerFilter(const std::vector<base::Cidr>& list) {
  for (const auto& c : list) {
    bool v6 = c.ip.is_v6();
    Words w = words_of(c.ip.bytes().data(), v6);
    uint64_t m0 = high_bits(c.len), m1 = high_bits(int(c.len) - 64);
    prefixes_.push_back({v6, {w.hi & m0, w.lo & m1}, {m0, m1}});
  }
}

bool InnerFilter::contains(const uint8_t* a, bool v6) const {
  Words w = words_of(a, v6);
  for (const auto& p : prefixes_)
    if (p.v6 == v6 && (w.hi & p.mask[0]) == p.net[0] && (w.lo & p.mask[1]) == p.net[1]) return true;
  return false;
}

}  // namespace tunnel
