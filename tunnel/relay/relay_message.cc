#include "tunnel/relay/relay_message.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>

#include "base/core/assert.h"
#include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

template <size_t N>
void take_into(base::Reader& r, std::array<uint8_t, N>& out) {
  auto b = r.take(N);
  if (r.ok()) std::copy(b.begin(), b.end(), out.begin());
}

bool read_source(base::Reader& r, base::IpPort& out) {
  uint8_t family = r.u8();
  auto addr = r.take(16);
  out.port = r.u16();
  if (!r.ok() || (family != 4 && family != 6)) return false;
  out.ip = family == 4 ? base::IpAddr::v4(addr.data()) : base::IpAddr::v6(addr.data());
  return true;
}

bool read_body(base::Reader& r, RelayMessage& m) {
  switch (m.kind) {
    case RelayKind::bind:
      m.generation = r.u64();
      take_into(r, m.token);
      for (uint8_t b : r.rest())
        if (b) return false;
      return r.position() >= kRelayBindBytes;
    case RelayKind::challenge: take_into(r, m.challenge); return read_source(r, m.source);
    case RelayKind::confirm:
      m.generation = r.u64();
      take_into(r, m.token);
      take_into(r, m.challenge);
      take_into(r, m.mac);
      return true;
    case RelayKind::confirmed: {
      m.channel = r.u32();
      bool ok = read_source(r, m.source);
      take_into(r, m.mac);
      return ok;
    }
    case RelayKind::refused: m.reason = RelayRefusal(r.u8()); return true;
  }
  return false;
}

}  // namespace

std::optional<RelayMessage> parse_relay_message(base::ByteView b) {
  base::Reader r(b);
  RelayMessage m;
  if (r.u8() != uint8_t(PacketType::relay_control)) return std::nullopt;
  m.kind = RelayKind(r.u8());
  m.flags = r.u16();
  m.nonce = r.u64();
  if (!r.ok() || !read_body(r, m) || !r.at_end()) return std::nullopt;
  return m;
}

void write_source(base::Writer& w, const base::IpPort& p) {
  uint8_t addr[16] = {};
  memcpy(addr, p.ip.bytes().data(), p.ip.bytes().size());
  w.u8(p.ip.is_v4() ? 4 : 6);
  w.put(addr);
  w.u16(p.port);
}

base::ByteVec write_relay_message(const RelayMessage& m) {
  base::ByteVec out;
  base::Writer w(out);
  w.u8(uint8_t(PacketType::relay_control));
  w.u8(uint8_t(m.kind));
  w.u16(m.flags);
  w.u64(m.nonce);
  switch (m.kind) {
    case RelayKind::bind:
      w.u64(m.generation);
      w.put(m.token);
      out.resize(kRelayBindBytes);
      break;
    case RelayKind::challenge:
      w.put(m.challenge);
      write_source(w, m.source);
      break;
    case RelayKind::confirm:
      w.u64(m.generation);
      w.put(m.token);
      w.put(m.challenge);
      w.put(m.mac);
      break;
    case RelayKind::confirmed:
      w.u32(m.channel);
      write_source(w, m.source);
      w.put(m.mac);
      break;
    case RelayKind::refused: w.u8(uint8_t(m.reason)); break;
  }
  return out;
}

RelayMac hmac_sha256(base::ByteView key, base::ByteView message) {
  RelayMac out;
  unsigned n = 0;
  EM_ASSERT(HMAC(EVP_sha256(), key.data(), key.size(), message.data(), message.size(), out.data(), &n) && n == out.size());
  return out;
}

bool is_equal_mac(const RelayMac& a, const RelayMac& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

RelayMac confirm_mac(base::ByteView bind_key, const RelayMessage& m) {
  base::ByteVec text;
  base::Writer w(text);
  w.put(base::as_bytes("confirm"));
  w.put(m.challenge);
  w.u32(m.channel);
  w.u64(m.generation);
  write_source(w, m.source);
  return hmac_sha256(bind_key, text);
}

RelayMac confirmed_mac(base::ByteView bind_key, const RelayMessage& m) {
  base::ByteVec text;
  base::Writer w(text);
  w.put(base::as_bytes("confirmed"));
  w.u64(m.nonce);
  w.u16(m.flags);
  w.u32(m.channel);
  w.u64(m.generation);
  write_source(w, m.source);
  return hmac_sha256(bind_key, text);
}

}  // namespace tunnel
