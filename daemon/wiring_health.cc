// Which endpoints take no new connections: what the configuration says of it, and whom it concerns.
#include "base/conf/daemon_config.h"
#include "daemon/daemon.h"

namespace edgemeshd {

using base::IpPort;
using base::kube::ObjectName;
using edgemesh::CheckRule;
using edgemesh::ProbeSpec;

// The configuration was checked: each text has the form it must have.
static CheckRule check_rule(const base::conf::HealthCheckConfig& from) {
  CheckRule r;
  for (const std::string& s : from.services) r.services.push_back({s.substr(0, s.find('/')), s.substr(s.find('/') + 1)});
  for (const std::string& l : from.labels) r.labels.push_back({l.substr(0, l.find('=')), l.substr(l.find('=') + 1)});
  r.ports = from.ports;
  r.spec.kind = from.type == base::conf::HealthCheckType::http ? ProbeSpec::Kind::http : ProbeSpec::Kind::tcp;
  if (!from.path.empty()) r.spec.path = from.path;
  r.spec.host = from.host;
  if (!from.status.empty()) r.spec.good.clear();
  for (const std::string& s : from.status)
    if (auto range = base::conf::parse_status_range(s)) r.spec.good.push_back({range->first, range->second});
  r.spec.interval = from.interval;
  r.spec.timeout = from.timeout;
  r.spec.thresholds = {from.failures, from.successes};
  return r;
}

void Daemon::make_health() {
  if (!intercept_ || !config_.mesh.health.enabled) return;
  edgemesh::HealthMonitor::Config c;
  c.outliers.ejection_time = config_.mesh.health.ejection_time;
  c.outliers.panic_percent = config_.mesh.health.panic_threshold;
  c.socket_mark = kSocketMark;
  edgemesh::HealthMonitor::Hooks h;
  h.serves = [this](const IpPort& frontend, const lb::Dialled& dialled) { return discovery_->serves(frontend, dialled); };
  h.still_dialled = [this](const std::set<lb::Dialled>& some) { return discovery_->still_dialled(some); };
  h.on_change = [this](const lb::Dialled& dialled) {
    std::string names;
    for (const ObjectName& n : discovery_->health_changed(dialled)) names += (names.empty() ? "" : ", ") + n.str();
    return names;
  };
  h.report_failures = [this](uint16_t group) { return intercept_->report_failures(group); };
  h.has_udp = [this](base::Family f) { return discovery_->has_udp(f); };
  std::vector<CheckRule> rules;
  for (const auto& check : config_.mesh.health.checks) rules.push_back(check_rule(check));
  check_rules_ = edgemesh::CheckRules(std::move(rules));
  health_ = std::make_unique<edgemesh::HealthMonitor>(c, std::move(h), loop_, rng_, metrics_);
  health_->watch_kernel();
}

void Daemon::set_checked(const ObjectName& name) {
  std::vector<edgemesh::ProbeTarget> targets;
  const base::kube::ServicePort* of = nullptr;
  std::shared_ptr<const ProbeSpec> spec;
  discovery_->each_dialled(name, [&](const base::kube::Service& s, const base::kube::ServicePort& p, const IpPort& at) {
    if (std::exchange(of, &p) != &p) spec = check_rules_.spec_for(s, p);
    if (spec) targets.push_back({at, spec});
  });
  health_->set_checked(name.str(), std::move(targets));
}

}  // namespace edgemeshd
