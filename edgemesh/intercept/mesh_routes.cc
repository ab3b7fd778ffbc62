#include "edgemesh/intercept/mesh_routes.h"

#include <algorithm>

#include "base/net/netlink.h"
#include "edgemesh/intercept/insist.h"
#include "edgemesh/intercept/skeleton.h"

namespace edgemesh::detail {

using base::Cidr;
using base::Family;
using base::IpAddr;
namespace nl = base::netlink;

namespace {

constexpr uint32_t kVipMetric = 20000;
constexpr uint32_t kMtuLeast6 = 1280;             // RFC 8200, section 5
constexpr uint32_t kBackstopMetric = 4278198272;  // the last: every other route is better
constexpr Family kFamilies[] = {Family::v4, Family::v6};

// An IPv6-less kernel has no IPv6 rules or routes to list or delete.
template <class T>
std::vector<T> or_none(base::Result<std::vector<T>> r) { return r ? std::move(*r) : std::vector<T>{}; }

}  // namespace

std::vector<nl::Route> MeshRoutes::peer_routes(const std::vector<Cidr>& to) const {
  std::vector<nl::Route> out;
  for (const Cidr& p : to) {
    auto known = mtu_.find(p);
    uint32_t mtu = known == mtu_.end() ? kRouteMtuStart : known->second;
    if (p.ip.is_v6()) mtu = std::max(mtu, kMtuLeast6);
    out.push_back({.to = p, .table = config_.route_table, .metric = kBackstopMetric, .unreachable = true});
    out.push_back({.to = p, .src = own(config_.overlay_ips, p.ip.family()), .dev = config_.tun, .table = config_.route_table, .mtu = mtu});
  }
  return out;
}

base::Result<void> MeshRoutes::set_mtu(const std::vector<Cidr>& to, uint16_t mtu) {
  std::vector<Cidr> routed;
  for (const Cidr& p : to) {
    mtu_[p] = mtu;
    if (peers_.contains(p)) routed.push_back(p);
  }
  return nl::add_routes(peer_routes(routed));
}

bool MeshRoutes::in_overlay(const Cidr& c) const {
  for (auto& o : config_.overlay_cidrs)
    if (o.contains(c)) return true;
  return false;
}

bool MeshRoutes::covered(const IpAddr& a) const {
  for (auto& s : config_.service_cidrs)
    if (s.contains(a)) return true;
  return false;
}

base::Result<void> MeshRoutes::install(const LinkFacts& facts) {
  facts_ = facts;
  for (auto& ip : config_.service_ips) EM_TRY(nl::add_address(config_.tun, Cidr::host(ip)));
  for (auto& ip : config_.overlay_ips) EM_TRY(nl::add_address(config_.tun, Cidr::host(ip)));
  EM_TRY(nl::set_link_up(config_.tun));
  for (auto& o : config_.overlay_cidrs)
    if (own(config_.overlay_ips, o.ip.family())) EM_TRY(nl::add_rule({o, config_.route_table, config_.rule_priority}));
  return config_.program_routes ? route_to_tun(config_.service_cidrs) : base::Result<void>();
}

base::Result<void> MeshRoutes::add_peers(const std::vector<Cidr>& to) {
  EM_TRY(nl::add_routes(peer_routes(to)));
  peers_.insert(to.begin(), to.end());
  for (auto& p : to)
    if (!in_overlay(p)) EM_TRY(nl::add_rule({p, config_.route_table, config_.rule_priority}));
  return {};
}

base::Result<void> MeshRoutes::remove_peers(const std::vector<Cidr>& to) {
  for (auto& p : to) peers_.erase(p);
  for (auto& p : to)
    if (!in_overlay(p)) EM_TRY(nl::delete_rule({p, config_.route_table, config_.rule_priority}));
  auto routes = peer_routes(to);
  for (auto& r : routes) r.src.reset();
  return nl::delete_routes(routes);
}

base::Result<void> MeshRoutes::route_to_tun(const std::vector<Cidr>& list) {
  std::vector<nl::Route> routes;
  for (auto& c : list) {
    routes.push_back({.to = c, .src = c.ip.is_v4() ? facts_.node_v4 : facts_.node_v6, .dev = config_.tun, .metric = kVipMetric, .mtu = kRouteMtuStart});
    routed_.insert(c);
  }
  return nl::add_routes(routes);
}

base::Result<void> MeshRoutes::add_vips(const std::vector<IpAddr>& list) {
  if (!config_.program_routes) return {};
  std::vector<IpAddr> asked;
  for (auto& ip : list)
    if (!covered(ip)) asked.push_back(ip);
  const auto paths = nl::paths_to(asked);
  std::vector<Cidr> wanted;
  for (size_t i = 0; i < asked.size(); ++i) {
    const bool connected = paths[i] && !paths[i]->via && paths[i]->dev != config_.tun;
    if (!connected) wanted.push_back(Cidr::host(asked[i]));  // else local, or a neighbour's address
  }
  return route_to_tun(wanted);
}

base::Result<void> MeshRoutes::remove_vips(const std::vector<IpAddr>& list) {
  std::vector<nl::Route> gone;
  for (auto& ip : list)
    if (routed_.erase(Cidr::host(ip))) gone.push_back({.to = Cidr::host(ip), .dev = config_.tun, .metric = kVipMetric});
  return nl::delete_routes(gone);
}

base::Result<void> MeshRoutes::new_facts(const LinkFacts& facts) {
  bool other_source = facts.node_v4 != facts_.node_v4 || facts.node_v6 != facts_.node_v6;
  facts_ = facts;
  if (!other_source) return {};
  return route_to_tun({routed_.begin(), routed_.end()});
}

bool MeshRoutes::is_own_address(const IpAddr& a) const {
  return std::ranges::count(config_.service_ips, a) || std::ranges::count(config_.overlay_ips, a);
}

base::Result<void> MeshRoutes::remove_stale(Stale what) {
  auto is_stale = [&](const Cidr& to, uint32_t table) {
    if (table != config_.route_table) return !routed_.contains(to);
    return what == Stale::all && !peers_.contains(to);
  };
  for (Family f : kFamilies) {
    for (auto& r : or_none(nl::rules(f))) {
      bool ours = std::ranges::count(config_.overlay_cidrs, r.to) && own(config_.overlay_ips, f);
      bool peer = peers_.contains(r.to) || what == Stale::all_but_peers;
      if (r.protocol == nl::kOurProtocol && !ours && !peer) EM_TRY(nl::delete_rule(r));
    }
    std::vector<nl::Route> stale;
    for (auto& r : or_none(nl::routes(f)))
      if (r.protocol == nl::kOurProtocol && is_stale(r.to, r.table)) stale.push_back(r);
    EM_TRY(nl::delete_routes(stale));
  }
  EM_TRY_ASSIGN(auto link, nl::link(config_.tun));
  for (auto& a : or_none(nl::addresses()))
    if (a.link == link.index && !(a.ip.is_v6() && a.ip.is_link_local()) && !is_own_address(a.ip)) EM_TRY(nl::delete_address(config_.tun, {a.ip, a.prefix}));
  return {};
}

base::Result<void> MeshRoutes::remove_all(const std::string& tun) {
  for (Family f : kFamilies) {
    for (auto& r : or_none(insist([&] { return nl::rules(f); })))
      if (r.protocol == nl::kOurProtocol) EM_TRY(nl::delete_rule(r));
    std::vector<nl::Route> ours;
    for (auto& r : or_none(insist([&] { return nl::routes(f); })))
      if (r.protocol == nl::kOurProtocol) ours.push_back(r);
    EM_TRY(nl::delete_routes(ours));
  }
  auto link = insist([&] { return nl::link(tun); });
  if (!link) return {};
  for (auto& a : or_none(insist([] { return nl::addresses(); })))
    if (a.link == link->index && !(a.ip.is_v6() && a.ip.is_link_local())) EM_TRY(nl::delete_address(tun, {a.ip, a.prefix}));
  return {};
}

}  // namespace edgemesh::detail
