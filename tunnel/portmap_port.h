// PortmapPort: the socket of PortmapClient, and which router it asks: the gateway of the IPv4 default route, where this node has a
// private address towards it. Where it has a public one there is nothing to map, and nobody is asked. Control loop only.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/net/datagram.h"
#include "base/net/netlink.h"
#include "tunnel/path/candidates.h"
#include "tunnel/peer/peer_view.h"
#include "tunnel/portmap/portmap_client.h"

namespace tunnel {

// The router, and the own address it sees; none: no gateway, a public address, or an interface that is not to be used.
std::optional<PortmapWay> portmap_way(const std::vector<base::netlink::Route>&, const std::vector<base::netlink::Link>&,
                                      const std::vector<base::netlink::Address>&, const CandidateRules&);

class PortmapPort {
 public:
  // own_port: of the tunnel's socket. on_change: outside() is another one. Errors: no socket.
  static base::Result<std::unique_ptr<PortmapPort>> open(uint16_t own_port, uint32_t socket_mark, std::function<void()> on_change,
                                                         base::Loop&, base::Rng&, base::Metrics&);
  ~PortmapPort();
  void follow(std::optional<PortmapWay>);
  void check();
  void stop_for_good() { client_.release(); }
  std::optional<base::IpPort> outside() const { return client_.outside(); }
  const std::optional<PortmapWay>& way() const { return client_.way(); }
  PortMappingView view() const;

 private:
  PortmapPort(base::UniqueFd, uint16_t own_port, std::function<void()> on_change, base::Loop&, base::Rng&, base::Metrics&);
  void on_readable();
  void touch();

  base::Loop& loop_;
  base::UniqueFd fd_;
  base::DatagramReader reader_{8, kPortmapBytesMax};
  base::DatagramWriter writer_{4};
  std::unique_ptr<base::FdWatch> watch_;
  std::unique_ptr<base::Timer> timer_;
  PortmapClient client_;
};

}  // namespace tunnel
