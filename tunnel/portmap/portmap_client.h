// PortmapClient: keeps one UDP port forwarded at the node's router, where that speaks PCP or NAT-PMP (portmap_message.h). With it a
// node behind any NAT, a symmetric one too, is reached like one with a public address.
//
// The router is believed only in what it says about itself: an answer must come from its address and port, a PCP one must carry the
// nonce of this process, and the outside address is an offer like any other: peers try it, and only their sealed answers count.
// Sans-I/O. Owned by the PortmapPort; control loop only.
//
//   ASK      PCP, six times from 250 ms on, doubling; then NAT-PMP the same way, at once where the router says it knows only that.
//            Nobody answers, or a refusal: a pause of 10 min (as long as a PCP refusal says), doubling up to 2 h; another network ends it
//   STANDS   renewed at half its life, 2 h asked for; unanswered: at half of what is left, and so on (RFC 6887 §11.2.1), 10 s at least
//   LOOK     every 60 s, and on check(): one packet that brings the router's epoch. It went back, or runs with another speed than our
//            clock (RFC 6887 §8.5): the router has forgotten, and the port is asked for at once
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/portmap/portmap_message.h"

namespace tunnel {

struct PortmapWay {  // how this node's packets leave
  base::IpAddr router, own;
  bool operator==(const PortmapWay&) const = default;
};

class PortmapClient {
 public:
  struct Hooks {
    std::function<void(const base::IpPort& router, base::ByteView)> send;
    std::function<void()> on_change;  // outside() is another one
  };
  PortmapClient(uint16_t own_port, Hooks, base::Rng&, base::Metrics&);

  void set_way(std::optional<PortmapWay>, base::Instant now);  // none: no router that could be asked
  void check(base::Instant now);                               // something says the router may have forgotten
  void on_datagram(const base::IpPort& from, base::ByteView, base::Instant now);
  void tick(base::Instant now);
  base::Instant next_deadline() const { return next_; }  // valid after any call; Instant::max(): none
  void release();                                        // this node stops for good: the mapping is taken away, best effort

  // Where the port is reached from outside, while the lease lasts.
  std::optional<base::IpPort> outside() const { return outside_; }
  const std::optional<PortmapWay>& way() const { return way_; }
  const char* protocol() const { return pcp_ ? "PCP" : "NAT-PMP"; }
  const std::string& trouble() const { return trouble_; }  // why there is none, in words; "": nothing known yet
  base::Duration left(base::Instant now) const { return outside_ ? expires_ - now : base::Duration{0}; }

 private:
  void begin(base::Instant now);
  void ask(base::Instant now);
  void send(PortmapKind, uint32_t lifetime);
  void unanswered(base::Instant now);
  void pause(base::Duration, const std::string& why, base::Instant now);
  void renew(base::Instant now);
  void on_mapped(const PortmapAnswer&, base::Instant now);
  bool is_forgotten(uint32_t epoch, base::Instant now);
  void set_outside(std::optional<base::IpPort>);
  void compute_deadline();

  uint16_t own_port_;
  Hooks hooks_;
  base::Rng& rng_;
  base::Gauge& standing_;
  base::Counter &asked_, &granted_, &refused_, &forgotten_;
  std::optional<PortmapWay> way_;
  bool pcp_ = true;
  bool asking_ = false;
  int tries_ = 0;
  PortmapNonce nonce_{};
  std::optional<base::IpAddr> pmp_address_;  // NAT-PMP tells address and port apart
  std::optional<PortmapAnswer> pmp_map_;
  std::optional<base::IpPort> outside_;
  base::Instant expires_{};
  base::Duration pause_{};
  std::string trouble_;
  struct Epoch {
    uint32_t router;
    base::Instant own;
  };
  std::optional<Epoch> epoch_;
  base::Instant due_ = base::Instant::max(), look_at_ = base::Instant::max(), next_ = base::Instant::max();
};

}  // namespace tunnel
