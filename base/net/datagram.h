// UDP in batches: recvmmsg with GRO, sendmmsg with GSO, local address and TOS/ECN both ways. All buffers are made once; nothing
// is allocated per packet. One reader and one writer per data loop serve any number of sockets.
#pragma once
#include <memory>
#include <span>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/net/addr.h"

namespace base {

struct Datagram {
  IpPort from;
  IpAddr local;           // with SocketOptions::packet_info, else any
  uint32_t interface = 0; // likewise, else 0
  uint8_t tos = 0;        // likewise; ECN is the low two bits
  bool truncated = false; // longer than the slot: to be dropped
  size_t segment = 0;     // the kernel joined datagrams of this size (the last may be shorter); data.size() when it is one
  MutByteView data;       // in the reader; good until the next receive()
};

class DatagramReader {
 public:
  // With GRO slots of 65535 bytes; memory becomes resident only as far as packets ever reached into it.
  explicit DatagramReader(size_t slots = 64, size_t slot_bytes = 2048);
  ~DatagramReader();
  // What is waiting, at most one per slot; empty when nothing is. Errors of earlier sends (ICMP) are passed over.
  Result<std::span<Datagram>> receive(int fd);

 private:
  struct Kernel;
  std::unique_ptr<Kernel> k_;
};

struct SendJob {
  IpPort to;
  ByteView data;                 // lives until it was flushed or cleared
  std::optional<IpAddr> source;  // the local address to send from (several on one socket)
  uint8_t tos = 0;
  size_t segment = 0;            // nonzero: cut data into datagrams of this size, the last may be shorter (GSO)
};

struct SendReport {
  size_t jobs = 0;          // accepted by the kernel
  size_t refused = 0;       // skipped because of an error of their own
  int error = 0;            // errno of the last refused
  bool would_block = false; // the socket's buffer is full; the rest stays queued
};

class DatagramWriter {
 public:
  static constexpr size_t kSegmentsMax = 64;       // per job: the kernel's bound
  static constexpr size_t kJobBytesMax = 65'000;   // per job, headers excluded
  explicit DatagramWriter(size_t slots = 64);
  ~DatagramWriter();
  bool full() const;
  size_t queued() const;
  void add(const SendJob&);  // not when full()
  SendReport flush(int fd);  // sends the queued in order; what is not left for would_block is gone from the queue
  void clear();
  // False once the kernel or the device refused segmentation; jobs are then cut here, at the price of more system calls.
  bool gso() const;
  void disable_gso();

 private:
  struct Kernel;
  std::unique_ptr<Kernel> k_;
};

}  // namespace base
