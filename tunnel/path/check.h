// CHECK and CHECK-ACK: what proves a path and tells its sender what arrives. Both are sealed under the session's keys
// (packet.h), so only the peer can answer. Byte tables of the plaintexts, big-endian:
//
//   CHECK       txid 8 | path 4 | zeros up to kCheckBytes (an answer is never longer than its question), or up to the size that is
//               to be proved (path_mtu.h)
//   CHECK-ACK   txid 8 | path 4 | observed: family 1 (4|6), address 16, port 2 | size of the CHECK 2 | CE marks 4 |
//               DATA packets 8 | lanes 1 | lanes x (lane 1, highest sequence 8, packets 8)
// txid 0 in an ACK answers no CHECK: it only reports what arrived.
#pragma once
#include <optional>
#include <vector>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace tunnel {

inline constexpr size_t kCheckBytes = 128;
inline constexpr size_t kFeedbackLanesMax = 4;

struct Check {
  uint64_t txid = 0;
  uint32_t path = 0;  // the sender's number for it
};

struct LaneFeedback {
  uint8_t lane = 0;
  uint64_t highest = 0, count = 0;
  bool operator==(const LaneFeedback&) const = default;
};

struct CheckAck {
  uint64_t txid = 0;
  uint32_t path = 0;
  base::IpPort observed;  // where the CHECK came from, as its receiver saw it
  uint16_t size = 0;      // UDP payload of the CHECK
  uint32_t ce = 0;
  uint64_t data_packets = 0;
  std::vector<LaneFeedback> lanes;
};

base::ByteVec encode(const Check&, size_t bytes = kCheckBytes);
base::ByteVec encode(const CheckAck&);
std::optional<Check> decode_check(base::ByteView);
std::optional<CheckAck> decode_check_ack(base::ByteView);

}  // namespace tunnel
