// ActiveChecks: probes the endpoints of services for which mesh.health.checks asks for it, each at its own pace for as long as it is
// dialled from here. What a probe finds goes to the same judge as what clients meet (lb/health). Probes are spread in time: the first
// one of an endpoint somewhere in its interval, the next ones a tenth of it earlier or later; so many at once, the others wait in order.
// Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/loop/loop.h"
#include "edgemesh/health/probe.h"

namespace edgemesh {

struct ProbeTarget {
  base::IpPort at;                        // where it is dialled
  std::shared_ptr<const ProbeSpec> spec;  // equal ones may be shared
  bool operator==(const ProbeTarget& o) const { return at == o.at && (spec == o.spec || *spec == *o.spec); }
};

class ActiveChecks {
 public:
  struct Hooks {
    std::function<void(const base::IpPort&, lb::OutlierDetector::Thresholds)> watch;  // probes of it begin, or have other thresholds
    std::function<void(const base::IpPort&)> unwatch;
    std::function<void(const base::IpPort&, std::optional<lb::Sign> failure, std::string detail)> on_probed;
  };
  ActiveChecks(base::Loop&, base::Rng&, base::Metrics&, uint32_t socket_mark, Hooks);
  // All targets of a service; none: it is gone, or nobody asks for checks of it. An endpoint of two services is probed as the first
  // one by name wants it.
  void set_targets(const std::string& service, std::vector<ProbeTarget>);
  void stop();
  size_t size() const { return probed_.size(); }

 private:
  struct Probed {
    std::shared_ptr<const ProbeSpec> spec;
    base::Instant next{};
    std::unique_ptr<Probe> probe;
  };
  void take_over();
  void schedule(const base::IpPort&, Probed&, base::Instant);
  void drop(std::map<base::IpPort, Probed>::iterator);
  void step();
  void on_done(const base::IpPort&, base::Instant began, ProbeOutcome);
  void rearm();

  base::Loop& loop_;
  base::Rng& rng_;
  uint32_t mark_;
  Hooks hooks_;
  std::map<std::string, std::vector<ProbeTarget>> targets_;
  std::map<base::IpPort, Probed> probed_;
  std::set<std::pair<base::Instant, base::IpPort>> due_;  // those not under way
  size_t under_way_ = 0, left_out_ = 0;
  bool stopped_ = false;
  std::unique_ptr<base::Timer> take_over_timer_, step_timer_;
  base::Counter &good_, &bad_, &void_;
};

}  // namespace edgemesh
