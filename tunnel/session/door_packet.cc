#include "tunnel/session/door_packet.h"

#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>

namespace tunnel {
namespace {

constexpr uint8_t kDoorVersion = 1;

Digest mac_of(base::ByteView text, const ResumeSecret& key) {
  Digest out;
  unsigned n = 0;
  EM_ASSERT(HMAC(EVP_sha256(), key.bytes.data(), key.bytes.size(), text.data(), text.size(), out.data(), &n) && n == out.size());
  return out;
}

bool has_payload(DoorKind k) { return k == DoorKind::call || k == DoorKind::frame; }

}  // namespace

std::optional<DoorPacket> read_door(base::ByteView b) {
  if (b.size() < kDoorBytesMin || b.size() > kDoorBytesMax) return std::nullopt;
  base::Reader r(b.first(b.size() - kDoorTagBytes));
  bool ours = r.u8() == uint8_t(PacketType::handshake) && r.u8() == kDoorVersion;
  uint8_t kind = r.u8();
  if (!ours || kind < uint8_t(DoorKind::knock) || kind > uint8_t(DoorKind::frame) || r.u8() != 0) return std::nullopt;
  DoorPacket p;
  p.kind = DoorKind(kind);
  p.id = r.u64();
  p.sender = r.u64();
  p.receiver = r.u64();
  p.counter = r.u32();
  p.payload = r.rest();
  if (!r.ok() || p.sender == 0 || has_payload(p.kind) == p.payload.empty()) return std::nullopt;
  return p;
}

bool is_authentic(base::ByteView b, const ResumeSecret& key) {
  Digest want = mac_of(b.first(b.size() - kDoorTagBytes), key);
  return CRYPTO_memcmp(want.data(), &b[b.size() - kDoorTagBytes], kDoorTagBytes) == 0;
}

base::ByteVec make_door(const DoorPacket& p, const ResumeSecret& key) {
  EM_ASSERT(kDoorBytesMin + p.payload.size() <= kDoorBytesMax);
  base::ByteVec out;
  base::Writer w(out);
  w.u8(uint8_t(PacketType::handshake));
  w.u8(kDoorVersion);
  w.u8(uint8_t(p.kind));
  w.u8(0);
  w.u64(p.id);
  w.u64(p.sender);
  w.u64(p.receiver);
  w.u32(p.counter);
  w.put(p.payload);
  Digest mac = mac_of(out, key);
  w.put(base::ByteView(mac).first(kDoorTagBytes));
  return out;
}

}  // namespace tunnel
