// The messages by which a node binds its address to a relay channel (first byte 0x86). Pure codec; integers big-endian.
//
//    0     1     2      4         12
//   +-----+-----+------+---------+----------------------------------------------------------------+
//   | 86  | kind| flags| nonce 8 | BIND       generation 8 | token 78 | zeros up to 128            |
//   |     |     |  2   |         | CHALLENGE  challenge 16 | source 19                             |
//   |     |     |      |         | CONFIRM    generation 8 | token 78 | challenge 16 | mac 32      |
//   |     |     |      |         | CONFIRMED  channel 4 | source 19 | mac 32                       |
//   |     |     |      |         | REFUSED    reason 1                                            |
//   +-----+-----+------+---------+----------------------------------------------------------------+
//   source: family 1 (4 or 6), address 16 (IPv4 in the first four), port 2.
//   generation: the grant's in the upper 32 bits, the client's count of bindings under it below.
//   CONFIRM mac   = HMAC-SHA256(bind key, "confirm" . challenge . channel 4 . generation 8 . source)
//   CONFIRMED mac = HMAC-SHA256(bind key, "confirmed" . nonce . flags . channel 4 . generation 8 . source)
// The nonce is the client's, new for each binding, and comes back in every answer. Each answer is shorter than its request.
#pragma once
#include <array>
#include <optional>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace tunnel {

inline constexpr size_t kRelayTokenBytes = 78, kRelayBindBytes = 128, kRelayBindKeyBytes = 32;
inline constexpr uint16_t kRelayPeerIsBound = 1;  // flag of CONFIRMED: the other end is there

enum class RelayKind : uint8_t { bind = 1, challenge = 2, confirm = 3, confirmed = 4, refused = 5 };
enum class RelayRefusal : uint8_t { unknown_token = 1, expired = 2, old_generation = 3 };

using RelayMac = std::array<uint8_t, 32>;

struct RelayMessage {
  RelayKind kind = RelayKind::bind;
  uint16_t flags = 0;
  uint64_t nonce = 0;
  uint64_t generation = 0;
  uint32_t channel = 0;
  std::array<uint8_t, kRelayTokenBytes> token{};
  std::array<uint8_t, 16> challenge{};
  base::IpPort source;
  RelayMac mac{};
  RelayRefusal reason = RelayRefusal::unknown_token;
};

std::optional<RelayMessage> parse_relay_message(base::ByteView);
base::ByteVec write_relay_message(const RelayMessage&);

RelayMac hmac_sha256(base::ByteView key, base::ByteView message);
bool is_equal_mac(const RelayMac&, const RelayMac&);  // in constant time
RelayMac confirm_mac(base::ByteView bind_key, const RelayMessage&);    // channel, generation, challenge, source set
RelayMac confirmed_mac(base::ByteView bind_key, const RelayMessage&);  // nonce, flags, channel, generation, source set
void write_source(base::Writer&, const base::IpPort&);

}  // namespace tunnel
