// UDP multicast on one link: a socket joined to a group on one interface only, and its datagrams with what must be known of each to
// tell a neighbour's from others (RFC 6762 §11: the hop limit). Other programs of the host may hold the same port.
#pragma once
#include <optional>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/net/addr.h"

namespace base {

struct MulticastSpec {
  IpPort group;        // its family decides; for IPv6 a group of link scope
  int interface = 0;   // index
  std::string device;  // its name
  uint32_t mark = 0;   // SO_MARK, 0: none (needs NET_ADMIN)
};
// Sends and receives on that interface alone, with hop limit 255; does not hear itself.
Result<UniqueFd> multicast_socket(const MulticastSpec&);

struct MulticastDatagram {
  IpPort from;
  int hop_limit = 0;  // 0: the kernel did not tell
  size_t size = 0;    // in the buffer; longer ones were cut: truncated
  bool truncated = false;
};
// nullopt: nothing is waiting, or the socket failed.
std::optional<MulticastDatagram> receive_multicast(int fd, MutByteView buffer);
// To the group. Best effort: false when the kernel did not take it.
bool send_multicast(int fd, const MulticastSpec&, ByteView);

}  // namespace base
