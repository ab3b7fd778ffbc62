#include "tunnel/stun/stun.h"

namespace tunnel {
namespace {

constexpr uint32_t kMagic = 0x2112A442, kFingerprintXor = 0x5354554e;  // RFC 8489 §14.7
constexpr uint16_t kXorMapped = 0x0020, kPadding = 0x0026, kFingerprint = 0x8028, kOtherAddress = 0x802c, kMandatoryBelow = 0x8000;
constexpr uint8_t kFamilyV4 = 1, kFamilyV6 = 2;

uint32_t crc32(base::ByteView b) {  // ISO-HDLC, as FINGERPRINT asks for; requests are rare, so bit by bit will do
  uint32_t c = ~uint32_t(0);
  for (uint8_t x : b) {
    c ^= x;
    for (int i = 0; i < 8; ++i) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
  }
  return ~c;
}

// The address xor the magic cookie and, for IPv6, the transaction id: the 16 bytes from offset 4 of the header.
void xor_address(uint8_t* addr, size_t n, const uint8_t* header) {
  for (size_t i = 0; i < n; ++i) addr[i] ^= header[4 + i];
}

std::optional<base::IpPort> read_mapped(base::ByteView value, const uint8_t* header) {
  base::Reader r(value);
  r.u8();
  uint8_t family = r.u8();
  uint16_t port = uint16_t(r.u16() ^ kMagic >> 16);
  size_t n = family == kFamilyV4 ? 4 : family == kFamilyV6 ? 16 : 0;
  if (n == 0 || r.left() != n || !r.ok()) return std::nullopt;
  uint8_t a[16];
  memcpy(a, r.take(n).data(), n);
  xor_address(a, n, header);
  return base::IpPort{n == 4 ? base::IpAddr::v4(a) : base::IpAddr::v6(a), port};
}

bool is_known_type(uint16_t t) {
  return t == uint16_t(StunType::request) || t == uint16_t(StunType::success) || t == uint16_t(StunType::error);
}

// False: the message is to be refused.
bool read_attribute(uint16_t type, base::ByteView value, base::ByteView message, size_t at, StunMessage& m) {
  switch (type) {
    case kXorMapped:
      if (m.mapped) return true;  // the first counts (RFC 8489 §14)
      m.mapped = read_mapped(value, message.data());
      return m.mapped.has_value();
    case kFingerprint:
      return value.size() == 4 && at + 8 == message.size() && base::load_be32(value.data()) == (crc32(message.first(at)) ^ kFingerprintXor);
    case kPadding: return true;
    case kOtherAddress:
      if (value.size() >= 4) m.other_port = base::load_be16(value.data() + 2);
      return true;
    default: return type >= kMandatoryBelow || m.type != StunType::request;  // an error response has attributes of its own
  }
}

void write_start(base::Writer& w, StunType type, const StunId& id, size_t attribute_bytes) {
  w.u16(uint16_t(type));
  w.u16(uint16_t(attribute_bytes));
  w.u32(kMagic);
  w.put(id);
}

void write_fingerprint(base::ByteVec& out) {
  uint32_t crc = crc32(out) ^ kFingerprintXor;
  base::Writer w(out);
  w.u16(kFingerprint);
  w.u16(4);
  w.u32(crc);
}

}  // namespace

std::optional<StunMessage> parse_stun(base::ByteView b) {
  base::Reader r(b);
  StunMessage m;
  uint16_t type = r.u16(), length = r.u16();
  if (r.u32() != kMagic || !is_known_type(type)) return std::nullopt;
  m.type = StunType(type);
  auto id = r.take(m.id.size());
  if (!r.ok() || length % 4 != 0 || r.left() != length) return std::nullopt;
  std::copy(id.begin(), id.end(), m.id.begin());
  while (r.left() > 0) {
    size_t at = r.position();
    uint16_t what = r.u16(), n = r.u16();
    auto value = r.take(n);
    r.take((4 - n % 4) % 4);
    if (!r.ok() || !read_attribute(what, value, b, at, m)) return std::nullopt;
  }
  if (m.type == StunType::success && !m.mapped) return std::nullopt;
  return m;
}

base::ByteVec make_stun_request(const StunId& id) {
  base::ByteVec out;
  base::Writer w(out);
  constexpr size_t kFill = kStunResponseBytesMax - kStunHeaderBytes - 8 - 4;
  write_start(w, StunType::request, id, kStunResponseBytesMax - kStunHeaderBytes);
  w.u16(kPadding);
  w.u16(kFill);
  out.resize(out.size() + kFill);
  write_fingerprint(out);
  return out;
}

base::ByteVec make_stun_response(const StunId& id, const base::IpPort& p, uint16_t other_port) {
  base::ByteVec out;
  base::Writer w(out);
  size_t n = p.ip.bytes().size();
  if (n != 4) other_port = 0;
  write_start(w, StunType::success, id, 8 + n + (other_port ? 12 : 0) + 8);
  w.u16(kXorMapped);
  w.u16(uint16_t(4 + n));
  w.u8(0);
  w.u8(n == 4 ? kFamilyV4 : kFamilyV6);
  w.u16(uint16_t(p.port ^ kMagic >> 16));
  uint8_t a[16];
  memcpy(a, p.ip.bytes().data(), n);
  xor_address(a, n, out.data());
  w.put({a, n});
  if (other_port) {
    w.u16(kOtherAddress);
    w.u16(8);
    w.u16(kFamilyV4);
    w.u16(other_port);
    w.u32(0);  // the address it was reached at
  }
  write_fingerprint(out);
  return out;
}

}  // namespace tunnel
