// RelayServer: the relay role without I/O: grants, channel binding, forwarding, STUN. Datagrams and a time in; datagrams out.
// Bytes out never exceed bytes in; nothing is forwarded except between the two bound ends of a channel.
//   BIND {token, generation, padding} -> CHALLENGE {challenge 16, observed source} -> CONFIRM {HMAC(bind key, challenge . channel .
//   generation . observed source)} -> CONFIRMED. Byte tables: relay_message.h, docs/reference/tunnel-protocol.md.
// Nothing is kept for a BIND, and none is refused: the challenge is a MAC over what is asked and whence, and only who returns it is
// told more. A binding moves only with a higher generation; packets from the old source are still taken for 2 s. STUN and BINDs of
// strangers are answered within a rate per /24 and /56; an end of a channel has a rate of its own.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "base/net/addr.h"
#include "tunnel/signal/signal.h"

namespace tunnel {

// The source of datagrams that come over a connection for records: in 0100::/8, which nobody is given (RFC 6666 takes a part of it),
// so that no UDP datagram's can be equal. Each connection is a source of its own, in a /56 of its own.
base::IpPort stream_source(uint64_t connection);
std::optional<uint64_t> stream_of(const base::IpPort&);

class RelayServer {
 public:
  struct Config {
    std::string name;                      // own node name
    base::IpPort public_address;           // put into grants
    std::chrono::seconds grant_life{3600};
    uint64_t bytes_per_s_per_node = 0;     // 0: no limit
    size_t channels_max = 16384;
    uint16_t stun_other_port = 0;          // told in STUN answers; 0: none
  };
  // Called inside on_datagrams(): datagrams of `segment` bytes each, of which only the last may be shorter. What is forwarded lies in
  // the bytes that came in.
  using Send = std::function<void(const base::IpPort& to, base::ByteView, size_t segment)>;
  static std::unique_ptr<RelayServer> make(Config, base::Rng&, base::Metrics&, Send);
  virtual ~RelayServer() = default;
  // Two views of one grant: first for a, second for b. The same live pair keeps its channel, with a higher generation.
  // Channel 0: there is no room for another channel.
  virtual std::pair<RelayGrant, RelayGrant> grant(const std::string& a, const std::string& b, base::Instant now) = 0;
  virtual void revoke(const std::string& node) = 0;
  // As the kernel joined them: datagrams of `segment` bytes each, of which only the last may be shorter.
  virtual void on_datagrams(const base::IpPort& from, base::MutByteView, size_t segment, base::Instant now) = 0;
  void on_datagram(const base::IpPort& from, base::MutByteView d, base::Instant now) { on_datagrams(from, d, d.size(), now); }
  // The answer to a STUN request that came at the other port, within the same limits; nullopt: none.
  virtual std::optional<base::ByteVec> stun_answer(const base::IpPort& from, base::ByteView, base::Instant now) = 0;
  virtual void tick(base::Instant now) = 0;  // once a second: expiries
  virtual size_t channels() const = 0;
};

}  // namespace tunnel
