// What the tunnel needs to know of an inner IP packet, and the Internet checksum (RFC 1071). Pure.
#pragma once
#include <cstdint>
#include <optional>

#include "base/core/bytes.h"

namespace tunnel {

inline constexpr uint8_t kProtoTcp = 6, kProtoUdp = 17;

struct IpPacket {
  bool v6 = false;
  bool fragment = false;   // some part of a larger datagram: ports may be missing
  uint8_t proto = 0;       // of the transport header
  uint16_t transport = 0;  // where it begins
  const uint8_t* src = nullptr;  // network order, 4 or 16 bytes
  const uint8_t* dst = nullptr;
  size_t addr_bytes() const { return v6 ? 16 : 4; }
};

// nullopt: not IP, header cut short, or the length in the header is not the packet's.
std::optional<IpPacket> parse_ip(base::ByteView packet);

// Never crosses the tunnel, as source or destination: unspecified, loopback, link-local, multicast, broadcast, 240/4.
bool is_confined(const uint8_t* addr, bool v6);

uint8_t ip_tos(const uint8_t* packet);  // traffic class of either version
// RFC 6040 on leaving the tunnel with an outer CE: false when the inner packet must be dropped (it cannot carry the mark).
bool mark_congestion(base::MutByteView packet);

// The sum, not folded to 16 bits nor inverted; pieces of even length add up.
uint64_t checksum_add(base::ByteView, uint64_t sum = 0);
uint16_t checksum_fold(uint64_t sum);
uint64_t pseudo_header_sum(const IpPacket&, uint8_t proto, size_t transport_bytes);
void set_ipv4_checksum(uint8_t* header);
// Right, or for UDP over IPv4 absent.
bool is_transport_checksum_right(const IpPacket&, base::ByteView packet);
// Where the checksum stands within a TCP or UDP header; 0 for other protocols.
inline uint16_t checksum_offset(uint8_t proto) { return proto == kProtoTcp ? 16 : proto == kProtoUdp ? 6 : 0; }
// Completes a checksum of which only the pseudo-header was summed.
bool complete_checksum(base::MutByteView packet, size_t start, size_t offset);

}  // namespace tunnel
