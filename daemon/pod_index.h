// PodIndex: whether a namespace has an endpoint of that address (dns.pods: verified). Made anew when the table has changed and
// somebody asks.
#pragma once
#include <set>
#include <string>

#include "base/kube/service_table.h"

namespace edgemeshd {

class PodIndex {
 public:
  bool exists(const base::kube::ServiceTable&, std::string_view ns, const base::IpAddr&);

 private:
  uint64_t generation_ = 0;
  bool made_ = false;
  std::set<std::pair<base::IpAddr, std::string>> known_;
};

}  // namespace edgemeshd
