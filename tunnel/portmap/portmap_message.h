// The messages by which a router is asked for a forwarded UDP port: PCP MAP (RFC 6887) and NAT-PMP (RFC 6886). Pure.
//
//   PCP request   version 2 | opcode 1 (MAP) or 0 (ANNOUNCE) | 0 2 | lifetime 4 | client's address 16 |
//                 MAP: nonce 12 | protocol 17 | 0 3 | own port 2 | wished outside port 2 | wished outside address 16
//   PCP answer    version 2 | opcode + 128 | 0 1 | result 1 | lifetime 4 | epoch 4 | 0 12 | MAP: the same 36 bytes, as they are now
//   NAT-PMP       0 | opcode 0 (outside address) or 1 (map UDP) | 1: 0 2, own port 2, wished port 2, lifetime 4
//   its answer    0 | opcode + 128 | result 2 | epoch 4 | 0: address 4 | 1: own port 2, outside port 2, lifetime 4
#pragma once
#include <array>
#include <optional>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace tunnel {

inline constexpr uint16_t kPortmapPort = 5351;
inline constexpr size_t kPortmapBytesMax = 1100;  // RFC 6887 §7

using PortmapNonce = std::array<uint8_t, 12>;
enum class PortmapKind : uint8_t { pcp_map, pcp_announce, pmp_address, pmp_map };

struct PortmapRequest {
  PortmapKind kind = PortmapKind::pcp_map;
  base::IpAddr client;   // own address towards the router (PCP)
  PortmapNonce nonce{};  // PCP MAP
  uint16_t own_port = 0;
  base::IpPort wished;    // port 0: any
  uint32_t lifetime = 0;  // seconds; 0 takes the mapping away
};

struct PortmapAnswer {
  PortmapKind kind = PortmapKind::pcp_map;
  uint16_t result = 0;         // 0: done; else as the RFC of the kind numbers them
  bool other_version = false;  // the router does not speak the version it was asked in
  uint32_t epoch = 0, lifetime = 0;
  PortmapNonce nonce{};
  uint16_t own_port = 0;
  base::IpPort outside;  // pmp_map: the port alone; pmp_address: the address alone
};

base::ByteVec make_portmap(const PortmapRequest&);
std::optional<PortmapAnswer> read_portmap(base::ByteView);  // none: not an answer of these protocols
const char* portmap_trouble(const PortmapAnswer&);          // a refusal in words

}  // namespace tunnel
