// Addresses, routes and policy rules of the TUN. Everything carries netlink::kOurProtocol, which is how a later process (or
// `edgemeshctl cleanup`) finds it.
//
//   addresses   service_ips /32, overlay_ips /32 or /128 on the TUN
//   ip rules    to <overlay range> lookup <our table>; to <pod CIDR of a native peer> lookup <our table>
//   our table   <peer> dev TUN src <our overlay address> mtu <of the path>; unreachable <peer> with the last metric behind it, so that nothing of
//               the mesh leaves in clear when the TUN is gone
//   main table  <service CIDR or VIP> dev TUN src <node address> mtu, high metric: makes VIPs callable without a default route.
//               Not for a VIP that is local or on a connected network (an ExternalIP in the LAN keeps its other ports).
#pragma once
#include <map>
#include <set>

#include "base/net/netlink.h"
#include "edgemesh/intercept/intercept.h"
#include "edgemesh/intercept/links.h"

namespace edgemesh::detail {

class MeshRoutes {
 public:
  explicit MeshRoutes(const InterceptConfig& c) : config_(c) {}
  base::Result<void> install(const LinkFacts&);
  base::Result<void> add_peers(const std::vector<base::Cidr>&);
  base::Result<void> set_mtu(const std::vector<base::Cidr>&, uint16_t);
  base::Result<void> remove_peers(const std::vector<base::Cidr>&);
  base::Result<void> add_vips(const std::vector<base::IpAddr>&);
  base::Result<void> remove_vips(const std::vector<base::IpAddr>&);
  // What an earlier process left and we did not take over.
  enum class Stale : uint8_t { all, all_but_peers };
  base::Result<void> remove_stale(Stale);
  base::Result<void> new_facts(const LinkFacts&);  // VIP routes take a new source address

  // Everything any process of ours left in this namespace.
  static base::Result<void> remove_all(const std::string& tun);

 private:
  std::vector<base::netlink::Route> peer_routes(const std::vector<base::Cidr>&) const;
  bool in_overlay(const base::Cidr&) const;
  bool covered(const base::IpAddr&) const;  // by a routed service CIDR
  bool is_own_address(const base::IpAddr&) const;
  base::Result<void> route_to_tun(const std::vector<base::Cidr>&);
  const InterceptConfig& config_;
  LinkFacts facts_;
  std::set<base::Cidr> routed_;  // VIPs and service CIDRs in the main table
  std::set<base::Cidr> peers_;
  std::map<base::Cidr, uint16_t> mtu_;  // as told last, of peers present or past
};

}  // namespace edgemesh::detail
