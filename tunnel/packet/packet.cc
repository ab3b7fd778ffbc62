#include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

bool is_sealed_type(uint8_t b) {
  switch (PacketType(b)) {
    case PacketType::data:
    case PacketType::check:
    case PacketType::check_ack:
    case PacketType::control: return true;
    default: return false;
  }
}

void store_be24(uint8_t* p, uint32_t v) {
  p[0] = uint8_t(v >> 16);
  base::store_be16(p + 1, uint16_t(v));
}

uint32_t load_be24(const uint8_t* p) { return uint32_t(p[0]) << 16 | base::load_be16(p + 1); }

}  // namespace

void write_header(uint8_t out[kHeaderBytes], const PacketHeader& h) {
  uint64_t words[2];
  auto* w = reinterpret_cast<uint8_t*>(words);
  base::store_be32(w, uint32_t(h.type) << 24 | (h.flags & 0xffffff));
  base::store_be32(w + 4, h.index);
  base::store_be64(w + 8, h.counter);
  store_pair(out, words[0], words[1]);  // the cipher loads it whole
}

std::optional<PacketHeader> read_header(base::ByteView p) {
  if (p.size() < kOverheadBytes || !is_sealed_type(p[0])) return std::nullopt;
  return PacketHeader{PacketType(p[0]), load_be24(&p[1]), base::load_be32(&p[4]), base::load_be64(&p[8])};
}

void write_relay_header(uint8_t out[kRelayHeaderBytes], uint32_t channel) {
  out[0] = uint8_t(PacketType::relay_data);
  store_be24(out + 1, channel);
}

std::optional<RelayFrame> read_relay_frame(base::ByteView p) {
  if (p.size() <= kRelayHeaderBytes || p[0] != uint8_t(PacketType::relay_data)) return std::nullopt;
  uint32_t channel = load_be24(&p[1]);
  if (channel == 0) return std::nullopt;
  return RelayFrame{channel, p.subspan(kRelayHeaderBytes)};
}

Kind classify(base::ByteView p) {
  if (p.empty()) return Kind::unknown;
  if (p[0] <= 0x03) return Kind::stun;
  switch (PacketType(p[0])) {
    case PacketType::relay_control: return Kind::relay_control;
    case PacketType::handshake: return Kind::handshake;
    case PacketType::relay_data: return Kind::relay_data;
    default: return is_sealed_type(p[0]) ? Kind::sealed : Kind::unknown;
  }
}

}  // namespace tunnel
