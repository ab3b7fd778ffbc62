// A ServiceTable in memory, for tests: put services in, look at it as everybody does.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/kube/service_table.h"

namespace base::kube::testing {

class MemoryTable final : public ServiceTable {
 public:
  uint64_t gen = 1;
  bool is_synced = true;
  std::map<ObjectName, ServicePtr> services;
  std::set<std::string> namespaces;
  std::map<std::string, NodeInfo> nodes_;
  std::map<std::string, MeshNodeInfo> mesh_nodes_;

  void put(Service s) {
    namespaces.insert(s.id.ns);
    auto id = s.id;
    services[id] = std::make_shared<Service>(std::move(s));
  }
  uint64_t generation() const override { return gen; }
  bool synced() const override { return is_synced; }
  mutable size_t shown = 0;  // services that were looked at whole
  ServicePtr find(const ObjectName& n) const override {
    ++shown;
    auto it = services.find(n);
    return it == services.end() ? nullptr : it->second;
  }
  void each(const std::function<void(const ServicePtr&)>& f) const override {
    for (auto& [id, s] : services) ++shown, f(s);
  }
  void each_id(const std::function<void(const ObjectName&, Service::Kind)>& f) const override {
    for (auto& [id, s] : services) f(id, s->kind);
  }
  std::vector<ServicePtr> at(Proto proto, const IpPort& endpoint) const override {
    std::vector<ServicePtr> out;
    for (auto& [id, s] : services)
      if (has_endpoint(*s, proto, endpoint)) ++shown, out.push_back(s);
    return out;
  }
  size_t size() const override { return services.size(); }
  bool has_namespace(const std::string& n) const override { return namespaces.contains(n); }
  const std::map<std::string, NodeInfo>& nodes() const override { return nodes_; }
  const std::map<std::string, MeshNodeInfo>& mesh_nodes() const override { return mesh_nodes_; }
};

}  // namespace base::kube::testing
