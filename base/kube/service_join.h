// One service joined from its objects. Pure: everything it depends on is in the arguments.
#pragma once
#include <functional>
#include <vector>

#include "base/kube/objects.h"

namespace base::kube {

struct JoinInputs {
  const Object& service;
  std::vector<const Object*> slices;          // of that service, in name order
  const Object* endpoints = nullptr;          // read only when there are no slices
  const Object* rule = nullptr;               // the DestinationRule that binds
  std::function<std::string(const std::string& node)> zone_of_node;
};

struct Joined {
  Service service;
  std::string problem;  // what was not served as written, "" for nothing
};
Joined join_service(const JoinInputs&);

// The service that spec.host of a DestinationRule in `ns` names: "web", "web.shop", "web.shop.svc[.<domain>]".
// An empty name for hosts that are none (wildcards, empty).
ObjectName service_of_host(const std::string& host, const std::string& ns);

}  // namespace base::kube
