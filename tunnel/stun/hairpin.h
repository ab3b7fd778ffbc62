// Hairpin: whether the NAT before this node brings packets back that the node sends to its own outside address (RFC 4787 §6). Where it
// does, two nodes behind it that see no link of each other meet at their outside addresses; where not, they stay on a relay. Asked
// with a STUN request to oneself, three times at most for each address: it is answered by nobody, only recognised. Sans-I/O.
#pragma once
#include <optional>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/stun/stun.h"

namespace tunnel {

class Hairpin {
 public:
  explicit Hairpin(base::Rng& rng) : rng_(rng) {}

  // none: no NAT, or not known where the node is seen.
  void set_outside(const std::optional<base::IpPort>& at, base::Instant now) {
    if (at == at_) return;
    at_ = at;
    works_.reset();
    tries_ = 0;
    rng_.fill(id_);
    due_ = at ? std::optional(now) : std::nullopt;
  }
  struct Ask {
    base::IpPort to;
    StunId id;
  };
  std::optional<Ask> tick(base::Instant now) {  // to be sent now, from the own port
    if (!due_ || now < *due_) return std::nullopt;
    if (tries_ == kTries) {
      works_ = false;
      due_.reset();
      return std::nullopt;
    }
    tries_++;
    due_ = now + kWait;
    return Ask{*at_, id_};
  }
  // True: it was our own.
  bool on_message(const StunMessage& m) {
    if (!at_ || tries_ == 0 || m.type != StunType::request || m.id != id_) return false;
    works_ = true;
    due_.reset();
    return true;
  }
  std::optional<base::Instant> next_deadline() const { return due_; }
  std::optional<bool> works() const { return works_; }  // none: not known

 private:
  static constexpr int kTries = 3;
  static constexpr base::Duration kWait = std::chrono::milliseconds(500);
  base::Rng& rng_;
  std::optional<base::IpPort> at_;
  StunId id_{};
  int tries_ = 0;
  std::optional<base::Instant> due_;
  std::optional<bool> works_;
};

}  // namespace tunnel
