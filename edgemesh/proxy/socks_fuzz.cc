// A client that sends anything, in pieces of any size: the dialogue ends or waits, says at most a few bytes, and keeps little.
#include <algorithm>

#include "base/core/assert.h"
#include "edgemesh/proxy/socks_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgemesh;
  if (size < 2) return 0;
  const bool login = data[0] & 1;
  const size_t piece = 1 + data[1] % 64;
  SocksDialogue d(login ? [](std::string_view n, std::string_view p) { return n.size() == p.size(); } : SocksDialogue::Login());
  size_t at = 2, said = 0;
  while (d.wants() && at < size) {
    const size_t n = std::min({d.wants(), piece, size - at});
    EM_ASSERT(d.wants() <= 257);
    d.feed({data + at, n});
    at += n;
    said += d.take_reply().size();
  }
  EM_ASSERT(said <= 2 + 2 + 22 && at <= 2 + 600);
  if (d.state() == SocksDialogue::State::requested) {
    EM_ASSERT(d.target().address.port != 0 && d.target().name.size() <= 255);
    for (char c : d.target().str()) EM_ASSERT(c >= ' ' && c < 0x7f);
  }
  return 0;
}
