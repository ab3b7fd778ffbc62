// PathMtu: how long a datagram one path carries, found with padded CHECKs that only the peer can answer; ICMP is not needed. In
// bytes of the outer IP packet, because that is what links limit.
//
//   SEARCHING   rounds of sizes between the largest answered and the smallest given up, all sent at once, at most three times,
//               max(200 ms, 2 RTT) apart; first the sizes links have, then eight between, until the gap is closed
//   SETTLED     every 10 min: SEARCHING upwards, the size in use stays
// In both, every 250 ms in which long datagrams left: one CHECK of the size in use. Three times unanswered (two at a time from the
// second on) while short ones are answered: a black hole. Back to what every link carries, SEARCHING.
// Until something is proved kWireSure is used. Sans-I/O: tick() says which CHECKs to send now.
#pragma once
#include <optional>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/packet/packet.h"

namespace tunnel {

inline constexpr uint16_t kWireSure = 1280;    // IPv6's least, and what nearly every IPv4 path carries
inline constexpr uint16_t kWireLeast = 576;    // RFC 791; below it a path is of no use
inline constexpr uint16_t kWireMax = 9000;
inline constexpr size_t kWireHeaders4 = 28, kWireHeaders6 = 48;  // IP and UDP
// Room for a relay's header is kept on direct paths too: a session that moves to a relay and back shows pods one MTU.
inline constexpr size_t kInnerOverhead = kOverheadBytes + kRelayHeaderBytes;
inline constexpr uint16_t kInnerMtuMax = kWireMax - kWireHeaders4 - kInnerOverhead;
// What the kernel is told until the first path has settled: an Ethernet's, whatever the outer family.
inline constexpr uint16_t kInnerMtuStart = 1500 - kWireHeaders6 - kInnerOverhead;
// The inner packet that makes an outer one of kWireSure.
inline constexpr uint16_t kInnerMtuSure = kWireSure - kWireHeaders6 - kInnerOverhead;

class PathMtu {
 public:
  struct Probe {
    uint64_t txid = 0;
    size_t payload = 0;  // of UDP, relay header included; 0: a short CHECK, the witness
  };
  // The MTU of the interface it leaves by, and the outer family. A change starts the search anew.
  void set_link(size_t mtu, bool v6, base::Instant now);
  void activate(base::Instant now);         // it carries the traffic from now on
  void sent_long() { long_ = true; }        // long datagrams left by it since it was last proved
  std::vector<Probe> tick(base::Instant now, base::Duration rtt, base::Rng&);
  bool on_ack(uint64_t txid, base::Instant now);  // false: not an answer to a probe of this path
  uint16_t wire() const { return wire_; }
  // The longest inner packet of which one datagram may consist.
  uint16_t inner() const { return uint16_t(wire_ - headers_ - kInnerOverhead); }
  bool is_settled() const { return state_ == State::settled; }
  uint64_t black_holes() const { return black_holes_; }
  std::optional<base::Instant> next_deadline() const;

 private:
  enum class State : uint8_t { idle, searching, settled };
  struct Sent {
    uint64_t txid;
    uint16_t size;  // 0: a witness
  };
  void search(base::Instant now);
  void end_round(base::Instant now);
  void settle(base::Instant now);
  std::optional<base::Instant> prove_at() const;
  void prove(base::Instant now, std::vector<Probe>&, base::Rng&);
  void send(uint16_t size, std::vector<Probe>&, base::Rng&);
  void fill(uint16_t above, uint16_t below);

  State state_ = State::idle;
  uint16_t wire_ = kWireSure, limit_ = 1500;
  uint16_t good_ = 0, bad_ = 0;      // of the search: the largest answered, the smallest given up
  size_t headers_ = kWireHeaders4;
  std::vector<uint16_t> sizes_;      // of the round, rising
  int tries_ = 0, misses_ = 0, failures_ = 0;
  bool proved_ = false, long_ = false, witnessed_ = false;
  base::Instant next_{}, raise_at_{}, proof_{}, prove_next_{};
  std::vector<Sent> sent_;
  uint64_t black_holes_ = 0;
};

}  // namespace tunnel
