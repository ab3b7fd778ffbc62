// HANDSHAKE datagrams from anybody: reading them stays in bounds, and what is read is written again byte by byte.
#include <algorithm>

#include "base/core/assert.h"
#include "tunnel/session/door_packet.h"

using namespace tunnel;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const DoorKeys keys = derive_door_keys(ResumeSecret());
  auto p = read_door({data, size});
  if (!p) return 0;
  bool genuine = is_authentic({data, size}, keys.client);
  auto again = make_door(*p, keys.client);
  EM_ASSERT(again.size() == size && std::equal(again.begin(), again.end() - long(kDoorTagBytes), data));
  EM_ASSERT(std::equal(again.begin(), again.end(), data) == genuine);
  return 0;
}
