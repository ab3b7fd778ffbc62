// Coalescer: joins TCP segments or UDP datagrams of one flow that were received together into one packet for the TUN, as the kernel's own GRO
// does: the parts stay in the receive buffer and are written as a vector. Within a batch() a segment that came right behind the one
// before is moved up to it: the kernel copies one long part for less than many. Everything else goes straight.
//
// Joined: same addresses, ports, acknowledgement, window, options, TOS, TTL, DF and flags (PSH ends a packet; FIN, SYN, RST,
// URG, CWR never join), sequence following on, all segments of the first one's size except a shorter last. A segment whose
// checksum is complete is joined only if it is right, so that a damaged one reaches the application as such: not at all.
// Datagrams, where the TUN takes them so (TunOffloads::udp), under the same rules: the kernel takes them along its way once and
// hands them out one by one as they were sent.
// Order within a flow is kept. Pure; one per worker.
#pragma once
#include <sys/uio.h>

#include <array>
#include <functional>

#include "tunnel/tun/ip_packet.h"
#include "tunnel/tun/vnet_header.h"

namespace tunnel {

class Coalescer {
 public:
  // parts[0] is the vnet header, the rest the packet.
  using Write = std::function<void(iovec* parts, size_t n)>;
  struct Options {
    bool udp = false;
  };
  Coalescer(Write write, Options o) : write_(std::move(write)), o_(o) {}
  // The packets added from here on may lie in this buffer, with nothing between them that anybody still wants. Until flush().
  void batch(base::ByteView buffer) { batch_ = buffer; }
  // packet must have passed parse_ip() and stays in place, and ours, until flush(). partial: its transport checksum covers the
  // pseudo-header only.
  void add(base::MutByteView packet, const IpPacket&, bool partial);
  void flush();

 private:
  static constexpr size_t kFlows = 8, kParts = 64;
  struct Run {
    uint8_t* first = nullptr;  // headers of the whole
    bool v6 = false;
    uint8_t proto = 0;
    uint16_t transport = 0, header_bytes = 0, segment = 0, count = 0, parts_used = 0;
    const uint8_t* taken = nullptr;  // where the last segment ended when it was received
    uint32_t next_sequence = 0;  // TCP
    size_t bytes = 0;
    bool partial = false;
    std::array<iovec, kParts + 1> parts;
  };
  Run* find(const uint8_t* packet, const IpPacket&);
  bool append(Run&, base::MutByteView packet, const IpPacket&);
  void add_part(Run&, base::MutByteView payload);
  void start(base::MutByteView packet, const IpPacket&, bool partial);
  void finish(Run&);
  void finish_many(Run&, VnetHeader&);
  void write_single(base::MutByteView packet, const IpPacket&, bool partial);

  bool is_joinable(base::ByteView packet, const IpPacket&) const;

  Write write_;
  const Options o_;
  std::array<Run, kFlows> runs_;
  size_t next_run_ = 0;
  base::ByteView batch_;
  const Run* last_ = nullptr;  // the run of the packet before, if it was joined
};

}  // namespace tunnel
