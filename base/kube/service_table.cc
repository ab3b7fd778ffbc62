#include "base/kube/service_table.h"

#include <algorithm>

namespace base::kube {

std::vector<const Endpoint*> ServicePort::usable(Family family) const {
  std::vector<const Endpoint*> ready, fading;
  for (const Endpoint& e : endpoints) {
    if (e.ip.family() != family) continue;
    if (e.ready) ready.push_back(&e);
    else if (e.serving && e.terminating) fading.push_back(&e);
  }
  return ready.empty() ? fading : ready;
}

void ServiceTable::each_id(const std::function<void(const ObjectName&, Service::Kind)>& f) const {
  each([&](const ServicePtr& s) { f(s->id, s->kind); });
}

std::vector<ServicePtr> ServiceTable::at(Proto proto, const IpPort& endpoint) const {
  std::vector<ServicePtr> out;
  each([&](const ServicePtr& s) {
    if (has_endpoint(*s, proto, endpoint)) out.push_back(s);
  });
  return out;
}

bool has_endpoint(const Service& s, Proto proto, const IpPort& at) {
  for (const ServicePort& p : s.ports)
    for (const Endpoint& e : p.endpoints)
      if (p.proto == proto && e.port == at.port && e.ip == at.ip) return true;
  return false;
}

bool is_proxied(const Service& s, FilterMode mode, const std::vector<ObjectName>& excluded) {
  if (s.kind != Service::Kind::cluster_ip || s.cluster_ips.empty()) return false;
  if (std::find(excluded.begin(), excluded.end(), s.id) != excluded.end()) return false;
  const bool labelled = s.labels.contains("service.edgemesh.kubeedge.io/service-proxy-name");
  return labelled == (mode == FilterMode::if_label_does_not_exist);
}

}  // namespace base::kube
