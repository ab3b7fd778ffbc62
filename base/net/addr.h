// Addresses as values: IPv4 and IPv6 alike, ordered, hashable, printed as people write them. Pure: no I/O.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "base/core/result.h"

namespace base {

enum class Family : uint8_t { v4, v6 };
enum class Proto : uint8_t { tcp = 6, udp = 17 };  // the IP protocol numbers
const char* to_string(Proto);                      // "tcp", "udp"

class IpAddr {
 public:
  IpAddr() = default;  // 0.0.0.0
  static IpAddr v4(uint32_t host_order);
  static IpAddr v4(const uint8_t network_order[4]);
  static IpAddr v6(const uint8_t network_order[16]);
  static std::optional<IpAddr> parse(std::string_view);  // RFC 4291 text; ::ffff:1.2.3.4 becomes IPv4
  Family family() const { return family_; }
  bool is_v4() const { return family_ == Family::v4; }
  bool is_v6() const { return family_ == Family::v6; }
  uint32_t v4_host_order() const { return load_be32(b_.data()); }
  ByteView bytes() const { return {b_.data(), is_v4() ? size_t(4) : size_t(16)}; }  // network order
  bool is_any() const;
  bool is_loopback() const;
  bool is_link_local() const;
  bool is_multicast() const;
  bool is_private() const;  // RFC 1918, RFC 6598, RFC 4193
  std::string str() const;
  auto operator<=>(const IpAddr&) const = default;

 private:
  Family family_ = Family::v4;
  std::array<uint8_t, 16> b_{};
};

// An address and a port: "10.0.0.1:53", "[fd00::1]:53".
struct IpPort {
  IpAddr ip;
  uint16_t port = 0;
  static std::optional<IpPort> parse(std::string_view);
  std::string str() const;
  auto operator<=>(const IpPort&) const = default;
};

struct Cidr {
  IpAddr ip;  // host bits are zero after parse()
  uint8_t len = 0;
  static std::optional<Cidr> parse(std::string_view);  // a bare address is a full-length prefix
  static Cidr host(const IpAddr& a) { return {a, uint8_t(a.is_v4() ? 32 : 128)}; }
  bool contains(const IpAddr&) const;
  bool contains(const Cidr& o) const { return o.len >= len && contains(o.ip); }
  bool overlaps(const Cidr& o) const { return contains(o) || o.contains(*this); }
  std::string str() const;
  auto operator<=>(const Cidr&) const = default;
};

size_t hash_bytes(ByteView);  // FNV-1a, for containers only

}  // namespace base

template <>
struct std::hash<base::IpAddr> {
  size_t operator()(const base::IpAddr& a) const { return base::hash_bytes(a.bytes()); }
};
template <>
struct std::hash<base::IpPort> {
  size_t operator()(const base::IpPort& p) const { return base::hash_bytes(p.ip.bytes()) * 31 + p.port; }
};
