// Packets as the kernel reports them, of which a sender chose every byte. Whatever is read of one is there, and one byte less of
// the ports is nothing.
#include "base/core/assert.h"
#include "base/net/packet_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const base::ByteVec packet(data, data + size);  // of its own size, so that a read behind its end is noticed
  auto syn = base::tcp_tuple(packet);
  auto error = base::undelivered(packet);
  EM_ASSERT(!syn || !error);
  EM_ASSERT(!syn || (size >= 24 && syn->src.ip.family() == syn->dst.ip.family()));
  EM_ASSERT(!error || (size >= 52 && error->packet.src.ip.family() == error->packet.dst.ip.family()));
  return 0;
}
