// STUN Binding (RFC 8489): "what is my address as you see it". The few attributes the tunnel uses; others are skipped. Pure.
//
//    0               2               4
//   +---------------+---------------+-------------------------------+
//   | type 2        | length 2      | magic cookie 0x2112A442       |
//   +---------------+---------------+-------------------------------+
//   | transaction id 12                                             |
//   +---------------------------------------------------------------+
//   | attributes: type 2, length 2, value padded to 4 ...           |
//   +---------------------------------------------------------------+
// Our requests are padded (PADDING, RFC 5780 §7.6) to the largest response, so that answering never amplifies.
#pragma once
#include <array>
#include <optional>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace tunnel {

using StunId = std::array<uint8_t, 12>;

enum class StunType : uint16_t { request = 0x0001, success = 0x0101, error = 0x0111 };

inline constexpr uint16_t kStunOtherPort = 3479;  // of relays: STUN alone; tells a NAT that looks at ports from one that does not
inline constexpr size_t kStunHeaderBytes = 20;
inline constexpr size_t kStunResponseBytesMax = kStunHeaderBytes + 24 + 8;  // XOR-MAPPED-ADDRESS of IPv6, FINGERPRINT

struct StunMessage {
  StunType type = StunType::request;
  StunId id{};
  std::optional<base::IpPort> mapped;  // of a success
  uint16_t other_port = 0;             // not 0: the server answers at that port of its address too (OTHER-ADDRESS, RFC 5780)
};

// nullopt: not STUN, damaged (lengths, FINGERPRINT when present), a method other than Binding, or an attribute we must
// understand and do not.
std::optional<StunMessage> parse_stun(base::ByteView);

base::ByteVec make_stun_request(const StunId&);  // kStunResponseBytesMax long
// other_port 0: none. It fits beside an IPv4 address only.
base::ByteVec make_stun_response(const StunId&, const base::IpPort& observed, uint16_t other_port = 0);

}  // namespace tunnel
