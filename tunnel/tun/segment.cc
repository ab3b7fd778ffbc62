#include "tunnel/tun/segment.h"

namespace tunnel {
namespace {
constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;
constexpr size_t kTcpHeaderBytes = 20, kUdpHeaderBytes = 8;

// Of the words of an IPv4 header that are the same in every segment: all but length, id and checksum. Summing the header just
// written instead would wait for those small stores to become one wide load.
uint32_t lasting_sum(const uint8_t* h) {
  uint32_t sum = 0;
  for (size_t i = 0; i < size_t(h[0] & 15) * 4; i += 2)
    if (i != 2 && i != 4 && i != 10) sum += base::load_be16(h + i);
  return sum;
}
}  // namespace

bool Segmenter::begin(const VnetHeader& v, base::MutByteView packet) {
  next_bytes_ = done_ = count_ = 0;
  many_ = partial_ = false;
  packet_ = packet;
  auto ip = parse_ip(packet);
  if (!ip) return false;
  ip_ = *ip;
  return v.kind() == VnetHeader::kNone ? begin_single(v) : begin_many(v);
}

bool Segmenter::begin_single(const VnetHeader& v) {
  if (v.flags & VnetHeader::kNeedsChecksum) {
    size_t at = checksum_offset(ip_.proto);
    partial_ = at != 0 && !ip_.fragment && v.checksum_start == ip_.transport && v.checksum_offset == at &&
               ip_.transport + at + 2 <= packet_.size();
    if (v.checksum_start < ip_.transport) return false;  // would overwrite the IP header
    if (!partial_ && !complete_checksum(packet_, v.checksum_start, v.checksum_offset)) return false;
  }
  header_bytes_ = 0;
  segment_ = next_bytes_ = packet_.size();
  return true;
}

bool Segmenter::begin_many(const VnetHeader& v) {
  bool tcp = (v.kind() == VnetHeader::kTcp4 && !ip_.v6) || (v.kind() == VnetHeader::kTcp6 && ip_.v6);
  if (!tcp && v.kind() != VnetHeader::kUdp) return false;
  if (v.gso_size == 0 || ip_.fragment || ip_.proto != (tcp ? kProtoTcp : kProtoUdp)) return false;
  size_t left = packet_.size() - ip_.transport;
  if (left < (tcp ? kTcpHeaderBytes : kUdpHeaderBytes)) return false;
  size_t transport = tcp ? size_t(packet_[ip_.transport + 12] >> 4) * 4 : kUdpHeaderBytes;
  if (transport < (tcp ? kTcpHeaderBytes : kUdpHeaderBytes) || transport > left) return false;
  header_bytes_ = ip_.transport + transport;
  if (header_bytes_ > kHeaderBytesMax) return false;  // no kernel makes superpackets with so many extension headers
  memcpy(headers_, packet_.data(), header_bytes_);
  ip_.src = headers_ + (ip_.src - packet_.data());
  ip_.dst = headers_ + (ip_.dst - packet_.data());
  segment_ = v.gso_size;
  many_ = partial_ = true;
  ip_sum_ = ip_.v6 ? 0 : lasting_sum(packet_.data());
  next_bytes_ = bytes_at(0);
  return true;
}

size_t Segmenter::bytes_at(size_t done) const {
  size_t left = packet_.size() - header_bytes_ - done;
  if (left == 0 && done != 0) return 0;
  return header_bytes_ + (left < segment_ ? left : segment_);
}

void Segmenter::write(uint8_t* out) {
  if (!many_) {
    memcpy(out, packet_.data(), next_bytes_);
    next_bytes_ = 0;
    return;
  }
  size_t payload = next_bytes_ - header_bytes_;
  memcpy(out + header_bytes_, packet_.data() + header_bytes_ + done_, payload);
  write_headers(out, payload);
}

const uint8_t* Segmenter::next() {
  if (!many_) {
    next_bytes_ = 0;
    return packet_.data();
  }
  uint8_t* out = packet_.data() + done_;  // so that its payload is where it is
  write_headers(out, next_bytes_ - header_bytes_);
  return out;
}

// Before the payload that follows, and moves on.
void Segmenter::write_headers(uint8_t* out, size_t payload) {
  memcpy(out, headers_, header_bytes_);
  write_ip(out, next_bytes_);
  size_t transport_bytes = next_bytes_ - ip_.transport;
  uint8_t* transport = out + ip_.transport;
  bool last = header_bytes_ + done_ + payload == packet_.size();
  if (ip_.proto == kProtoTcp) write_tcp(transport, last);
  else base::store_be16(transport + 4, uint16_t(transport_bytes));
  base::store_be16(transport + checksum_offset(ip_.proto), checksum_fold(pseudo_header_sum(ip_, ip_.proto, transport_bytes)));
  done_ += payload;
  ++count_;
  next_bytes_ = last ? 0 : bytes_at(done_);
}

void Segmenter::write_ip(uint8_t* out, size_t bytes) const {
  if (ip_.v6) return base::store_be16(out + 4, uint16_t(bytes - 40));
  uint16_t id = uint16_t(base::load_be16(headers_ + 4) + count_);
  base::store_be16(out + 2, uint16_t(bytes));
  base::store_be16(out + 4, id);
  uint32_t sum = ip_sum_ + uint32_t(bytes) + id;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  base::store_be16(out + 10, uint16_t(~sum));
}

void Segmenter::write_tcp(uint8_t* tcp, bool last) const {
  base::store_be32(tcp + 4, base::load_be32(tcp + 4) + uint32_t(done_));
  if (!last) tcp[13] &= uint8_t(~(kFin | kPsh));
  if (done_ > 0) tcp[13] &= uint8_t(~kCwr);
}

}  // namespace tunnel
