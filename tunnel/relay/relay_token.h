// The sealed part of a grant, which only the relay that made it can read: AES-128-GCM under a key drawn at its start.
//   nonce 12 | sealed { version 1, channel 4, generation 4, side 1, expiry 8, pair 32 } | tag 16
// pair: SHA-256 over both node names. The bind key of a grant follows from the same secret, so none is kept.
#pragma once
#include <memory>
#include <string>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/relay/relay_message.h"

namespace tunnel {

struct RelayToken {
  uint32_t channel = 0, generation = 0;
  uint8_t side = 0;  // 0: the pair's first name
  base::Instant expiry{};
  std::array<uint8_t, 32> pair{};
};

class RelaySealer {
 public:
  static std::unique_ptr<RelaySealer> make(base::Rng&);
  virtual ~RelaySealer() = default;
  virtual std::array<uint8_t, kRelayTokenBytes> seal(const RelayToken&) = 0;
  virtual std::optional<RelayToken> open(const std::array<uint8_t, kRelayTokenBytes>&) const = 0;
  virtual RelayMac bind_key(const RelayToken&) const = 0;
  // A challenge for a BIND, as good as a random one to all others, so that none is kept. The token need not be one of ours.
  virtual std::array<uint8_t, 16> challenge(const base::IpPort& source, uint64_t nonce, const std::array<uint8_t, kRelayTokenBytes>& token, uint64_t window) const = 0;
};

std::array<uint8_t, 32> relay_pair_id(const std::string& a, const std::string& b);

}  // namespace tunnel
