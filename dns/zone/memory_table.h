// Services for tests of the zone, and the table in memory they are put into.
#pragma once
#include "base/kube/memory_table_testing.h"

namespace dns::testing {

using base::kube::testing::MemoryTable;

inline base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

inline base::kube::Service cluster_service(const char* ns, const char* name, std::vector<const char*> ips, std::vector<std::pair<const char*, uint16_t>> ports) {
  base::kube::Service s;
  s.id = {ns, name};
  for (auto* a : ips) s.cluster_ips.push_back(ip(a));
  if (ips.empty()) s.kind = base::kube::Service::Kind::headless;
  for (auto& [n, p] : ports) {
    base::kube::ServicePort port;
    port.name = n;
    port.port = p;
    s.ports.push_back(port);
  }
  return s;
}

inline base::kube::Endpoint endpoint(const char* address, uint16_t port, const char* hostname = "", bool ready = true) {
  base::kube::Endpoint e;
  e.ip = ip(address);
  e.port = port;
  e.hostname = hostname;
  e.ready = ready;
  return e;
}

}  // namespace dns::testing
