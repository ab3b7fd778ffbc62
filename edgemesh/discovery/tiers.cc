#include "edgemesh/discovery/tiers.h"

#include <algorithm>

namespace edgemesh {

using base::kube::Endpoint;
using base::kube::ServiceTable;

const char* to_string(Tier t) {
  switch (t) {
    case Tier::kernel: return "kernel";
    case Tier::native: return "native";
    case Tier::tunnel: return "tunnel";
    case Tier::proxy: return "proxy";
  }
  return "?";
}

static bool in_any(const std::vector<base::Cidr>& cidrs, const base::IpAddr& ip) {
  return std::any_of(cidrs.begin(), cidrs.end(), [&](const base::Cidr& c) { return c.contains(ip); });
}

// The address is that node's alone: its own address, or inside its pod CIDR and in no other node's.
static bool belongs_to_node_alone(const Endpoint& e, const ServiceTable& t) {
  bool its_own = false;
  for (const auto& [name, node] : t.nodes()) {
    bool here = in_any(node.pod_cidrs, e.ip) || std::count(node.internal_ips.begin(), node.internal_ips.end(), e.ip);
    if (here && name != e.node) return false;
    its_own |= here;
  }
  for (const auto& [name, node] : t.mesh_nodes()) {
    bool here = in_any(node.pod_cidrs, e.ip);
    if (here && name != e.node) return false;
    its_own |= here;
  }
  return its_own;
}

TierChoice choose_tier(const Endpoint& e, const ServiceTable& t, const TierInput& in) {
  if (e.node.empty()) return {Tier::kernel, "the endpoint names no node: dialled from here"};
  if (e.node == in.own_node) return {Tier::kernel, "on this node"};
  if (!in.tunnel_enabled) return {Tier::kernel, "the tunnel is off: dialled from here"};

  if (in.native && in_any(in.certified(e.node), e.ip)) return {Tier::native, "in the certified pod CIDR of node " + e.node};

  auto mesh_node = t.mesh_nodes().find(e.node);
  const std::string network = mesh_node == t.mesh_nodes().end() ? "" : mesh_node->second.network;
  if (network.empty() || network != in.own_network)
    return {Tier::proxy, "on node " + e.node + (network.empty() ? ", network unknown" : ", network " + network)};
  if (!belongs_to_node_alone(e, t)) return {Tier::proxy, "on node " + e.node + " in our network, but the address is not that node's alone"};
  if (!in.routed_off_host(e.ip)) return {Tier::proxy, "on node " + e.node + " in our network, but this host has no route off itself to it"};
  return {Tier::kernel, "on node " + e.node + " in our network " + network + ", routed by the kernel"};
}

}  // namespace edgemesh
