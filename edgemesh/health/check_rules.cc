#include "edgemesh/health/check_rules.h"

#include <algorithm>

namespace edgemesh {

using base::kube::ObjectName;
using base::kube::Service;
using base::kube::ServicePort;

static bool fits(const std::string& pattern, const std::string& text) { return pattern == "*" || pattern == text; }

static bool fits(const CheckRule& r, const Service& s) {
  const bool named = std::ranges::any_of(r.services, [&](const ObjectName& n) { return fits(n.ns, s.id.ns) && fits(n.name, s.id.name); });
  return named && std::ranges::all_of(r.labels, [&](const auto& l) {
           const auto it = s.labels.find(l.first);
           return it != s.labels.end() && it->second == l.second;
         });
}

static bool fits(const CheckRule& r, const ServicePort& p) {
  return r.ports.empty() ||
         std::ranges::any_of(r.ports, [&](const std::string& want) { return want == p.name || want == std::to_string(p.port); });
}

std::shared_ptr<const ProbeSpec> CheckRules::spec_for(const Service& s, const ServicePort& p) const {
  if (p.proto != base::Proto::tcp || s.kind != Service::Kind::cluster_ip) return nullptr;
  const auto rule = std::ranges::find_if(rules_, [&](const CheckRule& r) { return fits(r, s) && fits(r, p); });
  if (rule == rules_.end()) return nullptr;
  auto spec = std::make_shared<ProbeSpec>(rule->spec);
  if (spec->host.empty()) spec->host = s.id.name + "." + s.id.ns;
  return spec;
}

}  // namespace edgemesh
