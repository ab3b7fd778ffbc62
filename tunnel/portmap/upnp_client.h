// UpnpClient: keeps one UDP port forwarded at a router that speaks UPnP-IGD and nothing better: it begins when PCP and NAT-PMP
// (PortmapClient) have had time to answer, and ends when they do.
//
// The router is believed only in what it says about itself: the answer to the search, the description and the control must all be at
// the address of the gateway, so nobody on the LAN sends this node anywhere; and the outside address is an offer like any other.
// Sans-I/O. Owned by the UpnpPort; control loop only.
//
//   WAIT      3 s, for PCP
//   SEARCH    M-SEARCH to the router and to the group, four times in 3 s
//   DESCRIBE  its description names the service that maps ports, and where it is asked
//   ADDRESS   GetExternalIPAddress
//   ADD       AddPortMapping for an hour; a port that is taken: another, four times; 725: for ever, since it knows no leases
//   STANDS    added again at half life, every half hour where it is for ever, and on check() (once a minute at most)
// Whatever fails: a pause of 10 min, doubling up to 2 h; while a mapping stands it is tried again at half of what is left.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/portmap/portmap_client.h"
#include "tunnel/portmap/upnp_message.h"

namespace tunnel {

struct UpnpAsk {
  UpnpPlace at;
  std::string action;  // the SOAPAction field; empty: GET
  std::string body;
};

class UpnpClient {
 public:
  struct Hooks {
    std::function<void(const base::IpPort& to, const std::string& search)> search;
    std::function<void(UpnpAsk)> ask;  // one at a time; ends in on_answer or on_failed
    std::function<void()> on_change;   // outside() is another one
  };
  UpnpClient(uint16_t own_port, Hooks, base::Rng&, base::Metrics&);

  void set_way(std::optional<PortmapWay>, base::Instant now);  // none: no router, or something better than UPnP is there
  void check(base::Instant now);                               // something says the router may have forgotten
  void on_search_answer(const base::IpPort& from, std::string_view, base::Instant now);
  void on_answer(int status, std::string_view body, base::Instant now);
  void on_failed(base::Instant now);  // no connection, no answer in time
  void tick(base::Instant now);
  base::Instant next_deadline() const { return outside_ ? std::min(due_, expires_) : due_; }
  // What takes the mapping away, for a node that stops for good or has found something better; none: nothing stands.
  std::optional<UpnpAsk> farewell() const;

  std::optional<base::IpPort> outside() const { return outside_; }
  const std::string& trouble() const { return trouble_; }
  base::Duration left(base::Instant now) const { return outside_ ? expires_ - now : base::Duration{0}; }

 private:
  enum class State : uint8_t { off, waiting, searching, describing, address, adding, rest };
  void begin(base::Instant now);
  void ask(State, UpnpAsk, base::Instant now);
  void add(base::Instant now);
  void on_added(base::Instant now);
  void on_refused(int error, base::Instant now);
  void give_up(const std::string& why, base::Instant now);
  void set_outside(std::optional<base::IpPort>);

  uint16_t own_port_;
  Hooks hooks_;
  base::Rng& rng_;
  base::Counter &asked_, &granted_, &refused_;
  std::optional<PortmapWay> way_;
  State state_ = State::off;
  int tries_ = 0;
  bool for_ever_ = false;
  UpnpPlace description_;
  std::optional<UpnpService> service_;
  base::IpAddr address_;
  uint16_t port_ = 0;
  std::optional<base::IpPort> outside_;
  base::Instant expires_{}, due_ = base::Instant::max(), last_check_{};
  base::Duration pause_{};
  std::string trouble_;
};

}  // namespace tunnel
