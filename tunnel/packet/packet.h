// The tunnel's outer packets (docs/reference/tunnel-protocol.md has the byte tables). Pure: no I/O, no keys.
//
// DATA, CHECK, CHECK-ACK and CONTROL share one 16-byte header, authenticated as AAD; everything behind it is sealed.
//    0        1..3     4..7             8..15              16..
//   +--------+--------+----------------+------------------+------------+---------+
//   | type 1 | flags 3| receiver index | counter 8        | ciphertext | tag 16  |
//   +--------+--------+----------------+------------------+------------+---------+
//   counter: top 8 bits are the lane, the lower 56 count up within it. Nonce = IV xor (4 zero bytes . counter).
// RELAY DATA wraps any of them:  type 1 | channel 3 | packet
// The first byte tells all kinds apart from STUN (0x00-0x03) and from QUIC (0x40-0x7f, 0xc0-0xff, reserved; RFC 9443).
#pragma once
#include <cstdint>
#include <optional>

#include "base/core/bytes.h"

namespace tunnel {

enum class PacketType : uint8_t {
  data = 0x80,
  check = 0x84,
  check_ack = 0x85,
  relay_control = 0x86,
  handshake = 0x87,
  relay_data = 0x88,
  control = 0x89,
};

inline constexpr size_t kHeaderBytes = 16;
inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kOverheadBytes = kHeaderBytes + kTagBytes;
inline constexpr size_t kRelayHeaderBytes = 4;
inline constexpr int kLaneShift = 56;

struct PacketHeader {
  PacketType type = PacketType::data;
  uint32_t flags = 0;  // 24 bits; see the protocol page
  uint32_t index = 0;  // the receiver's
  uint64_t counter = 0;
  uint8_t lane() const { return uint8_t(counter >> kLaneShift); }
  uint64_t sequence() const { return counter & ((uint64_t(1) << kLaneShift) - 1); }
};

inline uint64_t make_counter(uint8_t lane, uint64_t sequence) { return uint64_t(lane) << kLaneShift | sequence; }

// Two words as they lie in memory, with one store: a cipher that loads all 16 bytes at once need not wait for two.
inline void store_pair(uint8_t out[16], uint64_t first, uint64_t second) {
  using Pair = uint64_t __attribute__((vector_size(16)));
  Pair both{first, second};
  memcpy(out, &both, sizeof both);
}

void write_header(uint8_t out[kHeaderBytes], const PacketHeader&);
// nullopt: too short or not one of the four sealed types.
std::optional<PacketHeader> read_header(base::ByteView packet);

void write_relay_header(uint8_t out[kRelayHeaderBytes], uint32_t channel);
struct RelayFrame {
  uint32_t channel;
  base::ByteView packet;
};
std::optional<RelayFrame> read_relay_frame(base::ByteView packet);

enum class Kind : uint8_t { stun, sealed, relay_control, handshake, relay_data, unknown };
Kind classify(base::ByteView packet);

}  // namespace tunnel
