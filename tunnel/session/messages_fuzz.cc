// Messages inside a session (first byte: which): the hello and confirm behind the handshake, CONTROL. What decodes is bounded,
// and is the same after being encoded and decoded again. CONTROL also runs through a ControlChannel, which carries out each
// request once and answers it.
#include "base/core/assert.h"
#include "base/core/limits.h"
#include "tunnel/session/control_channel.h"

using namespace tunnel;

namespace {

void on_hello(base::ByteView b) {
  auto h = decode_hello(b);
  if (!h) return;
  EM_ASSERT(h->index != 0 && h->candidates.size() <= base::limits::kCandidatesPerPeerMax && h->psk_ids.size() <= 4);
  auto again = decode_hello(encode(*h));
  EM_ASSERT(again && encode(*again) == encode(*h) && again->candidates == h->candidates);
}

void on_confirm(base::ByteView b) {
  auto c = decode_confirm(b);
  if (!c) return;
  auto again = decode_confirm(encode(*c));
  EM_ASSERT(c->refused.size() <= 256 && again && again->mac == c->mac && again->refused == c->refused);
}

void on_control(base::ByteView b) {
  auto m = decode_control(b);
  if (m) {
    base::ByteVec bytes = encode(*m);
    auto again = decode_control(bytes);
    EM_ASSERT(again && again->id == m->id && again->reply == m->reply && again->body.index() == m->body.index() && encode(*again) == bytes);
  }
  base::SeededRng rng(1);
  int carried_out = 0, sent = 0, answered = 0;
  ControlChannel channel({[&](base::ByteView) { sent++; }, [&](const ControlBody&) { return carried_out++, ControlBody(Ack{}); }}, rng);
  base::Instant now{std::chrono::seconds(1)};
  channel.request(PunchNow{1, PunchRung::fresh, true, {}}, [&](auto) { answered++; }, now);
  channel.on_message(b);
  channel.on_message(b);
  EM_ASSERT(carried_out <= 1 && sent <= 3);
  channel.tick(now + std::chrono::seconds(6));
  EM_ASSERT(answered == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  base::ByteView b(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0: on_hello(b); break;
    case 1: on_confirm(b); break;
    default: on_control(b);
  }
  return 0;
}
