// Door: the way to one peer when there is neither a session nor signalling: HANDSHAKE datagrams (session/door_packet.h) to the
// addresses it was last reached at. For the handshake it is one more carrier of signalling frames; it judges nothing but freshness.
//
//   KNOCK   ->             to every address known, repeated with back-off while the door is wanted
//           <-  WELCOME    says who is there now (a random number of the process); names the knocker's
//   CALL, FRAME  <->       carry both numbers. Whoever reads its own number in a datagram knows that it is not an old one.
//
// A datagram without our number is answered with at most a WELCOME, never longer than it, at most five a second, once each, and
// changes nothing here: so neither recorded datagrams nor false sources make a node work or aim it at others. Numbers a peer once
// had are never taken again. One HMAC for each datagram whose id is known, none for others.
// Sans-I/O. Owned by the peer's Record.
//
// Timers: knock   at once, then after 100 ms, doubling up to 15 s, +-10 %; from the first again with news()
//         open    5 s after the last fresh datagram the address is proved anew
#pragma once
#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/path/path_addr.h"
#include "tunnel/relay/rate_limit.h"
#include "tunnel/session/door_packet.h"
#include "tunnel/signal/signal.h"

namespace tunnel {

// What the doors of one node share.
struct DoorHouse {
  DoorHouse(base::Rng& r, base::Metrics&);
  base::Rng& rng;
  uint64_t number;     // of this process
  TokenBucket knocks;  // towards addresses that have not answered
  base::Counter &knocked, &opened, &refused;
};

class Door {
 public:
  struct Hooks {
    std::function<void(const PathAddr&, base::ByteView)> send;
    std::function<std::vector<PathAddr>()> addresses;  // to knock at, the best first
    std::function<void(SignalKind, base::ByteView)> on_frame;
    std::function<void()> on_open;
  };
  Door(bool client, DoorHouse&, Hooks);

  void set_secrets(const std::vector<ResumeSecret>&);  // newest first; none: the door is a wall
  const std::vector<DoorKeys>& keys() const { return keys_; }
  void want(bool wanted, base::Instant now);
  void news(base::Instant now);  // addresses of ours or of the peer changed: knocks are frequent again
  bool is_open(base::Instant now) const { return address_ && !keys_.empty() && now - proved_ < kOpenFor; }
  const std::optional<PathAddr>& address() const { return address_; }  // where the peer was last proved to be

  void send(SignalKind, base::ByteView frame, base::Instant now);  // nothing while it is not open; frames fit kDoorFrameMax
  // False: not for this door. The caller has found this door by the id.
  bool on_datagram(const PathAddr& from, base::ByteView, base::Instant now);
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const;

  static constexpr size_t kDoorFrameMax = kDoorBytesMax - kDoorBytesMin;

 private:
  static constexpr base::Duration kOpenFor = std::chrono::seconds(5);
  struct Heard {  // one process of the peer: which of its counters were seen
    uint64_t number = 0, seen = 0;
    uint32_t highest = 0;
    bool take(uint32_t counter);
  };
  const DoorKeys* keys_of(uint64_t id) const;
  void knock(base::Instant now);
  void emit(const DoorKeys&, DoorKind, uint64_t receiver, base::ByteView payload, const PathAddr& to);
  void answer(const DoorKeys&, const DoorPacket&, const PathAddr& to, base::Instant now);
  bool take_fresh(const DoorPacket&);
  void prove(const DoorKeys&, const DoorPacket&, const PathAddr& from, base::Instant now);
  bool is_retired(uint64_t number) const;
  const ResumeSecret& own_key(const DoorKeys& k) const { return client_ ? k.client : k.server; }
  const ResumeSecret& peer_key(const DoorKeys& k) const { return client_ ? k.server : k.client; }

  bool client_;
  DoorHouse& house_;
  Hooks hooks_;
  std::vector<DoorKeys> keys_;
  uint32_t counter_ = 0;

  Heard peer_;                            // proved: it answered to our number
  uint64_t speaks_ = 0;                   // id of the secret it used last
  std::optional<PathAddr> address_;
  base::Instant proved_{};
  std::array<uint64_t, 8> retired_{};     // numbers the peer had before
  size_t retirements_ = 0;
  std::array<Heard, 4> knockers_{};       // not proved
  size_t knocker_ = 0;
  TokenBucket answers_;

  bool wanted_ = false;
  std::optional<base::Instant> next_knock_;
  base::Duration pause_{};
  size_t round_ = 0;
};

}  // namespace tunnel
