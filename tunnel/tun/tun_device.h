// TunDevice: the tunnel's network interface, one queue (descriptor) per worker. Made, or taken over when it exists: a persistent
// device keeps its routes and rules while the daemon restarts. Packets come and go behind a VnetHeader; offloads are what the
// kernel grants. The device is up with its MTU after open(); addresses and routes are others' work.
#pragma once
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/loop/socket_store.h"

namespace tunnel {

struct TunOffloads {
  bool tcp = false;  // superpackets over IPv4 and IPv6, both ways
  bool udp = false;  // UDP superpackets (Linux 6.2 and newer)
};

class TunDevice {
 public:
  struct Config {
    std::string name;
    uint16_t mtu = 1280;
    size_t queues = 1;
    bool persist = true;
  };
  // Queues are acquired from the store as "tun-0", "tun-1", ...
  static base::Result<TunDevice> open(const Config&, base::SocketStore&);

  size_t queues() const { return queues_.size(); }
  int fd(size_t queue) const { return queues_[queue].get(); }
  const std::string& name() const { return name_; }
  TunOffloads offloads() const { return offloads_; }

 private:
  std::string name_;
  std::vector<base::UniqueFd> queues_;
  TunOffloads offloads_;
};

// Takes a persistent device away; no device of that name is fine.
base::Result<void> remove_tun(const std::string& name);

}  // namespace tunnel
