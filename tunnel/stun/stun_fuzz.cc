// STUN from anybody: what parses as a success and is written again carries the same address.
#include "base/core/assert.h"
#include "tunnel/stun/stun.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto m = tunnel::parse_stun({data, size});
  if (m && m->mapped) {
    auto again = tunnel::parse_stun(tunnel::make_stun_response(m->id, *m->mapped));
    EM_ASSERT(again && again->mapped == m->mapped && again->id == m->id);
  }
  return 0;
}
