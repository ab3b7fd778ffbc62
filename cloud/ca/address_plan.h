// Which overlay addresses a node gets. Candidates come from a hash of the node's name, so that a mesh whose records were lost
// gives the same answers again; the CA's records arbitrate collisions. Pure.
//   IPv4: inside the overlay range (100.64.0.0/10) without 100.64.0.0/24 (our own service addresses) and 100.100.0.0/16 (a
//         large cloud's resolvers), never ending in .0 or .255.
//   IPv6: inside a ULA /64 (RFC 4193) derived from the trust domain.
#pragma once
#include <functional>
#include <string_view>

#include "base/core/result.h"
#include "base/net/addr.h"

namespace cloud {

using IsTaken = std::function<bool(const base::IpAddr&)>;

base::Cidr default_overlay4();
base::Cidr overlay6_of(std::string_view trust_domain);
// Usable for a node: inside the range and not in a reserved part of it.
base::Result<void> check_overlay_address(const base::IpAddr&, const base::Cidr& overlay4, const base::Cidr& overlay6);
base::Result<base::IpAddr> pick_overlay4(const base::Cidr& range, std::string_view node, const IsTaken&);
base::Result<base::IpAddr> pick_overlay6(const base::Cidr& range, std::string_view node, const IsTaken&);

}  // namespace cloud
