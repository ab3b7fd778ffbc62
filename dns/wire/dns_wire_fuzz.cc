// Every octet a client or an upstream may send: the query parser, the reply writer on what it read, and the answer scanner.
// What we write must be readable by ourselves, keep its limit and echo the question.
#include <algorithm>
#include <cstring>

#include "base/core/assert.h"
#include "dns/wire/bailiwick.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/rdata.h"

static void check_query(base::ByteView in) {
  using namespace dns;
  static uint8_t out[4096];
  Query q;
  Parsed p = parse_query(in, q);
  if (p == Parsed::drop) return;
  if (p != Parsed::ok) {
    EM_ASSERT(write_header_error(q, Rcode::formerr, out) <= kUdpMin);
    return;
  }
  Name n = *Name::from_wire(q.name());
  Name key = n;
  key.make_lower();
  EM_ASSERT(key.key() == q.key());
  MessageWriter w(key);
  for (uint8_t i = 0; i < 90; i++) w.add(key, type::A, 5, base::ByteVec{10, 0, 0, i});
  w.authority();
  w.add_soa(key, 5, 1);
  size_t limit = udp_limit(q, 1232), size = write_reply(q, {.turn = q.id}, w.body(), limit, out);
  EM_ASSERT(size <= limit);
  Scan s;
  EM_ASSERT(scan_answer({out, size}, s));
  EM_ASSERT(question_is({out, size}, q.name(), q.type, q.klass));
  EM_ASSERT(std::equal(q.question.begin(), q.question.end(), out + kHeaderSize));
  each_answer({out, size}, [&](const Record& r) {
    EM_ASSERT(r.owner.key() == n.key());
    return true;
  });
}

static void check_answer(base::ByteView in) {
  using namespace dns;
  Scan s;
  if (!scan_answer(in, s)) return;
  EM_ASSERT(s.size <= in.size() && s.question_end <= s.size);
  base::ByteVec m(in.begin(), in.end());
  for (uint16_t at : s.ttl_at) {
    EM_ASSERT(size_t(at) + 4 <= s.size);
    age_ttl(m, at, 10);
  }
  each_answer(m, [&](const Record& r) { return plain_rdata(m, r), true; });
  each_authority(m, [&](const Record& r) { return plain_rdata(m, r), true; });
  bool keeps = keeps_to_question(m);
  size_t at = kHeaderSize;
  Name asked;
  if (keeps && s.answers) EM_ASSERT(read_name(m, at, asked));
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > dns::kMessageMax) return 0;
  check_query({data, size});
  check_answer({data, size});
  return 0;
}
