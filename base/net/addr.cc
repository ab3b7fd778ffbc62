#include "base/net/addr.h"

#include <arpa/inet.h>

#include <charconv>

namespace base {
namespace {

// Decimal digits only, whole text, no leading '+' or blank.
std::optional<unsigned> parse_number(std::string_view s, unsigned max) {
  unsigned v = 0;
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || ec != std::errc() || end != s.data() + s.size() || v > max) return std::nullopt;
  return v;
}

bool same_prefix(ByteView a, ByteView b, unsigned bits) {
  unsigned whole = bits / 8, rest = bits % 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool in_v4(const IpAddr& a, uint32_t net, unsigned len) {
  return a.is_v4() && (a.v4_host_order() ^ net) >> (32 - len) == 0;
}

IpAddr masked(const IpAddr& a, unsigned len) {
  uint8_t b[16] = {};
  ByteView src = a.bytes();
  for (unsigned i = 0; i < src.size(); ++i) {
    unsigned keep = len > i * 8 ? std::min(8u, len - i * 8) : 0;
    b[i] = uint8_t(src[i] & (0xff00 >> keep));
  }
  return a.is_v4() ? IpAddr::v4(b) : IpAddr::v6(b);
}

}  // namespace

const char* to_string(Proto p) { return p == Proto::tcp ? "tcp" : "udp"; }

IpAddr IpAddr::v4(uint32_t host_order) {
  IpAddr a;
  store_be32(a.b_.data(), host_order);
  return a;
}

IpAddr IpAddr::v4(const uint8_t network_order[4]) {
  IpAddr a;
  std::memcpy(a.b_.data(), network_order, 4);
  return a;
}

IpAddr IpAddr::v6(const uint8_t network_order[16]) {
  IpAddr a;
  a.family_ = Family::v6;
  std::memcpy(a.b_.data(), network_order, 16);
  return a;
}

std::optional<IpAddr> IpAddr::parse(std::string_view s) {
  char text[INET6_ADDRSTRLEN];
  if (s.size() >= sizeof text || s.find('\0') != s.npos) return std::nullopt;
  text[s.copy(text, sizeof text - 1)] = 0;
  uint8_t b[16];
  if (inet_pton(AF_INET, text, b) == 1) return v4(b);
  if (inet_pton(AF_INET6, text, b) != 1) return std::nullopt;
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(b, kMapped, 12) == 0 ? v4(b + 12) : v6(b);
}

bool IpAddr::is_any() const {
  for (uint8_t x : bytes())
    if (x) return false;
  return true;
}

bool IpAddr::is_loopback() const {
  if (is_v4()) return b_[0] == 127;
  std::array<uint8_t, 16> one{};
  one[15] = 1;
  return b_ == one;
}

bool IpAddr::is_link_local() const {
  return is_v4() ? in_v4(*this, 0xa9fe0000, 16) : b_[0] == 0xfe && (b_[1] & 0xc0) == 0x80;
}

bool IpAddr::is_multicast() const { return is_v4() ? (b_[0] & 0xf0) == 0xe0 : b_[0] == 0xff; }

bool IpAddr::is_private() const {
  if (is_v6()) return (b_[0] & 0xfe) == 0xfc;
  return in_v4(*this, 0x0a000000, 8) || in_v4(*this, 0xac100000, 12) || in_v4(*this, 0xc0a80000, 16) ||
         in_v4(*this, 0x64400000, 10);
}

std::string IpAddr::str() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(is_v4() ? AF_INET : AF_INET6, b_.data(), text, sizeof text);
}

std::optional<IpPort> IpPort::parse(std::string_view s) {
  size_t colon = s.rfind(':');
  if (colon == s.npos) return std::nullopt;
  std::string_view host = s.substr(0, colon);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  bool v6_text = host.find(':') != host.npos;
  if (bracketed != v6_text) return std::nullopt;  // "1::2:53" is ambiguous, "[1.2.3.4]:53" is nobody's notation
  auto ip = IpAddr::parse(host);
  auto port = parse_number(s.substr(colon + 1), 65535);
  if (!ip || !port) return std::nullopt;
  return IpPort{*ip, uint16_t(*port)};
}

std::string IpPort::str() const {
  return ip.is_v4() ? fmt::format("{}:{}", ip.str(), port) : fmt::format("[{}]:{}", ip.str(), port);
}

std::optional<Cidr> Cidr::parse(std::string_view s) {
  size_t slash = s.find('/');
  auto ip = IpAddr::parse(s.substr(0, slash));
  if (!ip) return std::nullopt;
  if (slash == s.npos) return host(*ip);
  auto len = parse_number(s.substr(slash + 1), ip->is_v4() ? 32 : 128);
  if (!len) return std::nullopt;
  return Cidr{masked(*ip, *len), uint8_t(*len)};
}

bool Cidr::contains(const IpAddr& a) const {
  return a.family() == ip.family() && same_prefix(a.bytes(), ip.bytes(), len);
}

std::string Cidr::str() const { return fmt::format("{}/{}", ip.str(), len); }

size_t hash_bytes(ByteView b) {
  uint64_t h = 0xcbf29ce484222325;
  for (uint8_t x : b) h = (h ^ x) * 0x100000001b3;
  return size_t(h);
}

}  // namespace base
