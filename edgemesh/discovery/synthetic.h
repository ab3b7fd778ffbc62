// SyntheticAddresses: node-local stand-ins for endpoints whose own address means something else here. Pod networks overlap
// between sites, so DNS must not answer a headless name with 172.17.0.9 of another node; it answers with an address of this
// node's that leads there (240.96.0.0/16, fd65:6467:656d:5::/64). The same endpoint gets the same address while it is in use,
// and again after a restart unless another one took it. Never seen outside the node.
#pragma once
#include <map>
#include <set>
#include <string>

#include "base/kube/service_table.h"

namespace edgemesh {

class SyntheticAddresses {
 public:
  const base::IpAddr& of(const std::string& node, const base::IpAddr& endpoint);  // made when there is none
  const std::pair<std::string, base::IpAddr>* endpoint_at(const base::IpAddr& synthetic) const;
  // Forgets those that no table entry keeps; what is forgotten may be given to another endpoint later.
  void keep_only(const std::set<std::pair<std::string, base::IpAddr>>&);
  size_t size() const { return by_endpoint_.size(); }

 private:
  using Key = std::pair<std::string, base::IpAddr>;
  std::map<Key, base::IpAddr> by_endpoint_;
  std::map<base::IpAddr, Key> by_address_;
};

}  // namespace edgemesh
