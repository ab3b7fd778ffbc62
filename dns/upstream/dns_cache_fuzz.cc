// The cache and its file. Whatever is on the disk is read within bounds; what is accepted is written back to the same entries. And a
// sequence of puts, finds, walks and time, checked against a plain model: what is found is what was put last, in time and in bounds.
#include <map>

#include "base/core/assert.h"
#include "dns/upstream/cache_file.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/response.h"

using namespace dns;
using namespace std::chrono_literals;

namespace {

base::Instant at(int64_t s) { return base::Instant(std::chrono::seconds(s)); }

// The header is made valid, so that the fuzzer works on the body.
base::ByteVec as_file(base::ByteView body) {
  CacheFileWriter w({at(1000), 1'700'000'000, 1});
  w.add_raw(body);
  return w.finish();
}

base::ByteVec written(CacheFileReader& r, const CacheMoment& m) {
  std::vector<CacheFileReader::Entry> all;
  while (auto e = r.next()) {
    EM_ASSERT(e->answer.expires >= m.now && e->answer.stale_until > m.now && e->answer.stored < m.now);
    EM_ASSERT(e->answer.stale_until - e->answer.expires <= 24h);
    all.push_back(std::move(*e));
  }
  base::SeededRng rng(7);
  AnswerCache c(64 << 20, rng);
  for (auto& e : all) c.put_last(e.question, e.answer);
  CacheFileWriter w(m);
  c.walk_begin();
  while (c.walk(3, [&](std::string_view k, const StoredAnswer& a) { w.add(k, a); })) {}
  EM_ASSERT(w.entries() == c.size());
  return w.finish();
}

void read_file(base::ByteView file) {
  const CacheMoment m{at(1100), 1'700'000'100, 1};
  auto r = CacheFileReader::open(file, m, 24h);
  if (!r) return;
  base::ByteVec once = written(*r, m);
  auto again = CacheFileReader::open(once, m, 24h);
  EM_ASSERT(again.has_value());
  EM_ASSERT(written(*again, m) == once);
}

StoredAnswer answer(const Name& n, uint8_t v, base::Instant now, uint8_t life) {
  uint8_t out[2048];
  Query q;
  uint8_t asked[512];
  size_t size = write_query(n, type::A, 1, 1232, false, false, asked);
  EM_ASSERT(parse_query({asked, size}, q) == Parsed::ok);
  MessageWriter w(n);
  for (int i = 0; i <= v % 40; i++) w.add(n, type::A, life, base::ByteVec{192, 0, 2, v});
  size = write_reply(q, {}, w.body(), 1232, out);
  StoredAnswer a;
  EM_ASSERT(scan_answer({out, size}, a.scan));
  a.message.assign(out, out + a.scan.size);
  a.stored = now;
  a.expires = now + std::chrono::seconds(life);
  a.stale_until = a.expires + std::chrono::seconds(60);
  return a;
}

void use(base::Reader in) {
  base::SeededRng rng(7);
  AnswerCache c(8 << 10, rng);
  std::map<std::string, base::ByteVec> model;
  base::Instant now = at(10);
  c.walk_begin();
  for (int n = 0; in.left() >= 3 && n < 500; n++) {
    uint8_t what = in.u8() % 5, which = in.u8() % 64, v = in.u8();
    Question q{*Name::from_text("n" + std::to_string(which) + ".example"), type::A, false, false};
    if (what == 0) {
      StoredAnswer* a = c.put(q, answer(q.name, v, now, v));
      EM_ASSERT(a);
      model[std::string(q.name.key())] = a->message;
    } else if (what == 1) {
      StoredAnswer* a = c.find(q, now);
      if (a) EM_ASSERT(now < a->stale_until && model[std::string(q.name.key())] == a->message);
    } else if (what == 2) {
      now += std::chrono::seconds(v);
    } else if (what == 3) {
      StoredAnswer a = answer(q.name, v, now, v);
      base::ByteVec m = a.message;
      if (c.put_last(q, std::move(a))) model[std::string(q.name.key())] = m;
    } else if (!c.walk(v % 8, [&](std::string_view k, const StoredAnswer& a) { EM_ASSERT(model[std::string(Question::from_key(k)->name.key())] == a.message); })) {
      c.walk_begin();
    }
    EM_ASSERT(c.bytes() <= 8 << 10 && c.size() <= model.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::ByteView in(data, size);
  if (size && data[0] == 'u') return use(base::Reader(in.subspan(1))), 0;
  read_file(in);
  read_file(as_file(in));
  return 0;
}
