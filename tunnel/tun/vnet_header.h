// The header in front of each packet on a TUN with IFF_VNET_HDR (virtio 1.0 §5.1.6), in the machine's byte order.
#pragma once
#include <cstdint>

namespace tunnel {

struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // in flags
  static constexpr uint8_t kNone = 0, kTcp4 = 1, kTcp6 = 4, kUdp = 5, kEcn = 0x80;  // in gso_type
  uint8_t flags = 0, gso_type = kNone;
  uint16_t header_bytes = 0, gso_size = 0, checksum_start = 0, checksum_offset = 0;
  uint8_t kind() const { return uint8_t(gso_type & ~kEcn); }
};
static_assert(sizeof(VnetHeader) == 10);
inline constexpr size_t kVnetBytes = sizeof(VnetHeader);

}  // namespace tunnel
