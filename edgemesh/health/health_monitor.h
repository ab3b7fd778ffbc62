// HealthMonitor: notices endpoints that died without any object being edited. Three sources feed lb/health, which decides:
//
//   the kernel   a SYN answered by RST (conntrack's destroy events), a SYN sent again because nobody answered, an ICMP error about
//                a flow, of UDP too (packet log)
//   the proxy    dials that failed or succeeded
//   checks       connects of our own to endpoints that are suspected or ejected
//
// While all is well none of them costs anything per connection here: filters in the kernel let only failures through. Evidence
// that was lost, or a kernel without the packet log, is made up for by looking through conntrack, at most once per second.
// Endpoints are known by address and protocol they are dialled at, so one of a peer's is its overlay address and export port.
// Control loop only.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/core/metrics.h"
#include "base/loop/loop.h"
#include "base/net/conntrack_events.h"
#include "base/net/packet_log.h"
#include "edgemesh/health/tcp_checks.h"
#include "lb/health/outlier.h"

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
    std::function<bool(const base::IpPort& frontend, const lb::Dialled&)> serves;            // ... that service of ours
    std::function<std::set<lb::Dialled>(const std::set<lb::Dialled>&)> still_dialled;        // those of them
    std::function<std::string(const lb::Dialled&)> on_change;  // its part in balancing changed -> the services, for people
    std::function<base::Result<void>(uint16_t log_group)> report_failures;                   // asks the kernel for the packet log
  };
  HealthMonitor(Config, Hooks, base::Loop&, base::Metrics&);

  // Begins to listen to the kernel. What the kernel lacks is logged, once, with what that means.
  void watch_kernel();
  void stop_watching();  // a successor listens: the kernel gives a packet log group to one process
  void on_dialled(const lb::Dialled&, std::optional<lb::Sign> failure);  // by the proxy
  const lb::OutlierDetector& outliers() const { return detector_; }

 private:
  base::Result<void> listen();
  void on_end(const base::conntrack::Entry&);
  void on_reported(base::ByteView packet);
  void on_sent_again(const base::conntrack::Tuple&);
  void on_undelivered(const base::Undelivered&);
  void look();
  void look_soon();
  void suspect(const base::IpPort& frontend, const lb::Dialled&, lb::Sign);
  void on_checked(const base::IpPort&, base::ConnectOutcome);
  void changed(const lb::Dialled&);
  void step();
  void rearm();
  void sweep();

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  lb::OutlierDetector detector_;
  TcpChecks checks_;
  std::unique_ptr<base::conntrack::UnansweredEvents> events_;
  std::unique_ptr<base::PacketLog> log_;
  std::unique_ptr<base::Timer> step_timer_, look_timer_, sweep_timer_;
  base::Instant window_{};       // of kLookupsPerWindow
  uint32_t lookups_ = 0;
  base::Instant looked_{}, listen_at_{};
  base::Counter* ejections_[3];
  base::Counter& checks_total_;
};

}  // namespace edgemesh
