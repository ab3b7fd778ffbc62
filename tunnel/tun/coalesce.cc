#include "tunnel/tun/coalesce.h"

#include <utility>

namespace tunnel {
namespace {

constexpr uint8_t kPsh = 0x08, kAck = 0x10, kEce = 0x40;
constexpr size_t kPacketBytesMax = 65535;

size_t tcp_header_bytes(const uint8_t* tcp) { return size_t(tcp[12] >> 4) * 4; }

constexpr size_t kUdpHeaderBytes = 8;

// A plain data segment: whole header, payload, nothing but ACK, PSH and ECE set.
bool is_data(base::ByteView p, const IpPacket& ip) {
  const uint8_t* tcp = p.data() + ip.transport;
  size_t header = tcp_header_bytes(tcp);
  return header >= 20 && p.size() > ip.transport + header && (tcp[13] & ~(kPsh | kEce)) == kAck;
}

// Of the length its header tells, with a payload and a checksum to be had.
bool is_datagram(base::ByteView p, const IpPacket& ip) {
  const uint8_t* udp = p.data() + ip.transport;
  return base::load_be16(udp + 4) == p.size() - ip.transport && p.size() > ip.transport + kUdpHeaderBytes && base::load_be16(udp + 6) != 0;
}

bool lies_in(base::ByteView all, const uint8_t* begin, const uint8_t* end) {
  return !all.empty() && std::less_equal<>()(all.data(), begin) && std::less_equal<>()(end, all.data() + all.size());
}

bool is_same_ip(const uint8_t* a, const uint8_t* b, bool v6, uint16_t id_step) {
  if (v6) return memcmp(a, b, 4) == 0 && a[7] == b[7];             // class and flow label, hop limit
  if (a[1] != b[1] || a[8] != b[8] || a[6] != b[6]) return false;  // TOS, TTL, DF
  bool dont_fragment = a[6] & 0x40;
  return dont_fragment || uint16_t(base::load_be16(a + 4) + id_step) == base::load_be16(b + 4);
}

bool is_same_tcp(const uint8_t* a, const uint8_t* b) {
  size_t header = tcp_header_bytes(a);
  return memcmp(a + 8, b + 8, 5) == 0 && (a[13] | kPsh) == (b[13] | kPsh) && memcmp(a + 14, b + 14, 2) == 0 &&
         memcmp(a + 20, b + 20, header - 20) == 0;  // acknowledgement and length, flags, window, options
}

}  // namespace

void Coalescer::add(base::MutByteView p, const IpPacket& ip, bool partial) {
  bool transport = (ip.proto == kProtoTcp && p.size() >= ip.transport + 20u) || (ip.proto == kProtoUdp && p.size() >= ip.transport + kUdpHeaderBytes);
  if (ip.fragment)  // of any flow: only its first part tells the ports
    for (Run& r : runs_) finish(r);
  if (!transport || ip.fragment) return write_single(p, ip, partial);
  Run* run = find(p.data(), ip);
  bool joinable = is_joinable(p, ip) && (partial || is_transport_checksum_right(ip, p));
  if (run && joinable && append(*run, p, ip)) return;
  if (run) finish(*run);  // what came before goes before
  if (joinable) start(p, ip, partial);
  else write_single(p, ip, partial);
}

bool Coalescer::is_joinable(base::ByteView p, const IpPacket& ip) const {
  if (ip.transport != (ip.v6 ? 40 : 20)) return false;  // options and extension headers: rare, not worth comparing
  return ip.proto == kProtoTcp ? is_data(p, ip) : o_.udp && is_datagram(p, ip);
}

void Coalescer::flush() {
  for (Run& r : runs_) finish(r);
  batch_ = {};
  last_ = nullptr;
}

Coalescer::Run* Coalescer::find(const uint8_t* p, const IpPacket& ip) {
  for (Run& r : runs_) {
    if (!r.first || r.v6 != ip.v6 || r.proto != ip.proto) continue;
    const uint8_t* theirs = r.first + (r.v6 ? 8 : 12);
    if (memcmp(theirs, ip.src, 2 * ip.addr_bytes()) == 0 && memcmp(r.first + r.transport, p + ip.transport, 4) == 0) return &r;
  }
  return nullptr;
}

bool Coalescer::append(Run& r, base::MutByteView p, const IpPacket& ip) {
  const bool tcp = ip.proto == kProtoTcp;
  const uint8_t* transport = p.data() + ip.transport;
  size_t payload = p.size() - r.header_bytes;
  if (payload > r.segment || r.count == kParts || r.bytes + payload > kPacketBytesMax) return false;
  if (!is_same_ip(r.first, p.data(), r.v6, r.count)) return false;
  if (tcp && (ip.transport + tcp_header_bytes(transport) != r.header_bytes || base::load_be32(transport + 4) != r.next_sequence)) return false;
  if (tcp && !is_same_tcp(r.first + r.transport, transport)) return false;
  const bool pushed = tcp && (transport[13] & kPsh);
  add_part(r, p.subspan(r.header_bytes));  // from here on p's headers may be gone
  last_ = &r;
  ++r.count;
  r.bytes += payload;
  r.next_sequence += uint32_t(payload);
  if (pushed) r.first[r.transport + 13] |= kPsh;
  if (payload < r.segment || pushed) finish(r);
  return true;
}

void Coalescer::add_part(Run& r, base::MutByteView payload) {
  const uint8_t* before = std::exchange(r.taken, payload.data() + payload.size());
  if (last_ != &r || before > payload.data() || !lies_in(batch_, before, r.taken)) {
    r.parts[++r.parts_used] = {payload.data(), payload.size()};
    return;
  }
  iovec& end = r.parts[r.parts_used];
  memmove(static_cast<uint8_t*>(end.iov_base) + end.iov_len, payload.data(), payload.size());
  end.iov_len += payload.size();
}

void Coalescer::start(base::MutByteView p, const IpPacket& ip, bool partial) {
  Run* r = nullptr;
  for (Run& free : runs_)
    if (!free.first) r = &free;
  if (!r) finish(*(r = &runs_[next_run_++ % kFlows]));
  const bool tcp = ip.proto == kProtoTcp;
  const uint8_t* transport = p.data() + ip.transport;
  r->first = p.data();
  r->v6 = ip.v6;
  r->proto = ip.proto;
  r->transport = ip.transport;
  r->header_bytes = uint16_t(ip.transport + (tcp ? tcp_header_bytes(transport) : kUdpHeaderBytes));
  r->segment = uint16_t(p.size() - r->header_bytes);
  r->count = r->parts_used = 1;
  r->taken = p.data() + p.size();
  last_ = r;
  r->bytes = p.size();
  r->partial = partial;
  r->next_sequence = tcp ? base::load_be32(transport + 4) + r->segment : 0;
  r->parts[1] = {p.data(), p.size()};
  if (tcp && (transport[13] & kPsh)) finish(*r);
}

void Coalescer::finish(Run& r) {
  if (!r.first) return;
  VnetHeader v;
  if (r.count > 1) finish_many(r, v);
  if (r.count > 1 || r.partial) {
    v.flags = VnetHeader::kNeedsChecksum;
    v.checksum_start = r.transport;
    v.checksum_offset = checksum_offset(r.proto);
  }
  r.parts[0] = {&v, sizeof v};
  write_(r.parts.data(), r.parts_used + 1u);
  r.first = nullptr;
}

void Coalescer::finish_many(Run& r, VnetHeader& v) {
  uint8_t* p = r.first;
  IpPacket ip{r.v6, false, r.proto, r.transport, p + (r.v6 ? 8 : 12), nullptr};
  if (r.v6) {
    base::store_be16(p + 4, uint16_t(r.bytes - 40));
  } else {
    base::store_be16(p + 2, uint16_t(r.bytes));
    set_ipv4_checksum(p);
  }
  uint8_t* transport = p + r.transport;
  const size_t bytes = r.bytes - r.transport;
  if (r.proto == kProtoUdp) base::store_be16(transport + 4, uint16_t(bytes));
  base::store_be16(transport + checksum_offset(r.proto), checksum_fold(pseudo_header_sum(ip, r.proto, bytes)));
  v.gso_type = r.proto == kProtoUdp ? VnetHeader::kUdp : r.v6 ? VnetHeader::kTcp6 : VnetHeader::kTcp4;
  v.gso_size = r.segment;
  v.header_bytes = r.header_bytes;
}

void Coalescer::write_single(base::MutByteView p, const IpPacket& ip, bool partial) {
  last_ = nullptr;
  VnetHeader v;
  size_t at = checksum_offset(ip.proto);
  if (partial && at != 0 && !ip.fragment && ip.transport + at + 2 <= p.size()) {
    v.flags = VnetHeader::kNeedsChecksum;
    v.checksum_start = ip.transport;
    v.checksum_offset = uint16_t(at);
  }
  iovec parts[2] = {{&v, sizeof v}, {p.data(), p.size()}};
  write_(parts, 2);
}

}  // namespace tunnel
