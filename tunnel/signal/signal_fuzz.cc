// Messages on a signalling stream: the same ones however the bytes are cut, never one beyond the limit, nothing read after an
// error, and what was read can be framed and read again.
#include "base/core/assert.h"
#include "tunnel/signal/message_frame.h"

namespace {

struct Seen {
  bool failed = false;
  std::vector<std::string> messages;
  bool operator==(const Seen&) const = default;
};

void check_again(const tunnel::Message& m) {
  auto wire = tunnel::frame_message(m);
  if (!wire) return;  // a foreign encoding may be shorter than ours
  base::Buffer in;
  in.append(*wire);
  auto again = tunnel::take_message(in);
  EM_ASSERT(again && *again && in.empty());
  EM_ASSERT((*again)->SerializeAsString() == m.SerializeAsString());
}

Seen read(base::ByteView bytes, size_t step) {
  Seen seen;
  base::Buffer in;
  while (!bytes.empty()) {
    in.append(bytes.first(std::min(step, bytes.size())));
    bytes = bytes.subspan(std::min(step, bytes.size()));
    for (;;) {
      size_t before = in.size();
      auto m = tunnel::take_message(in);
      if (!m) return seen.failed = true, seen;
      if (!*m) break;
      EM_ASSERT(before - in.size() <= 4 + tunnel::kMessageBytesMax);
      seen.messages.push_back((*m)->SerializeAsString());
      check_again(**m);
    }
    EM_ASSERT(in.size() < 4 + tunnel::kMessageBytesMax);
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView in(data, size);
  Seen whole = read(in, size + 1);
  EM_ASSERT(whole == read(in, 1));
  EM_ASSERT(whole == read(in, 7));
  return 0;
}
