// UdpRelay: UDP through the daemon, for hosts whose FORWARD chain is closed to the kernel's way (intercept/closed_host.h). The
// kernel sends datagrams here with their destination rewritten; which service was meant is asked of conntrack once per flow. One
// socket per flow towards the endpoint; datagrams are passed on one for one, their boundaries kept. Control loop only.
//
// A flow ends after idle_timeout without a datagram either way. A full table refuses new flows and counts them.
#pragma once
#include <deque>

#include "base/net/datagram.h"
#include "edgemesh/proxy/l4_proxy.h"

namespace edgemesh {

class UdpRelay {
 public:
  struct Config {
    std::vector<base::IpAddr> listen;  // service IPs, one per family
    uint16_t port = 0;
    uint32_t socket_mark = 0;          // of the sockets towards endpoints
    base::Duration idle_timeout = std::chrono::minutes(2);
    size_t flows_max = 4096;
  };
  struct Hooks {
    std::function<std::vector<L4Proxy::Choice>(const base::IpPort& frontend, const base::IpAddr& client)> choices;  // best first
    std::function<void(const base::IpPort& dialled)> on_refused;  // an endpoint's port unreachable; may be empty
  };
  static base::Result<std::unique_ptr<UdpRelay>> start(Config, Hooks, base::Loop&, base::SocketStore&, base::Metrics&);
  ~UdpRelay();
  size_t flows() const { return flows_.size(); }

 private:
  struct Listener {
    base::IpPort at;
    base::UniqueFd fd;
    std::unique_ptr<base::FdWatch> watch;
  };
  struct Flow {
    uint64_t id = 0;
    const Listener* listener = nullptr;
    base::IpPort frontend;
    std::vector<L4Proxy::Choice> choices;
    size_t at = 0;
    base::IpPort dialled;
    base::UniqueFd server;
    std::unique_ptr<base::FdWatch> watch;
    std::deque<base::ByteVec> waiting;   // until the endpoint is known
    base::Instant last;
  };
  UdpRelay(Config, Hooks, base::Loop&, base::Metrics&);
  void on_readable(const Listener&);
  void from_client(const Listener&, const base::Datagram&);
  Flow* flow_of(const Listener&, const base::IpPort& client);
  void try_current(const base::IpPort& client, Flow&);
  void next(const base::IpPort& client, Flow&);
  bool dial(const base::IpPort& client, Flow&, const base::IpPort& to);
  void from_server(const base::IpPort& client);
  void drop(const base::IpPort& client);
  void expire();

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::map<base::IpPort, Flow> flows_;   // by the client as the relay sees it
  uint64_t next_id_ = 1;
  base::DatagramReader reader_;
  std::unique_ptr<base::Timer> expire_timer_;
  base::Counter &datagrams_, &refused_;
};

}  // namespace edgemesh
