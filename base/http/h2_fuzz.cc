// HTTP/2 codec: the same events however the bytes are cut, and under a user that answers, queues and resets, never more streams
// or waiting bytes than its limits. The first byte chooses the side and whether the connection's opening is given.
#include <map>
#include <optional>

#include "base/core/assert.h"
#include "base/http/h2_codec.h"

namespace {

using base::ByteView;
using base::H2Codec;

constexpr uint8_t kIsClient = 1, kOpeningGiven = 2;
const base::Headers kRequest{{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"}};

base::H2Limits limits() {
  base::H2Limits l;
  l.streams = 4;
  l.header_bytes = 1024;
  l.headers = 8;
  l.window = 8192;
  l.queued_bytes = 1000;
  l.resets_per_10s = 10;
  return l;
}

// What a user is told, with the data of a stream joined.
struct Seen {
  std::map<int32_t, std::string> of_stream;
  uint64_t pings = 0;
  bool goaway = false, failed = false;
  bool operator==(const Seen&) const = default;
};

void check(const base::Headers& h) {
  size_t bytes = 0;
  for (auto& f : h) bytes += f.name.size() + f.value.size() + 32;
  EM_ASSERT(h.size() <= limits().headers && bytes <= limits().header_bytes);
}

struct Side {
  Side(uint8_t flags, bool lively_)
      : lively(lively_), is_client(flags & kIsClient),
        codec(is_client ? H2Codec::Role::client : H2Codec::Role::server,
              {.on_headers = [this](int32_t s, const base::Headers& h, bool end) { on_headers(s, h, end); },
               .on_data = [this](int32_t s, ByteView d) { on_data(s, d); },
               .on_end = [this](int32_t s) { note(s, "END "); },
               .on_closed = [this](int32_t s, uint32_t code) { note(s, fmt::format("CLOSED {} ", code)); },
               .on_ping_ack = [this](uint64_t) { seen.pings += !seen.goaway; },
               .on_goaway = [this] { seen.goaway = true; }},
              limits()) {
    if (is_client) EM_ASSERT(codec.open(kRequest, false) && codec.open(kRequest, true));
    codec.drain();
  }

  // After a GOAWAY, what came in the same piece is still told, what comes later is not.
  void note(int32_t s, std::string_view what) {
    if (!seen.goaway) seen.of_stream[s] += what;
  }

  void on_headers(int32_t s, const base::Headers& h, bool end) {
    check(h);
    for (auto& f : h) note(s, f.name + "=" + f.value + ";");
    if (end) note(s, "LAST ");
    if (lively && !is_client) (void)codec.respond(s, {{":status", "200"}}, false);
  }

  void on_data(int32_t s, ByteView d) {
    note(s, base::as_text(d));
    if (!lively) return;
    codec.consume(s, d.size());
    (void)codec.send_data(s, d, d.size() % 7 == 0);
    EM_ASSERT(codec.queued(s) <= limits().queued_bytes);
    if (d.size() % 11 == 10) codec.reset(s, 8);
  }

  void feed(ByteView in, size_t step) {
    for (; !in.empty() && !seen.failed; in = in.subspan(std::min(step, in.size()))) {
      auto r = codec.feed(in.first(std::min(step, in.size())), base::Instant{});
      seen.failed = !r;
      // nghttp2 1.52 counts a CONTINUATION each time it is called within one, so that limit does depend on the cuts.
      if (!r && r.error().what.find("CONTINUATION") != std::string::npos) uneven = true;
      if (lively) codec.drain();
      // A stream whose reset waits to be written still counts; the peer's own allowance is the limit.
      EM_ASSERT(codec.live_streams() <= limits().streams + 2);
    }
  }

  bool lively, is_client, uneven = false;
  Seen seen;
  H2Codec codec;
};

// None: what was seen may depend on the cuts.
std::optional<Seen> run(uint8_t flags, ByteView in, size_t step, bool lively) {
  Side side(flags, lively);
  side.feed(in, step);
  for (int i = 0; i < 1000 && !side.codec.drain().empty(); i++) {}
  if (side.uneven) return {};
  if (side.seen.goaway) side.seen.failed = false;
  return side.seen;
}

base::ByteVec with_opening(uint8_t flags, ByteView in) {
  std::string_view magic = flags & kIsClient ? "" : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::string_view settings("\0\0\0\4\0\0\0\0\0", 9);
  base::ByteVec out(magic.begin(), magic.end());
  out.insert(out.end(), settings.begin(), settings.end());
  out.insert(out.end(), in.begin(), in.end());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > (64 << 10)) return 0;
  uint8_t flags = data[0];
  ByteView rest(data + 1, size - 1);
  base::ByteVec in(rest.begin(), rest.end());
  if (flags & kOpeningGiven) in = with_opening(flags, rest);
  auto whole = run(flags, in, in.size() + 1, false), bytes = run(flags, in, 1, false), fives = run(flags, in, 5, false);
  EM_ASSERT(!whole || !bytes || *whole == *bytes);
  EM_ASSERT(!whole || !fives || *whole == *fives);
  run(flags, in, 50, true);
  return 0;
}
