// HTTP/1.1 parser: never more state than its limits, the same messages however the bytes are cut, and what it accepts
// serializes to something it accepts again.
#include "base/core/assert.h"
#include "base/http/h1_codec.h"

namespace {

struct Seen {
  bool failed = false;
  std::vector<std::string> bodies;
};

Seen parse(base::H1Parser::Kind kind, base::ByteView in, size_t step) {
  base::H1Parser p(kind, {1024, 16, 4096});
  Seen seen;
  while (!in.empty()) {
    base::ByteView piece = in.first(std::min(step, in.size()));
    auto n = p.feed(piece);
    if (!n) return seen.failed = true, seen;
    EM_ASSERT(*n > 0 && *n <= piece.size());
    in = in.subspan(*n);
    if (!p.complete()) continue;
    auto& body = kind == base::H1Parser::Kind::request ? p.request().body : p.response().body;
    EM_ASSERT(body.size() <= 4096);
    seen.bodies.push_back(body);
    if (kind == base::H1Parser::Kind::request) {
      base::H1Parser again(kind);
      std::string wire = base::h1_serialize(p.request());
      EM_ASSERT(again.feed(base::as_bytes(wire)).value_or(0) == wire.size() && again.complete());
      EM_ASSERT(again.request().body == body && again.request().target == p.request().target);
    }
    p.next_message();
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto kind = data[0] & 1 ? base::H1Parser::Kind::response : base::H1Parser::Kind::request;
  base::ByteView in(data + 1, size - 1);
  Seen whole = parse(kind, in, in.size()), bytes = parse(kind, in, 1), threes = parse(kind, in, 3);
  EM_ASSERT(whole.failed == bytes.failed && whole.bodies == bytes.bodies);
  EM_ASSERT(whole.failed == threes.failed && whole.bodies == threes.bodies);
  return 0;
}
