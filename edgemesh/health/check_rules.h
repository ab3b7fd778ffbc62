// CheckRules: mesh.health.checks as a function of a service: which of its ports are checked, and how. The first rule that fits a port
// counts, as in any list that is read from above. Pure.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/kube/service_table.h"
#include "edgemesh/health/probe.h"

namespace edgemesh {

struct CheckRule {
  std::vector<base::kube::ObjectName> services;             // either part may be "*"
  std::vector<std::pair<std::string, std::string>> labels;  // the service carries all of them
  std::vector<std::string> ports;                           // names or numbers; empty: every one
  ProbeSpec spec;                                           // host "": the service's own name
};

class CheckRules {
 public:
  explicit CheckRules(std::vector<CheckRule> rules) : rules_(std::move(rules)) {}
  bool empty() const { return rules_.empty(); }
  // nullptr: the port is not checked. Only TCP ports are.
  std::shared_ptr<const ProbeSpec> spec_for(const base::kube::Service&, const base::kube::ServicePort&) const;

 private:
  std::vector<CheckRule> rules_;
};

}  // namespace edgemesh
