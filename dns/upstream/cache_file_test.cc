#include "dns/upstream/cache_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/core/file.h"
#include "base/loop/loop.h"
#include "dns/upstream/cache_keeper.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/response.h"

namespace dns {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

base::Instant at(std::chrono::seconds s) { return base::Instant(s); }

Question question(const std::string& name) { return {*Name::from_text(name), type::A, false, false}; }

Query asked(const std::string& name, base::ByteVec& storage) {
  storage.resize(600);
  storage.resize(write_query(*Name::from_text(name), type::A, 1, 1232, false, false, storage));
  Query q;
  EXPECT_EQ(parse_query(storage, q), Parsed::ok);
  return q;
}

StoredAnswer answer(const std::string& name, base::Instant now, std::chrono::seconds ttl, Rcode rc = Rcode::noerror, uint8_t last = 1) {
  base::ByteVec storage, out(1232);
  Query q = asked(name, storage);
  MessageWriter w(*Name::from_text(name));
  if (rc == Rcode::noerror) w.add(*Name::from_text(name), type::A, uint32_t(ttl.count()), base::ByteVec{192, 0, 2, last});
  out.resize(write_reply(q, {.rcode = rc, .flags = flag::RA}, w.body(), 1232, out));
  StoredAnswer a;
  EXPECT_TRUE(scan_answer(out, a.scan));
  a.message.assign(out.begin(), out.begin() + std::ptrdiff_t(a.scan.size));
  a.stored = now;
  a.expires = now + ttl;
  a.stale_until = a.expires + 24h;
  return a;
}

struct Cache {
  base::SeededRng rng{1};
  AnswerCache cache;
  explicit Cache(size_t bytes = 1 << 20) : cache(bytes, rng) {}
  base::ByteVec file(const CacheMoment& m) {
    CacheFileWriter w(m);
    cache.walk_begin();
    while (cache.walk(2, [&](std::string_view k, const StoredAnswer& a) { w.add(k, a); })) {}
    return w.finish();
  }
  void load(const base::ByteVec& file, const CacheMoment& m) {
    auto r = CacheFileReader::open(file, m, 24h);
    ASSERT_TRUE(r) << r.error().what;
    while (auto e = r->next()) cache.put_last(e->question, std::move(e->answer));
  }
  // What a client is told: TTL of the first record, -1 for nothing.
  int64_t ttl(const std::string& name, base::Instant now) {
    base::ByteVec storage, out(1232);
    Query q = asked(name, storage);
    const StoredAnswer* a = cache.find(q, now);
    if (!a) return -1;
    size_t n = write_stored(q, *a, now, 0, Ede::none, 1232, 1232, out);
    int64_t ttl = -1;
    each_answer({out.data(), n}, [&](const Record& r) { return ttl = r.ttl, false; });
    return ttl;
  }
};

const CacheMoment kThen{at(1000s), 1'700'000'000, 1};

base::ByteVec two_names() {
  Cache c;
  c.cache.put(question("a.example"), answer("a.example", at(900s), 300s));
  c.cache.put(question("b.example"), answer("b.example", at(900s), 60s));
  return c.file(kThen);
}

TEST(CacheFile, InTheSameBootTtlsGoOnCounting) {
  Cache c;
  c.load(two_names(), {at(1010s), 1'700'000'010, 1});
  EXPECT_EQ(c.ttl("a.example", at(1010s)), 190);
  EXPECT_EQ(c.ttl("b.example", at(1010s)), kStaleTtl);
}

TEST(CacheFile, AfterAnotherBootEverythingIsPastItsTimeAndStillThere) {
  for (uint64_t wall : {1'700'000'060u, 0u}) {  // also when nobody knows the hour
    Cache c;
    c.load(two_names(), {at(5s), wall, 2});
    EXPECT_EQ(c.ttl("a.example", at(5s)), kStaleTtl);
    EXPECT_EQ(c.ttl("b.example", at(5s)), kStaleTtl);
  }
}

TEST(CacheFile, ADayLaterItIsForgotten) {
  Cache c;
  c.load(two_names(), {at(5s), 1'700'000'000 + 24 * 3600 + 1000, 2});
  EXPECT_EQ(c.cache.size(), 0u);
  c.load(two_names(), {at(5s), 1'700'000'000 + 23 * 3600, 2});
  EXPECT_EQ(c.cache.size(), 2u);
  EXPECT_EQ(c.ttl("a.example", at(5s) + 2h), -1);  // what was left of the day
}

TEST(CacheFile, KeepsDenialsAndLeavesFailuresOut) {
  Cache c, d;
  c.cache.put(question("nx.example"), answer("nx.example", at(990s), 20s, Rcode::nxdomain));
  c.cache.put(question("broken.example"), answer("broken.example", at(999s), 2s, Rcode::servfail));
  d.load(c.file(kThen), kThen);
  EXPECT_EQ(d.cache.size(), 1u);
  EXPECT_TRUE(d.cache.find(question("nx.example"), at(1000s)));
}

TEST(AnswerCache, OfACutAnswerTheOptIsLeftAlone) {
  base::ByteVec storage, big(16'000), out(1232);
  Query q = asked("big.example", storage);
  MessageWriter w(*Name::from_text("big.example"));
  for (uint8_t i = 0; i < 90; i++) w.add(*Name::from_text("big.example"), type::A, 300, base::ByteVec{192, 0, 2, i});
  big.resize(write_reply(q, {}, w.body(), 16'000, big));
  StoredAnswer a;
  ASSERT_TRUE(scan_answer(big, a.scan));
  a.message.assign(big.begin(), big.begin() + std::ptrdiff_t(a.scan.size));
  a.stored = at(900s), a.expires = at(1000s), a.stale_until = at(2000s);
  for (auto now : {at(950s), at(1500s)})
    for (size_t limit : {600u, 601u, 607u, 1232u}) {
      size_t n = write_stored(q, a, now, 0, Ede::none, limit, 1232, out);
      Scan s;
      ASSERT_TRUE(scan_answer({out.data(), n}, s)) << limit;
      EXPECT_TRUE(s.truncated());
      const size_t opt = now < a.expires ? kOptSize : kOptSize + 6;
      EXPECT_EQ(s.size + opt, n);
      EXPECT_EQ(base::to_hex(base::ByteView(out).subspan(n - opt, kOptSize)), opt == kOptSize ? "00002904d0000000000000" : "00002904d0000000000006");
    }
}

TEST(CacheFile, AnOldDenialSaysThatItIsOne) {
  Cache c;
  c.cache.put(question("nx.example"), answer("nx.example", at(900s), 20s, Rcode::nxdomain));
  base::ByteVec storage, out(1232);
  Query q = asked("nx.example", storage);
  size_t n = write_stored(q, *c.cache.find(q, at(1000s)), at(1000s), 0, Ede::none, 1232, 1232, out);
  EXPECT_EQ(base::load_be16(&out[n - 2]), 19);  // RFC 8914 §4.20
}

TEST(CacheFile, AnyDamageIsNoticed) {
  const base::ByteVec good = two_names();
  for (size_t i = 0; i < good.size(); i++) {
    base::ByteVec bad = good;
    bad[i] ^= 0x10;
    EXPECT_FALSE(CacheFileReader::open(bad, kThen, 24h)) << "octet " << i;
    EXPECT_FALSE(CacheFileReader::open(base::ByteView(good).first(i), kThen, 24h)) << "cut at " << i;
  }
}

TEST(CacheFile, OfTooManyTheLastUsedStay) {
  Cache all;
  for (int i = 0; i < 100; i++) {
    std::string n = fmt::format("n{}.example", i);
    all.cache.put(question(n), answer(n, at(990s), 300s));
  }
  all.cache.find(question("n3.example"), at(1000s));
  Cache few(2000);
  few.load(all.file(kThen), kThen);
  EXPECT_LT(few.cache.size(), 10u);
  for (const char* n : {"n3.example", "n99.example", "n98.example"}) EXPECT_NE(few.ttl(n, at(1000s)), -1) << n;
}

TEST(AnswerCache, AWalkVisitsAllWhileTheCacheIsUsed) {
  Cache c;
  for (int i = 0; i < 50; i++) {
    std::string n = fmt::format("n{}.example", i);
    c.cache.put(question(n), answer(n, at(990s), 300s));
  }
  std::map<std::string, int> seen;
  c.cache.walk_begin();
  int i = 0;
  while (c.cache.walk(1, [&](std::string_view k, const StoredAnswer&) { seen[Question::from_key(k)->name.text()]++; })) {
    c.cache.find(question(fmt::format("n{}.example", i % 50)), at(1000s));  // the one just visited, and ones to come
    c.cache.find(question(fmt::format("n{}.example", (i * 7 + 3) % 50)), at(1000s));
    if (i == 20) c.cache.put(question("n20.example"), answer("n20.example", at(1000s), 300s));
    i++;
  }
  EXPECT_EQ(seen.size(), 50u);
  for (auto& [name, times] : seen) EXPECT_LE(times, name == "n20.example." ? 2 : 1) << name;
}

struct Kept : ::testing::Test {
  Kept() {
    char name[] = "/tmp/dns_cache_XXXXXX";
    dir = ::mkdtemp(name);
    fresh();
  }
  ~Kept() override {
    keeper.reset();
    fs::remove_all(dir);
  }
  void fresh() {
    keeper.reset();
    cache = std::make_unique<Cache>();
    CacheFileOptions o{.path = dir + "/dns-cache", .disk = &disk, .boot = 1, .wall_s = [] { return uint64_t(1'700'000'000); }, .first = 10ms, .every = every};
    keeper = std::make_unique<CacheKeeper>(*loop, cache->cache, metrics, o, 24h);
    keeper->load();
  }
  void learn(const std::string& n) { cache->cache.put(question(n), answer(n, loop->now(), 300s)); }
  bool wait(const std::function<bool()>& condition, base::Duration most = 5s) {
    const base::Instant end = loop->now() + most;
    bool held = false;
    auto tick = loop->timer([&] {
      held = condition();
      if (held || loop->now() > end) loop->stop();
      else tick_->arm(2ms);
    });
    tick_ = tick.get();
    tick->arm(0s);
    loop->run();
    return held;
  }
  int64_t gauge(const char* name) { return metrics.gauge(name, "").value(); }

  std::string dir;
  base::Metrics metrics;
  base::StateDisk disk{metrics};
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  std::chrono::milliseconds every{60'000};
  std::unique_ptr<Cache> cache;
  std::unique_ptr<CacheKeeper> keeper;
  base::Timer* tick_ = nullptr;
};

TEST_F(Kept, WhatWasLearntIsThereAtTheNextStart) {
  learn("a.example");
  ASSERT_TRUE(wait([&] { return fs::exists(dir + "/dns-cache"); }));
  struct stat st{};
  ASSERT_EQ(::stat((dir + "/dns-cache").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  fresh();
  EXPECT_EQ(gauge("edgemeshd_dns_cache_loaded"), 1);
  EXPECT_NE(cache->ttl("a.example", loop->now()), -1);
}

TEST_F(Kept, WritesRarelyAndAtTheEnd) {
  learn("a.example");
  ASSERT_TRUE(wait([&] { return fs::exists(dir + "/dns-cache"); }));
  const auto before = fs::last_write_time(dir + "/dns-cache");
  learn("b.example");
  EXPECT_FALSE(wait([&] { return fs::last_write_time(dir + "/dns-cache") != before; }, 200ms));  // every: a minute
  keeper->write_now();
  fresh();
  EXPECT_EQ(gauge("edgemeshd_dns_cache_loaded"), 2);
}

TEST_F(Kept, ManyNamesAreReadInStepsBehindTheFirst) {
  for (int i = 0; i < 2000; i++) learn(fmt::format("n{}.example", i));
  keeper->write_now();
  fresh();
  EXPECT_NE(cache->ttl("n1999.example", loop->now()), -1) << "the last used are there at once";
  EXPECT_LT(cache->cache.size(), 2000u);
  EXPECT_TRUE(wait([&] { return cache->cache.size() == 2000; }));
}

TEST_F(Kept, LessMemoryMeansTheNamesUsedLastHereAndInTheFile) {
  for (int i = 0; i < 100; i++) learn(fmt::format("n{}.example", i));
  keeper->write_now();
  const size_t whole = cache->cache.bytes();
  cache->cache.set_bytes_max(whole / 4);
  EXPECT_LE(cache->cache.bytes(), whole / 4);
  EXPECT_NE(cache->ttl("n99.example", loop->now()), -1);
  EXPECT_EQ(cache->ttl("n0.example", loop->now()), -1);
  keeper->write_now();
  fresh();
  EXPECT_LT(gauge("edgemeshd_dns_cache_loaded"), 30);
  EXPECT_NE(cache->ttl("n99.example", loop->now()), -1);
  cache->cache.set_bytes_max(0);
  EXPECT_EQ(cache->cache.size(), 0u);
  learn("again.example");
  EXPECT_EQ(cache->cache.size(), 0u) << "0 turns it off";
  cache->cache.set_bytes_max(1 << 20);
  learn("again.example");
  EXPECT_EQ(cache->cache.size(), 1u);
}

TEST_F(Kept, ADamagedFileIsCountedAndIgnored) {
  ASSERT_TRUE(base::write_file_atomic(dir + "/dns-cache", "emdnscch but not really", 0600));
  fresh();
  EXPECT_EQ(metrics.counter("edgemeshd_dns_cache_file_failures_total", "").value(), 1u);
  learn("a.example");
  ASSERT_TRUE(wait([&] { return fs::file_size(dir + "/dns-cache") > 60; }));
  fresh();
  EXPECT_EQ(gauge("edgemeshd_dns_cache_loaded"), 1);
}

TEST_F(Kept, ADiskThatRefusesIsOneAlarmAndIsTriedAgain) {
  every = 30ms;
  fresh();
  fs::create_directories(dir + "/dns-cache.tmp/x");  // where the temporary would go
  learn("a.example");
  ASSERT_TRUE(wait([&] { return gauge("edgemeshd_state_write_failed") == 1; }));
  EXPECT_NE(cache->ttl("a.example", loop->now()), -1);
  fs::remove_all(dir + "/dns-cache.tmp");
  EXPECT_TRUE(wait([&] { return gauge("edgemeshd_state_write_failed") == 0; }));
  EXPECT_TRUE(fs::exists(dir + "/dns-cache"));
}

TEST_F(Kept, OnceAnotherProcessKeepsTheFileItIsLeftAlone) {
  keeper->stop();
  learn("a.example");
  keeper->write_now();
  EXPECT_FALSE(wait([&] { return fs::exists(dir + "/dns-cache"); }, 100ms));
}

}  // namespace
}  // namespace dns
