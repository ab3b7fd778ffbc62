// What the rules must know of the node's interfaces.
#pragma once
#include <optional>
#include <set>
#include <string>

#include "base/core/result.h"
#include "base/net/addr.h"

namespace edgemesh::detail {

struct LinkFacts {
  // Interfaces that lead to other machines: whatever carries a default route (0/0, or its halves), every interface that is neither
  // a bridge nor a veth (hardware, VLANs, VPNs), and a bridge with such an interface in it. Not lo, not the TUN. DNS and proxy are
  // refused there. A veth or bridge without a default route is taken for pods.
  std::set<std::string> uplinks;
  // Interfaces on which a rewritten packet may leave the way it came (client and endpoint on one segment): all that are not
  // ports of a bridge, without lo and the TUN.
  std::set<std::string> hairpins;
  // Source addresses for VIP routes: one that other machines know (on an uplink), else any global one.
  std::optional<base::IpAddr> node_v4, node_v6;
  bool operator==(const LinkFacts&) const = default;
};

base::Result<LinkFacts> look_at_links(const std::string& tun);

}  // namespace edgemesh::detail
