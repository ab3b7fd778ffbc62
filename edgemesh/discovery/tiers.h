// Which way to an endpoint: the decision, with its reason in words for `edgemeshctl explain`. Pure.
//
//   kernel   the node routes to it: dialled as it is
//   native   in a peer's certified pod CIDR, unique in the mesh: dialled as it is, carried by the tunnel
//   tunnel   on a node reached through the mesh, export granted: dialled at overlay:port
//   proxy    the same, export not known yet: the daemon makes first contact
#pragma once
#include <functional>
#include <string>

#include "base/kube/service_table.h"

namespace edgemesh {

enum class Tier : uint8_t { kernel, native, tunnel, proxy };
const char* to_string(Tier);

struct TierInput {
  std::string own_node;
  std::string own_network;   // "": unknown, shared with nobody
  bool native = false;
  bool tunnel_enabled = true;
  // True when the kernel would send to that address by an interface that is not a bridge of this host's.
  std::function<bool(const base::IpAddr&)> routed_off_host;
  // Certified pod CIDRs of a peer that is up (native mode); empty otherwise.
  std::function<std::vector<base::Cidr>(const std::string& peer)> certified;
};

struct TierChoice {
  Tier tier = Tier::kernel;   // proxy stands for "through the mesh": the caller makes it tunnel once an export is granted
  std::string why;
};

TierChoice choose_tier(const base::kube::Endpoint&, const base::kube::ServiceTable&, const TierInput&);

}  // namespace edgemesh
