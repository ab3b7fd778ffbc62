// RelayClient: one node's end of one relay channel, without I/O: binds its address with a grant and keeps the binding (and the
// NAT's) alive by binding again. A lost answer is repeated at 250 ms, doubling to 4 s. Owner: the tunnel's peer; control loop.
//
//   idle --grant--> binding --CONFIRMED--> bound --12 s--> (binds again, stays bound) ... 30 s unanswered --> binding
//   REFUSED (the relay restarted, the grant expired): refused until the next grant.
#pragma once
#include <functional>
#include <optional>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/path/path_addr.h"
#include "tunnel/relay/relay_message.h"
#include "tunnel/signal/signal.h"

namespace tunnel {

class RelayClient {
 public:
  enum class State : uint8_t { idle, binding, bound, refused };
  // Called inside the other functions: a datagram for the relay, straight (not wrapped), from the socket that DATA leaves by.
  using Send = std::function<void(const base::IpPort& relay, base::ByteView)>;
  RelayClient(base::Rng&, Send);

  void on_grant(RelayGrant, base::Instant now);  // starts to bind; a newer grant for the same channel rebinds
  // False: not for this client (another's nonce, another relay); nothing was changed.
  bool on_datagram(const base::IpPort& from, base::ByteView, base::Instant now);
  void rebind(base::Instant now);                // the local address or port changed
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const { return deadline_; }  // when to tick() at the latest

  State state() const { return state_; }
  bool is_bound() const { return state_ == State::bound; }
  bool is_peer_bound() const { return peer_bound_; }            // at the last CONFIRMED
  std::optional<base::IpPort> observed() const { return observed_; }  // our address as the relay sees it
  PathAddr path() const { return {grant_.relay_address, {}, grant_.channel}; }
  const RelayGrant& grant() const { return grant_; }
  // No grant, refused, or less than a quarter of its life left: ask for another (Signal::request_grant).
  bool wants_grant(base::Instant now) const;
  // Time of the first datagram of a binding that was not answered yet.
  std::optional<base::Instant> unanswered_since() const { return asked_at_; }
  void set_rebind_interval(base::Duration d) { interval_ = d; }  // follows the NAT's measured UDP life

 private:
  void start(base::Instant now);
  void transmit(base::Instant now);
  void on_challenge(const RelayMessage&, base::Instant now);
  void on_refused();
  bool on_confirmed(const RelayMessage&, base::Instant now);

  base::Rng& rng_;
  Send send_;
  RelayGrant grant_;
  State state_ = State::idle;
  base::Instant granted_at_{}, confirmed_at_{};
  base::Duration interval_ = std::chrono::seconds(12), pause_{};
  std::optional<base::Instant> deadline_, asked_at_;
  RelayMessage sending_;  // BIND or CONFIRM, repeated until answered
  uint32_t bindings_ = 0;
  int tries_ = 0;
  bool peer_bound_ = false;
  std::optional<base::IpPort> observed_;
};

}  // namespace tunnel
