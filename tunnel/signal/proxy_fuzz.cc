// A proxy's answer to CONNECT: the same verdict however it is cut, never more than is there, and only a 2xx opens.
#include "base/core/assert.h"
#include "tunnel/signal/proxy_connect.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView in(data, size);
  auto whole = tunnel::read_connect_answer(in);
  if (whole && *whole) {
    EM_ASSERT(**whole <= size && **whole <= tunnel::kProxyAnswerBytesMax);
    EM_ASSERT(size > 9 && data[9] == '2');
    EM_ASSERT(base::as_text(in.first(**whole)).ends_with("\r\n\r\n"));
  }
  for (size_t n = 0; n < size; n += 1 + n / 8) {
    auto part = tunnel::read_connect_answer(in.first(n));
    if (!part) EM_ASSERT(!whole && part.error().what == whole.error().what);
    else if (*part) EM_ASSERT(whole && *whole == *part);
  }
  return 0;
}
