// CHECK and CHECK-ACK bodies: whatever decodes says the same when it is encoded and decoded again, and no answer to a CHECK is
// longer than it.
#include "base/core/assert.h"
#include "tunnel/path/check.h"

using namespace tunnel;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView b(data, size);
  if (auto c = decode_check(b)) {
    EM_ASSERT(size >= kCheckBytes);
    auto again = decode_check(encode(*c));
    EM_ASSERT(again && again->txid == c->txid && again->path == c->path);
  }
  if (auto a = decode_check_ack(b)) {
    base::ByteVec bytes = encode(*a);
    EM_ASSERT(a->lanes.size() <= kFeedbackLanesMax && bytes.size() <= kCheckBytes);
    auto again = decode_check_ack(bytes);
    EM_ASSERT(again && encode(*again) == bytes && again->observed == a->observed && again->lanes == a->lanes);
  }
  return 0;
}
