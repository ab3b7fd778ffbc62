#include "dns/upstream/cache_file.h"

#include <bit>

#include "dns/wire/scan.h"

namespace dns {

using base::load_be16;
using base::load_be32;
using base::load_be64;
using std::chrono::seconds;

static constexpr std::string_view kMagic = "emdnscch";
static constexpr size_t kLengthAt = 40, kSumAt = 48, kEntryTimes = 12;

// Eight octets at a time: a cache of 8 MiB is summed in a few milliseconds.
static uint64_t sum(base::ByteView b, uint64_t h) {
  for (; b.size() >= 8; b = b.subspan(8)) h = std::rotl((h ^ load_be64(b.data())) * 0x100000001b3, 29);
  for (uint8_t c : b) h = (h ^ c) * 0x100000001b3;
  return h ^ h >> 31;
}

static uint64_t sum_of_file(base::ByteView b) { return sum(b.subspan(kCacheFileHeader), sum(b.first(kSumAt), 0xcbf29ce484222325)); }

static uint32_t whole(base::Duration d, bool up) {
  auto s = up ? std::chrono::ceil<seconds>(d) : std::chrono::floor<seconds>(d);
  return uint32_t(std::clamp<int64_t>(s.count(), 0, UINT32_MAX));
}

CacheFileWriter::CacheFileWriter(const CacheMoment& m) : begun_(m.now), bytes_(kMagic.begin(), kMagic.end()) {
  base::Writer w(bytes_);
  w.u32(kCacheFileVersion);
  w.u32(0);
  w.u64(m.wall_s);
  w.u64(uint64_t(m.now.time_since_epoch().count()));
  w.u64(m.boot);
  w.u64(0);
  w.u64(0);
}

void CacheFileWriter::add(std::string_view key, const StoredAnswer& a) {
  const bool useful = a.scan.rcode == Rcode::noerror || a.scan.rcode == Rcode::nxdomain;
  if (!useful || a.stale_until <= begun_ || a.message.size() > kMessageMax) return;
  base::Writer w(bytes_);
  w.u16(uint16_t(key.size()));
  w.put(base::as_bytes(key));
  w.u32(whole(begun_ - a.stored, true));
  w.u32(whole(a.expires - begun_, false));
  w.u32(whole(a.stale_until - begun_, false));
  w.u16(uint16_t(a.message.size()));
  w.put(a.message);
  base::store_be16(&bytes_[bytes_.size() - a.message.size() + 10], a.scan.additional);  // what is kept has lost its OPT
  entries_++;
}

base::ByteVec CacheFileWriter::finish() {
  base::store_be64(&bytes_[kLengthAt], bytes_.size() - kCacheFileHeader);
  base::store_be64(&bytes_[kSumAt], sum_of_file(bytes_));
  return std::move(bytes_);
}

// ---- reading

static base::Result<void> check(base::ByteView b) {
  auto bad = [](const char* what) { return base::fail(base::Code::invalid, "{}", what); };
  if (b.size() < kCacheFileHeader || base::as_text(b.first(8)) != kMagic) return bad("not a file of DNS answers");
  if (load_be32(&b[8]) != kCacheFileVersion || load_be32(&b[12])) return bad("of another version");
  if (load_be64(&b[kLengthAt]) != b.size() - kCacheFileHeader) return bad("cut off");
  if (load_be64(&b[kSumAt]) != sum_of_file(b)) return bad("the checksum is wrong");
  return {};
}

base::Result<CacheFileReader> CacheFileReader::open(base::ByteView b, const CacheMoment& m, seconds stale_max) {
  EM_TRY(check(b));
  CacheFileReader f;
  f.bytes_ = b;
  f.now_ = m.now;
  f.stale_max_ = stale_max;
  f.written_s_ = load_be64(&b[16]);
  const int64_t begun = int64_t(load_be64(&b[24])), now = m.now.time_since_epoch().count();
  f.same_boot_ = load_be64(&b[32]) == m.boot && begun >= 0 && begun <= now;
  const uint64_t by_wall = m.wall_s > f.written_s_ ? m.wall_s - f.written_s_ : 0;
  f.passed_ = f.same_boot_ ? std::chrono::ceil<seconds>(base::Duration(now - begun)) : seconds(std::min<uint64_t>(by_wall, UINT32_MAX));
  base::Reader r(b.subspan(kCacheFileHeader));
  while (r.ok() && !r.at_end()) {
    f.at_.push_back(uint32_t(kCacheFileHeader + r.position()));
    r.take(r.u16() + kEntryTimes);
    r.take(r.u16());
  }
  if (!r.ok()) return base::fail(base::Code::invalid, "an entry is cut off");
  return f;
}

std::optional<CacheFileReader::Entry> CacheFileReader::next() {
  while (!at_.empty()) {
    size_t at = at_.back();
    at_.pop_back();
    if (auto e = read(at)) return e;
  }
  return std::nullopt;
}

std::optional<CacheFileReader::Entry> CacheFileReader::read(size_t at) const {
  base::Reader r(bytes_.subspan(at));
  auto q = Question::from_key(base::as_text(r.take(r.u16())));
  const seconds age(r.u32()), fresh(r.u32()), usable(r.u32());
  base::ByteView m = r.take(r.u16());
  Scan s;
  if (!q || !scan_answer(m, s) || s.size != m.size() || s.truncated() || !question_is(m, q->name.wire(), q->type, klass::IN)) return std::nullopt;
  if (s.rcode != Rcode::noerror && s.rcode != Rcode::nxdomain) return std::nullopt;
  const seconds fresh_left = same_boot_ ? std::min(fresh, stale_max_) - passed_ : seconds(0);
  const seconds left = std::min(usable - passed_, stale_max_ + std::max(fresh_left, seconds(0)));
  if (left <= seconds(0)) return std::nullopt;
  const base::Instant expires = now_ + std::max(fresh_left, seconds(0));
  // At least a second old: what is past its time must not look as if it had none (TTL 0).
  return Entry{*q, {{m.begin(), m.end()}, std::move(s), now_ - std::max(age + passed_, seconds(1)), expires, now_ + left, now_}};
}

}  // namespace dns
