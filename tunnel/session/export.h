// An export: an endpoint of one node made reachable for one peer, on the node's overlay address, for the length of a lease.
#pragma once
#include <chrono>
#include <compare>
#include <string>

#include "base/net/addr.h"

namespace tunnel {

struct ExportRequest {  // "make this endpoint of yours reachable for me"
  std::string service;  // ns/name: the peer checks the endpoint against its own service table
  base::Proto proto = base::Proto::tcp;
  base::IpPort endpoint;
  auto operator<=>(const ExportRequest&) const = default;
};

struct ExportGrant {
  base::IpPort at;      // on the peer's overlay address, of the endpoint's family
  std::chrono::seconds lease{300};
};

}  // namespace tunnel
