// UpnpPort: the socket of UpnpClient's searches and its HTTP calls to the router, at most one at a time. Control loop only.
#pragma once
#include <functional>
#include <memory>

#include "base/core/unique_fd.h"
#include "base/http/client.h"
#include "base/loop/loop.h"
#include "base/net/datagram.h"
#include "tunnel/peer/peer_view.h"
#include "tunnel/portmap/upnp_client.h"

namespace tunnel {

class UpnpPort {
 public:
  static base::Result<std::unique_ptr<UpnpPort>> open(uint16_t own_port, uint32_t socket_mark, std::function<void()> on_change, base::Loop&,
                                                      base::Rng&, base::Metrics&);
  ~UpnpPort();
  void follow(std::optional<PortmapWay>);  // none: a mapping that stands is given back
  void check();
  void stop_for_good();  // gives it back, within half a second
  const UpnpClient& client() const { return client_; }

 private:
  UpnpPort(base::UniqueFd, uint16_t own_port, std::function<void()> on_change, base::Loop&, base::Rng&, base::Metrics&);
  void on_readable();
  void ask(const UpnpAsk&);
  void touch();

  base::Loop& loop_;
  base::UniqueFd fd_;
  base::DatagramReader reader_{8, kSsdpBytesMax};
  base::DatagramWriter writer_{4};
  std::unique_ptr<base::FdWatch> watch_;
  std::unique_ptr<base::Timer> timer_;
  std::unique_ptr<base::HttpCall> call_, farewell_;
  UpnpClient client_;
};

// What PCP and NAT-PMP did not get, UPnP may have.
void add_upnp(PortMappingView&, const UpnpClient&, base::Instant now);

}  // namespace tunnel
