#include "daemon/pod_index.h"

namespace edgemeshd {

bool PodIndex::exists(const base::kube::ServiceTable& table, std::string_view ns, const base::IpAddr& ip) {
  if (!made_ || generation_ != table.generation()) {
    known_.clear();
    table.each([&](const base::kube::ServicePtr& s) {
      for (const auto& port : s->ports)
        for (const auto& e : port.endpoints) known_.insert({e.ip, s->id.ns});
    });
    generation_ = table.generation();
    made_ = true;
  }
  return known_.count({ip, std::string(ns)}) > 0;
}

}  // namespace edgemeshd
