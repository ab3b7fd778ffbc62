#include "edgemesh/intercept/links.h"

#include <map>

#include "base/net/netlink.h"

namespace edgemesh::detail {

using base::Family;
namespace nl = base::netlink;

namespace {

base::Result<std::set<std::string>> default_route_links() {
  std::set<std::string> out;
  for (Family f : {Family::v4, Family::v6}) {
    auto routes = nl::routes(f);
    if (!routes) return tl::unexpected(routes.error());
    for (auto& r : *routes)
      if (r.to.len <= 1 && !r.unreachable && !r.dev.empty()) out.insert(r.dev);
  }
  return out;
}

bool for_pods(const nl::Link& l) { return l.kind == "bridge" || l.kind == "veth"; }

void choose_source(LinkFacts& facts, const nl::Address& a, bool on_uplink, std::map<Family, bool>& settled) {
  auto& slot = a.ip.is_v4() ? facts.node_v4 : facts.node_v6;
  if (slot && (!on_uplink || settled[a.ip.family()])) return;
  slot = a.ip;
  settled[a.ip.family()] = on_uplink;
}

}  // namespace

base::Result<LinkFacts> look_at_links(const std::string& tun) {
  LinkFacts facts;
  EM_TRY_ASSIGN(auto links, nl::links());
  EM_TRY_ASSIGN(auto with_default, default_route_links());
  EM_TRY_ASSIGN(auto addresses, nl::addresses());
  std::map<int, const nl::Link*> by_index;
  for (auto& l : links) by_index[l.index] = &l;
  for (auto& l : links) {
    if (l.loopback || l.name == tun) continue;
    if (!l.master) facts.hairpins.insert(l.name);
    if (!for_pods(l) || with_default.contains(l.name)) facts.uplinks.insert(l.name);
    bool tap = l.kind == "tun";  // a virtual machine on the bridge
    if (!for_pods(l) && !tap && l.master && by_index.contains(l.master)) facts.uplinks.insert(by_index[l.master]->name);
  }
  std::map<Family, bool> settled;
  for (auto& a : addresses) {
    auto l = by_index.find(a.link);
    if (l == by_index.end() || l->second->loopback || l->second->name == tun || !a.global) continue;
    choose_source(facts, a, facts.uplinks.contains(l->second->name), settled);
  }
  return facts;
}

}  // namespace edgemesh::detail
