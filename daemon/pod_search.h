// PodSearch: which clients are pods of this node that want their whole search path answered at once (dns.autopath), and in which
// namespace they are. Told of every change of a Pod. An address is nobody's that two pods of different minds or namespaces have (a pod
// that ended may not be known to have), and a pod on its host's network has none of its own. One loop.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "base/conf/daemon_config.h"
#include "base/kube/packed.h"

namespace edgemeshd {

class PodSearch {
 public:
  static constexpr const char* kLabel = "dns.edgemeshd.io/autopath";  // "true" or "false"

  explicit PodSearch(std::string node) : node_(std::move(node)) {}
  void choose(base::conf::DnsAutopath who) { who_ = who; }
  void changed(const base::kube::PackedObject& before, const base::kube::PackedObject& after);  // one of them may be none
  const std::string* namespace_of(const base::IpAddr& client) const;  // null: not one of them. Valid until changed(). No allocation

 private:
  struct Pod {
    base::kube::ObjectName id;
    std::string label;
  };
  bool wants(const Pod&) const;
  bool counts(const base::kube::PodObject&) const;
  void forget(const base::kube::Object&);
  std::string node_;
  base::conf::DnsAutopath who_ = base::conf::DnsAutopath::none;
  std::unordered_map<base::IpAddr, std::vector<Pod>> at_;
};

}  // namespace edgemeshd
