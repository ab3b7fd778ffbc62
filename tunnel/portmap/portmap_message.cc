#include "tunnel/portmap/portmap_message.h"

#include <algorithm>

namespace tunnel {
namespace {

constexpr uint8_t kPcp = 2, kPmp = 0, kAnswer = 0x80, kUdp = 17;
constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};  // ::ffff:a.b.c.d
constexpr uint16_t kUnsupportedVersion = 1;                                  // in both protocols

void put_address(base::Writer& w, const base::IpAddr& ip) {
  if (ip.is_v4()) w.put(kMapped);
  w.put(ip.bytes());
}

base::IpAddr take_address(base::Reader& r) {
  base::ByteView b = r.take(16);
  if (b.size() != 16) return {};
  return std::equal(std::begin(kMapped), std::end(kMapped), b.begin()) ? base::IpAddr::v4(b.data() + 12) : base::IpAddr::v6(b.data());
}

std::optional<PortmapAnswer> read_pcp(base::Reader& r, uint8_t opcode) {
  PortmapAnswer a;
  a.kind = opcode == 1 ? PortmapKind::pcp_map : PortmapKind::pcp_announce;
  r.u8();
  a.result = r.u8();
  a.lifetime = r.u32();
  a.epoch = r.u32();
  r.take(12);
  if (!r.ok() || opcode > 1) return std::nullopt;
  a.other_version = a.result == kUnsupportedVersion;
  if (opcode == 0 || (a.result != 0 && r.left() < 36)) return a;
  base::ByteView nonce = r.take(a.nonce.size());
  uint8_t protocol = r.u8();
  r.take(3);
  a.own_port = r.u16();
  a.outside.port = r.u16();
  a.outside.ip = take_address(r);
  if (!r.ok() || protocol != kUdp) return std::nullopt;
  std::copy(nonce.begin(), nonce.end(), a.nonce.begin());
  return a;
}

std::optional<PortmapAnswer> read_pmp(base::Reader& r, uint8_t opcode) {
  PortmapAnswer a;
  a.kind = opcode == 1 ? PortmapKind::pmp_map : PortmapKind::pmp_address;
  a.result = r.u16();
  a.epoch = r.u32();
  if (!r.ok()) return std::nullopt;
  // What an old router says of any request it cannot read, a PCP one above all (RFC 6886 §3.5, RFC 6887 appendix A).
  a.other_version = a.result == kUnsupportedVersion;
  if (a.result != 0) return a;
  if (opcode == 0) {
    base::ByteView ip = r.take(4);
    if (r.ok()) a.outside.ip = base::IpAddr::v4(ip.data());
  } else if (opcode == 1) {
    a.own_port = r.u16();
    a.outside.port = r.u16();
    a.lifetime = r.u32();
  }
  return r.ok() && opcode <= 1 ? std::optional(a) : std::nullopt;
}

}  // namespace

base::ByteVec make_portmap(const PortmapRequest& q) {
  base::ByteVec out;
  base::Writer w(out);
  if (q.kind == PortmapKind::pmp_address || q.kind == PortmapKind::pmp_map) {
    w.u8(kPmp);
    w.u8(q.kind == PortmapKind::pmp_map ? 1 : 0);
    if (q.kind == PortmapKind::pmp_address) return out;
    w.u16(0);
    w.u16(q.own_port);
    w.u16(q.wished.port);
    w.u32(q.lifetime);
    return out;
  }
  w.u8(kPcp);
  w.u8(q.kind == PortmapKind::pcp_map ? 1 : 0);
  w.u16(0);
  w.u32(q.lifetime);
  put_address(w, q.client);
  if (q.kind == PortmapKind::pcp_announce) return out;
  w.put(q.nonce);
  w.u8(kUdp);
  w.put(base::ByteVec(3));
  w.u16(q.own_port);
  w.u16(q.wished.port);
  put_address(w, q.wished.ip);
  return out;
}

std::optional<PortmapAnswer> read_portmap(base::ByteView b) {
  if (b.size() > kPortmapBytesMax) return std::nullopt;
  base::Reader r(b);
  uint8_t version = r.u8(), opcode = r.u8();
  if (!r.ok() || !(opcode & kAnswer)) return std::nullopt;
  opcode &= uint8_t(~kAnswer);
  if (version == kPcp) return read_pcp(r, opcode);
  if (version == kPmp) return read_pmp(r, opcode);
  return std::nullopt;
}

const char* portmap_trouble(const PortmapAnswer& a) {
  bool pcp = a.kind == PortmapKind::pcp_map || a.kind == PortmapKind::pcp_announce;
  static constexpr const char* kPcpWords[] = {"done",
                                              "another version",
                                              "it does not permit it",
                                              "it cannot read the request",
                                              "it does not do mappings",
                                              "it does not know the option",
                                              "it cannot read the option",
                                              "it has no outside network",
                                              "it is out of mappings",
                                              "it does not do UDP",
                                              "this node has too many mappings",
                                              "it cannot give that outside port",
                                              "the address is not the one it sees: "
                                              "there is a NAT before it",
                                              "too many remote addresses"};
  static constexpr const char* kPmpWords[] = {
      "done", "another version", "it does not permit it", "it has no outside network", "it is out of mappings", "it does not do mappings"};
  if (pcp) return a.result < std::size(kPcpWords) ? kPcpWords[a.result] : "it refuses";
  return a.result < std::size(kPmpWords) ? kPmpWords[a.result] : "it refuses";
}

}  // namespace tunnel
