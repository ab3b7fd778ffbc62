// The receive buffers of a Worker: several datagram batches per system call. Internal to tunnel/data.
#pragma once
#include <sys/socket.h>

#include "tunnel/data/worker.h"

namespace tunnel {

inline constexpr size_t kPacketBytesMax = 65535;
inline constexpr size_t kTunBufferBytes = kVnetBytes + kPacketBytesMax + 1;

struct Worker::ReceiveBuffers {
  static constexpr size_t kMessages = 8, kBytes = 65536;
  ReceiveBuffers();
  void reset(size_t used);  // before each call: lengths as the kernel expects them
  mmsghdr messages[kMessages];
  iovec parts[kMessages];
  base::SockAddr from[kMessages];
  alignas(cmsghdr) char ancillary[kMessages][64];
  std::unique_ptr<uint8_t[]> bytes{new uint8_t[kMessages * kBytes]};
};

}  // namespace tunnel
