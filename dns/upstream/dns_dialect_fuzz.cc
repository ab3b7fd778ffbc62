// What an upstream may send on a connection: frames of DNS over TLS, and HTTP/2 with messages in it. The first octet chooses.
#include "base/core/assert.h"
#include "dns/upstream/dialect.h"
#include "dns/wire/query.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 1 << 16) return 0;
  auto d = data[0] & 1 ? dns::make_doh("dns.example", "/dns-query") : dns::make_dot();
  base::Buffer in;
  std::vector<dns::Dialect::Answer> answers;
  base::Instant now{std::chrono::seconds(1)};
  for (uint16_t i = 0; i < 3; i++) {
    base::ByteVec q(600);
    q.resize(dns::write_query(*dns::Name::from_text("www.example"), dns::type::A, i, 1232, false, false, q));
    dns::pad_query(q);
    EM_ASSERT(q.size() % 128 == 0);
    EM_ASSERT(d->ask(i, std::move(q)));
  }
  d->output();
  for (size_t at = 1; at < size;) {
    size_t n = std::min<size_t>(size - at, 1 + data[at] % 97);
    in.append({data + at, n});
    at += n;
    if (!d->feed(in, now, answers)) break;
    d->output();
  }
  for (auto& a : answers) EM_ASSERT(a.message.empty() || a.message.size() >= dns::kHeaderSize);
  return 0;
}
