// Segmenter: cuts what the kernel gave through the TUN (a TCP or UDP superpacket behind a vnet header) into the packets that go
// on the wire, written one after the other where the caller wants them. Pure; one object is used again and again.
//
//   TCP: sequence and IP id count up; FIN and PSH on the last segment, CWR on the first (RFC 3168 §6.1.2); other bits on all.
//   UDP: gso_size bytes each, the last may be shorter.
// Checksums of the transport stay partial (pseudo-header only) as the kernel left them: the tunnel authenticates every byte, so
// the receiving kernel need not sum them again. is_partial() tells, and travels in the packet's flags.
#pragma once
#include "tunnel/tun/ip_packet.h"
#include "tunnel/tun/vnet_header.h"

namespace tunnel {

class Segmenter {
 public:
  Segmenter() = default;
  Segmenter(const Segmenter&) = delete;
  // False: malformed (lengths that do not agree, options cut short, an unknown kind of offload); to be dropped and counted.
  // packet stays the caller's and must stay in place until the last write() or next(), which may change what lies before the segment.
  bool begin(const VnetHeader&, base::MutByteView packet);
  size_t next_bytes() const { return next_bytes_; }  // of the next segment; 0: no more
  void write(uint8_t* out);                          // writes next_bytes() and moves on
  // The same without copying the payload: its headers go over the end of the segment before. Good until the next call.
  const uint8_t* next();
  bool is_partial() const { return partial_; }
  size_t bytes_max() const { return header_bytes_ + segment_; }  // of the largest segment
  const IpPacket& ip() const { return ip_; }

 private:
  bool begin_single(const VnetHeader&);
  bool begin_many(const VnetHeader&);
  size_t bytes_at(size_t done) const;
  void write_headers(uint8_t* out, size_t payload);
  void write_ip(uint8_t* out, size_t bytes) const;
  void write_tcp(uint8_t* out, bool last) const;

  static constexpr size_t kHeaderBytesMax = 256;

  base::MutByteView packet_;
  uint8_t headers_[kHeaderBytesMax];  // of the superpacket; ip_ points into them
  IpPacket ip_;
  size_t header_bytes_ = 0;  // IP and transport
  size_t segment_ = 0;       // payload of each but the last
  size_t done_ = 0;          // payload written so far
  size_t next_bytes_ = 0;
  uint32_t ip_sum_ = 0;      // IPv4: what every segment's header checksum has in common
  uint16_t count_ = 0;
  bool many_ = false, partial_ = false;
};

}  // namespace tunnel
