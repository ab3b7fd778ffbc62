// Discovery's dealings with health: endpoints by the address they are dialled at.
#include <algorithm>

#include "edgemesh/discovery/discovery.h"

namespace edgemesh {

using base::IpPort;
using base::Proto;
using base::kube::Endpoint;
using base::kube::ObjectName;
using base::kube::Service;
using base::kube::ServicePort;

static constexpr size_t kSearchedMax = 16;  // addresses: beyond that it takes less to look at every service once

// Nothing for endpoints that have no address of their own here yet (no export): those are the proxy's, which tries others.
std::optional<IpPort> Discovery::dialled_at(const Service& s, Proto proto, const Endpoint& e) const {
  if (!through_mesh(e)) return IpPort{e.ip, e.port};
  auto r = remotes_.find({e.node, request_of(s.id, proto, e)});
  if (r == remotes_.end() || r->second.state != State::granted) return std::nullopt;
  return r->second.grant.at;
}

const lb::Outlier* Discovery::outlier(const Service& s, Proto proto, const Endpoint& e) const {
  if (!config_.health || config_.health->quiet()) return nullptr;
  auto at = dialled_at(s, proto, e);
  return at ? config_.health->find({*at, proto}) : nullptr;
}

std::vector<uint32_t> Discovery::shares_of(const Service& s, const ServicePort& p, const std::vector<const Endpoint*>& endpoints) const {
  if (!config_.health || config_.health->quiet()) return {};
  std::vector<const lb::Outlier*> outliers;
  for (const Endpoint* e : endpoints) outliers.push_back(outlier(s, p.proto, *e));
  return lb::shares(outliers, config_.health->panic_percent());
}

std::string Discovery::health_words(const Service& s, const ServicePort& p, const Endpoint& e) const {
  const lb::Outlier* o = outlier(s, p.proto, e);
  std::string text = lb::words(o, loop_.now());
  if (!o || o->state != lb::Outlier::State::ejected) return text;
  auto usable = p.usable(e.ip.family());
  auto shares = shares_of(s, p, usable);
  for (size_t i = 0; i < usable.size(); ++i)
    if (*usable[i] == e && shares[i]) return text + "; keeps its share, too few others are left";
  return text;
}

// Without asking for tiers, which is dear: an address that is dialled another way as well does no harm here.
std::vector<ObjectName> Discovery::health_changed(const lb::Dialled& dialled) {
  std::vector<ObjectName> names;
  if (!table_) return names;
  for (const auto& s : table_->at(dialled.proto, dialled.at)) names.push_back(s->id);
  for (const auto& [key, remote] : remotes_)
    if (remote.state == State::granted && key.second.proto == dialled.proto && remote.grant.at == dialled.at)
      if (size_t slash = key.second.service.find('/'); slash != std::string::npos)
        names.push_back({key.second.service.substr(0, slash), key.second.service.substr(slash + 1)});
  for (const ObjectName& n : names) mark_dirty(n);
  return names;
}

std::set<lb::Dialled> Discovery::still_dialled(const std::set<lb::Dialled>& asked) const {
  std::set<lb::Dialled> out;
  if (!table_) return out;
  auto collect = [&](const Service& s) {
    for (const ServicePort& p : s.ports)
      for (const Endpoint& e : p.endpoints)
        if (lb::Dialled at{{e.ip, e.port}, p.proto}; asked.count(at)) out.insert(at);
  };
  if (asked.size() > kSearchedMax) table_->each([&](const base::kube::ServicePtr& s) { collect(*s); });
  else
    for (const lb::Dialled& a : asked)
      if (!table_->at(a.proto, a.at).empty()) out.insert(a);
  for (const auto& [key, remote] : remotes_)
    if (remote.state == State::granted && asked.count({remote.grant.at, key.second.proto})) out.insert({remote.grant.at, key.second.proto});
  return out;
}

void Discovery::each_dialled(const ObjectName& name, const Visit& visit) const {
  auto service = table_ ? table_->find(name) : nullptr;
  if (!service || !is_ours(*service)) return;
  for (const ServicePort& p : service->ports)
    for (base::Family f : {base::Family::v4, base::Family::v6})
      for (const Endpoint* e : p.usable(f))
        if (auto at = dialled_at(*service, p.proto, *e)) visit(*service, p, *at);
}

bool Discovery::serves(const IpPort& frontend, const lb::Dialled& dialled) const {
  auto name = owner({frontend.ip, dialled.proto, frontend.port});
  auto service = name && table_ ? table_->find(*name) : nullptr;
  if (!service) return false;
  for (const ServicePort& p : service->ports)
    for (const Endpoint& e : p.endpoints)
      if (p.proto == dialled.proto && dialled_at(*service, p.proto, e) == dialled.at) return true;
  return false;
}

}  // namespace edgemesh
