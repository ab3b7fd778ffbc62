// Signal over HTTP/2 on mutual TLS 1.3 (signal_conn.h). Every node listens: a peer may come straight; a node with the relay role
// also passes frames on between the nodes connected to it, after holding each frame's `from` to the sender's certificate. A node
// keeps a connection to each of its relays (at most 3), dialled again with jittered back-off, and dials peers whose address it
// was told when there is something to send. Control loop only.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "tunnel/signal/signal.h"
#include "tunnel/signal/record_queue.h"
#include "tunnel/signal/signal_conn.h"

namespace tunnel {

class H2Signal : public Signal {
 public:
  struct RelayTarget {
    std::string name;       // "": whoever answers there with the relay role
    base::IpPort address;   // TCP
    bool operator==(const RelayTarget&) const = default;
  };
  struct Config {
    std::shared_ptr<TlsIdentity> tls;   // the node's name comes from its certificate
    uint64_t instance = 0;              // of this process start
    bool serve_relay = false;           // counts only with the role in the certificate
    base::IpPort relay_udp;             // told to peers; an unspecified address means "as dialled"
    uint16_t relay_fallback_port = 443; // of relays, tried when their own cannot be reached; 0: none
    std::optional<base::IpPort> proxy;  // HTTP; relays are dialled through it
    uint32_t socket_mark = 0;           // so that the daemon never intercepts itself
    SignalTiming timing;
    base::Duration backoff_min = std::chrono::seconds(1), backoff_max = std::chrono::seconds(30);
    base::Duration relay_backoff_max = std::chrono::seconds(3);  // it is a few connections, and all wait for them
  };
  // listener: TCP, non-blocking; none: this node can only dial.
  static std::unique_ptr<H2Signal> make(Config, base::Loop&, base::Rng&, base::Metrics&, base::UniqueFd listener);

  virtual void listen(base::UniqueFd listener) = 0;  // one more port
  virtual void set_relays(std::vector<RelayTarget>) = 0;                              // the first 3 count; what is gone is closed
  virtual void set_addresses(std::map<std::string, std::vector<base::IpPort>>) = 0;   // where peers can be dialled
  // Relay role: makes the two views of a grant (RelayServer::grant). Without it grant requests are not answered.
  virtual void set_granter(std::function<std::pair<RelayGrant, RelayGrant>(const std::string& a, const std::string& b)>) = 0;
  // Relay role: takes connections for records. id: of the connection, never used again.
  virtual void set_record_taker(std::function<void(uint64_t id, const std::string& node, base::ByteView)>) = 0;
  virtual void send_record(uint64_t id, base::ByteView) = 0;  // dropped when the connection is gone
  virtual void set_tls(std::shared_ptr<TlsIdentity>) = 0;   // renewed certificate: for new connections
  virtual void recheck() = 0;                               // closes connections of nodes that are now denied
  virtual size_t connections() const = 0;                   // ready ones
};

}  // namespace tunnel
