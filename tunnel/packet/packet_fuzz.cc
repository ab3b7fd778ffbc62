// The outer packets: whatever arrives is classified, and what parses writes back to the same bytes.
#include "base/core/assert.h"
#include "tunnel/packet/packet.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView p(data, size);
  tunnel::Kind kind = tunnel::classify(p);
  if (auto h = tunnel::read_header(p)) {
    EM_ASSERT(kind == tunnel::Kind::sealed);
    uint8_t back[tunnel::kHeaderBytes];
    tunnel::write_header(back, *h);
    EM_ASSERT(memcmp(back, data, sizeof back) == 0);
  }
  if (auto f = tunnel::read_relay_frame(p)) {
    EM_ASSERT(kind == tunnel::Kind::relay_data && f->packet.size() + tunnel::kRelayHeaderBytes == size);
    uint8_t back[tunnel::kRelayHeaderBytes];
    tunnel::write_relay_header(back, f->channel);
    EM_ASSERT(memcmp(back, data, sizeof back) == 0);
  }
  return 0;
}
