#include "tunnel/tun/ip_packet.h"

#include <bit>

namespace tunnel {
namespace {

constexpr size_t kIpv4HeaderBytes = 20, kIpv6HeaderBytes = 40;
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kDestinationOptions = 60;

std::optional<IpPacket> parse_v4(base::ByteView p) {
  if (p.size() < kIpv4HeaderBytes) return std::nullopt;
  size_t header = size_t(p[0] & 15) * 4;
  if (header < kIpv4HeaderBytes || header > p.size() || base::load_be16(&p[2]) != p.size()) return std::nullopt;
  bool fragment = base::load_be16(&p[6]) & 0x3fff;  // more fragments, or an offset
  return IpPacket{false, fragment, p[9], uint16_t(header), &p[12], &p[16]};
}

// Extension headers (RFC 8200 §4) up to the transport header.
std::optional<IpPacket> parse_v6(base::ByteView p) {
  if (p.size() < kIpv6HeaderBytes || base::load_be16(&p[4]) + kIpv6HeaderBytes != p.size()) return std::nullopt;
  IpPacket ip{true, false, p[6], kIpv6HeaderBytes, &p[8], &p[24]};
  while (ip.proto == kHopByHop || ip.proto == kRouting || ip.proto == kDestinationOptions || ip.proto == kFragment) {
    if (ip.transport + 8u > p.size()) return std::nullopt;
    size_t bytes = ip.proto == kFragment ? 8 : (p[ip.transport + 1] + 1u) * 8;
    if (ip.proto == kFragment) ip.fragment = true;
    if (ip.transport + bytes > p.size()) return std::nullopt;
    ip.proto = p[ip.transport];
    ip.transport = uint16_t(ip.transport + bytes);
    if (ip.fragment) break;  // what follows may be the middle of something
  }
  return ip;
}

uint16_t native_to_be(uint16_t v) { return std::endian::native == std::endian::little ? uint16_t(v << 8 | v >> 8) : v; }

}  // namespace

std::optional<IpPacket> parse_ip(base::ByteView p) {
  if (p.empty() || p.size() > 65535) return std::nullopt;
  if (p[0] >> 4 == 4) return parse_v4(p);
  if (p[0] >> 4 == 6) return parse_v6(p);
  return std::nullopt;
}

bool is_confined(const uint8_t* a, bool v6) {
  if (!v6) return a[0] == 0 || a[0] == 127 || a[0] >= 224 || (a[0] == 169 && a[1] == 254);
  if (a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)) return true;
  for (int i = 0; i < 10; ++i)
    if (a[i]) return false;
  // ::/80 holds ::, ::1, and the IPv4-mapped addresses: none of them belongs on a wire
  return true;
}

uint8_t ip_tos(const uint8_t* p) { return p[0] >> 4 == 4 ? p[1] : uint8_t(p[0] << 4 | p[1] >> 4); }

bool mark_congestion(base::MutByteView p) {
  if ((ip_tos(p.data()) & 3) == 0) return false;  // Not-ECT
  if (p[0] >> 4 == 6) {
    p[1] |= 0x30;
    return true;
  }
  p[1] |= 3;
  set_ipv4_checksum(p.data());
  return true;
}

uint64_t checksum_add(base::ByteView b, uint64_t sum) {
  const uint8_t* p = b.data();
  size_t n = b.size();
  uint64_t a = 0, c = 0;  // two chains: additions of one need not wait for the other
  for (; n >= 16; n -= 16, p += 16) {
    uint32_t w[4];
    memcpy(w, p, 16);
    a += uint64_t(w[0]) + w[1];
    c += uint64_t(w[2]) + w[3];
  }
  uint64_t s = a + c;
  for (; n >= 2; n -= 2, p += 2) {
    uint16_t w;
    memcpy(&w, p, 2);
    s += w;
  }
  if (n) {
    uint8_t last[2] = {*p, 0};
    uint16_t w;
    memcpy(&w, last, 2);
    s += w;
  }
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return sum + native_to_be(uint16_t(s));
}

uint16_t checksum_fold(uint64_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return uint16_t(s);
}

uint64_t pseudo_header_sum(const IpPacket& ip, uint8_t proto, size_t transport_bytes) {
  return checksum_add({ip.src, 2 * ip.addr_bytes()}) + proto + (transport_bytes >> 16) + (transport_bytes & 0xffff);
}

void set_ipv4_checksum(uint8_t* h) {
  base::store_be16(h + 10, 0);
  base::store_be16(h + 10, uint16_t(~checksum_fold(checksum_add({h, size_t(h[0] & 15) * 4}))));
}

bool is_transport_checksum_right(const IpPacket& ip, base::ByteView p) {
  base::ByteView transport = p.subspan(ip.transport);
  size_t at = checksum_offset(ip.proto);
  if (at == 0 || transport.size() < at + 2) return false;
  if (ip.proto == kProtoUdp && !ip.v6 && base::load_be16(&transport[at]) == 0) return true;
  return checksum_fold(checksum_add(transport, pseudo_header_sum(ip, ip.proto, transport.size()))) == 0xffff;
}

bool complete_checksum(base::MutByteView p, size_t start, size_t offset) {
  if (start + offset + 2 > p.size()) return false;
  uint16_t sum = uint16_t(~checksum_fold(checksum_add(p.subspan(start))));
  base::store_be16(&p[start + offset], sum ? sum : 0xffff);  // RFC 768: 0 would say "none"; for TCP both are the same number
  return true;
}

}  // namespace tunnel
