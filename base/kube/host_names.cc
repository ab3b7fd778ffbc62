#include "base/kube/host_names.h"

#include <algorithm>

#include "base/core/limits.h"

namespace base::kube {

static const char* const kGatewayLabel = "gateway.networking.k8s.io/gateway-name";

static std::string lowered(std::string s) {
  if (s.ends_with('.')) s.pop_back();
  std::ranges::transform(s, s.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : char(c); });
  return s;
}

static bool is_under(std::string_view host, std::string_view domain) {
  return host.ends_with(domain) && (host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.');
}

// "*" is every name, "*.x" every name under x.
static bool fits(std::string_view host, std::string_view pattern) {
  if (pattern == "*") return true;
  return pattern.starts_with("*.") ? host.size() > pattern.size() - 1 && host.ends_with(pattern.substr(1)) : host == pattern;
}

static bool has_labels(const StringMap& labels, const StringMap& wanted) {
  return !wanted.empty() && std::ranges::all_of(wanted, [&](auto& kv) {
    const auto it = labels.find(kv.first);
    return it != labels.end() && it->second == kv.second;
  });
}

static HostsObject hosts_of(const PackedObject& o) {
  HostsObject h = std::visit(
      [](const auto& body) -> HostsObject {
        if constexpr (std::is_base_of_v<HostsObject, std::decay_t<decltype(body)>>) return body;
        else return {};
      },
      o.unpack().body);
  for (std::string& host : h.hosts) host = lowered(host);
  return h;
}

HostNames::Objects& HostNames::of(Kind k) { return objects_[k]; }

void HostNames::changed(const PackedObject& before, const PackedObject& after) {
  const PackedObject& any = after ? after : before;
  if (after) of(any.kind())[any.id()] = hosts_of(after);
  else of(any.kind()).erase(any.id());
  dirty_ = true;
  carriers_due_ |= any.kind() == Kind::istio_gateway || any.kind() == Kind::gateway;
}

bool HostNames::carries(const Service& s) const {
  if (s.kind != Service::Kind::cluster_ip) return false;
  if (s.labels.contains(kGatewayLabel)) return true;
  const auto istio = objects_.find(Kind::istio_gateway);
  return istio != objects_.end() && std::ranges::any_of(istio->second, [&](auto& g) { return has_labels(s.labels, g.second.selector); });
}

void HostNames::look_at(const ObjectName& id, const ServicePtr& s) {
  if (!s || !carries(*s)) {
    dirty_ |= carriers_.erase(id) > 0;
    return;
  }
  carriers_[id] = {s->labels, s->cluster_ips};
  dirty_ = true;
}

void HostNames::set_table(const ServiceTablePtr& table, const ServiceDiff& diff) {
  table_ = table;
  if (of(Kind::gateway).empty() && of(Kind::istio_gateway).empty()) return;
  if (carriers_due_) return;  // all of them are looked at when the list is asked for
  for (auto& id : diff.changed) look_at(id, table->find(id));
  for (auto& id : diff.removed) look_at(id, nullptr);
}

void HostNames::find_carriers() {
  if (!table_ || !std::exchange(carriers_due_, false)) return;
  carriers_.clear();
  table_->each([this](const ServicePtr& s) { look_at(s->id, s); });
}

std::set<IpAddr> HostNames::addresses_of(Kind kind, const ObjectName& id, const HostsObject& gateway) const {
  std::set<IpAddr> out;
  for (auto& [service, c] : carriers_) {
    const auto label = c.labels.find(kGatewayLabel);
    const bool is = kind == Kind::gateway ? service.ns == id.ns && label != c.labels.end() && label->second == id.name
                                          : has_labels(c.labels, gateway.selector);
    if (is) out.insert(c.addresses.begin(), c.addresses.end());
  }
  if (out.empty()) out.insert(gateway.addresses.begin(), gateway.addresses.end());
  return out;
}

void HostNames::add_gateways(Kind gateways, Kind routes, Found& found) {
  std::map<ObjectName, std::set<IpAddr>> addresses;
  for (auto& [id, g] : of(gateways)) {
    const auto& a = addresses[id] = addresses_of(gateways, id, g);
    if (a.empty()) continue;
    for (auto& host : g.hosts) found[host].insert(a.begin(), a.end());
  }
  for (auto& [id, r] : of(routes))
    for (auto& gateway : r.gateways) {
      const auto g = of(gateways).find(gateway);
      if (g == of(gateways).end() || addresses[gateway].empty()) continue;
      for (auto& host : r.hosts)
        if (g->second.hosts.empty() || std::ranges::any_of(g->second.hosts, [&](auto& pattern) { return fits(host, pattern); }))
          found[host].insert(addresses[gateway].begin(), addresses[gateway].end());
    }
}

std::vector<HostName> HostNames::list(const std::vector<std::string>& domains) {
  find_carriers();
  dirty_ = false;
  Found found;
  for (auto& [id, e] : of(Kind::service_entry))
    for (auto& host : e.hosts)
      if (!e.addresses.empty()) found[host].insert(e.addresses.begin(), e.addresses.end());
  add_gateways(Kind::gateway, Kind::http_route, found);
  add_gateways(Kind::istio_gateway, Kind::virtual_service, found);
  std::vector<HostName> out;
  for (auto& [host, addresses] : found) {
    if (out.size() == limits::kHostNamesMax) break;
    const bool wanted = std::ranges::any_of(domains, [&](auto& d) { return d == "." || is_under(host, lowered(d)); });
    if (wanted && host != "*" && host != "*.") out.push_back({host, {addresses.begin(), addresses.end()}});
  }
  return out;
}

}  // namespace base::kube
