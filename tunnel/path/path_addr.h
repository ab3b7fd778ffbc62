// Where a datagram goes or came from: a direct address, or a channel of a relay at that address; and by which own socket, which may be
// a stream to that relay where UDP does not pass.
#pragma once
#include <string>

#include "base/net/addr.h"

namespace tunnel {

// Socket numbers from here on are streams (DataPlane::open_carrier).
inline constexpr uint32_t kFirstCarrier = 1u << 31;

struct PathAddr {
  base::IpPort remote;         // the peer's, or the relay's when relay_channel is set
  base::IpAddr local;          // any: the kernel chooses (sent with IP_PKTINFO otherwise)
  uint32_t relay_channel = 0;  // 24 bits; 0: direct
  uint32_t socket = 0;         // 0: the node's own port; else one of DataPlane::open_socket or open_carrier
  bool is_relay() const { return relay_channel != 0; }
  bool is_carried() const { return socket >= kFirstCarrier; }
  std::string str() const { return remote.str() + (is_relay() ? is_carried() ? " (relay, TCP)" : " (relay)" : ""); }
  auto operator<=>(const PathAddr&) const = default;
};

}  // namespace tunnel
