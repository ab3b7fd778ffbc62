// L4Proxy: TCP connections the kernel cannot place yet (first contact with a remote endpoint). Accepts what the kernel sends
// here, learns the frontend from SO_ORIGINAL_DST, tries the endpoints in order until one answers or the budget is spent, then
// pumps. Accepting never waits for dialling; one dead endpoint delays only the connections that tried it.
//
// Its own sockets carry the daemon's mark, so they are never intercepted. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/addr.h"
#include "edgemesh/proxy/pump.h"
#include "lb/health/outlier.h"

namespace edgemesh {

class L4Proxy {
 public:
  struct Config {
    std::vector<base::IpAddr> listen;             // service IPs, one per family
    uint16_t port = 0;                            // 0: the kernel chooses one, the same for every family
    uint32_t socket_mark = 0;
    base::Duration dial_timeout = std::chrono::seconds(3);    // one endpoint
    base::Duration dial_budget = std::chrono::seconds(10);    // all of them
    base::Duration idle_timeout = std::chrono::hours(1);
    size_t connections_max = 8192;
  };
  using Resolved = std::function<void(base::Result<base::IpPort>)>;
  struct Choice {                                 // one endpoint to try
    std::string name;                             // for log lines
    std::function<void(Resolved)> resolve;        // its address, perhaps after an export request
  };
  struct Hooks {
    std::function<std::vector<Choice>(const base::IpPort& frontend, const base::IpAddr& client)> choices;  // best first
    std::function<void(const base::IpPort& dialled, std::optional<lb::Sign> failure)> on_result;  // of each dial; may be empty
  };
  static base::Result<std::unique_ptr<L4Proxy>> start(Config, Hooks, base::Loop&, base::SocketStore&, base::Metrics&);
  ~L4Proxy();
  uint16_t port() const { return config_.port; }
  size_t connections() const { return connections_.size(); }
  void stop_accepting();                          // drain: established connections go on

 private:
  class Connection;
  struct Listener {
    base::UniqueFd fd;
    std::unique_ptr<base::FdWatch> watch;
  };
  L4Proxy(Config, Hooks, base::Loop&, base::Metrics&);
  void on_acceptable(int fd);
  void drop(uint64_t id);

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  std::vector<Listener> listeners_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t next_id_ = 1;
  base::Counter &accepted_, &refused_, &dial_failures_, &bytes_;
};

}  // namespace edgemesh
