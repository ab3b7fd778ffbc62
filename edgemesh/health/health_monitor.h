// HealthMonitor: notices endpoints that died without any object being edited. Three sources feed lb/health, which decides:
//
//   the kernel   a SYN answered by RST (conntrack's destroy events), a SYN sent again because nobody answered, an ICMP error about
//                a flow, of UDP too (packet log)
//                Silence of UDP leaves no sign: lb/health/silent_flows.h finds it in conntrack, while UDP services have a choice
//   the proxy    dials that failed or succeeded
//   checks       connects of our own to endpoints that are suspected or ejected; what the configuration wants asked all the time
//                (active_checks.h)
//
// While all is well none but the last costs anything here: filters in the kernel let only failures through. Evidence
// that was lost, or a kernel without the packet log, is made up for by looking through conntrack, at most once per second.
// Endpoints are known by address and protocol they are dialled at, so one of a peer's is its overlay address and export port.
// Control loop only.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/loop/loop.h"
#include "base/net/conntrack_events.h"
#include "base/net/packet_log.h"
#include "edgemesh/health/active_checks.h"
#include "edgemesh/health/tcp_checks.h"
#include "lb/health/outlier.h"
#include "lb/health/silent_flows.h"

namespace edgemesh {

class HealthMonitor {
 public:
  struct Config {
    lb::OutlierConfig outliers;
    uint32_t socket_mark = 0;
    base::Duration check_timeout = std::chrono::milliseconds(700);
    base::Duration sweep_every = std::chrono::seconds(10);  // endpoints nobody dials any more are forgotten
    uint16_t log_group = 10496;
  };
  struct Hooks {
    std::function<bool(const base::IpPort& frontend, const lb::Dialled&)> serves;      // ... that service of ours
    std::function<std::set<lb::Dialled>(const std::set<lb::Dialled>&)> still_dialled;  // those of them
    std::function<std::string(const lb::Dialled&)> on_change;               // its part in balancing changed -> the services, for people
    std::function<base::Result<void>(uint16_t log_group)> report_failures;  // asks the kernel for the packet log
    std::function<bool(base::Family)> has_udp = nullptr;                    // frontends of UDP in the kernel
  };
  HealthMonitor(Config, Hooks, base::Loop&, base::Rng&, base::Metrics&);

  // Begins to listen to the kernel. What the kernel lacks is logged, once, with what that means.
  void watch_kernel();
  void stop_watching();  // a successor listens: the kernel gives a packet log group to one process
  void on_dialled(const lb::Dialled&, std::optional<lb::Sign> failure);  // by the proxy
  // Which endpoints of the service are checked all the time, and how; none: no longer.
  void set_checked(const std::string& service, std::vector<ProbeTarget> targets) { active_.set_targets(service, std::move(targets)); }
  const lb::OutlierDetector& outliers() const { return detector_; }

 private:
  base::Result<void> listen();
  void on_end(const base::conntrack::Entry&);
  void on_reported(base::ByteView packet);
  void on_sent_again(const base::conntrack::Tuple&);
  void on_undelivered(const base::Undelivered&);
  void look();
  void look_soon();
  void look_at_udp();
  std::vector<lb::Flow> udp_flows(bool answered, const std::set<base::IpPort>* frontends) const;
  void suspect(const base::IpPort& frontend, const lb::Dialled&, lb::Sign);
  void on_checked(const base::IpPort&, base::ConnectOutcome);
  void on_probed(const base::IpPort&, std::optional<lb::Sign> failure, std::string detail);
  ActiveChecks::Hooks active_hooks();
  void changed(const lb::Dialled&);
  void step();
  void rearm();
  void sweep();

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  lb::OutlierDetector detector_;
  TcpChecks checks_;
  ActiveChecks active_;
  std::unique_ptr<base::conntrack::UnansweredEvents> events_;
  std::unique_ptr<base::PacketLog> log_;
  lb::SilentFlows silent_;
  base::Instant udp_began_{};
  bool udp_looked_ = false;
  std::unique_ptr<base::Timer> step_timer_, look_timer_, sweep_timer_, udp_timer_;
  base::Instant window_{};  // of kLookupsPerWindow
  uint32_t lookups_ = 0;
  base::Instant looked_{}, listen_at_{};
  base::Counter* ejections_[std::size(lb::kSigns)];
  base::Counter &checks_total_, &udp_looks_;
};

}  // namespace edgemesh
