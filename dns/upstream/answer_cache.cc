#include "dns/upstream/answer_cache.h"

#include <cstring>
#include <utility>

#include "dns/wire/response.h"

namespace dns {

namespace {

struct Key {  // name, type, then the two bits that split the cache (RFC 4035 §4.7)
  std::array<char, kNameMax + 3> b;
  size_t size;
  Key(std::string_view name, uint16_t t, bool d, bool c) : size(name.size() + 3) {
    std::memcpy(b.data(), name.data(), name.size());
    b[name.size()] = char(t >> 8);
    b[name.size() + 1] = char(t);
    b[name.size() + 2] = char(d << 1 | int(c));
  }
  std::string_view view() const { return {b.data(), size}; }
};

}  // namespace

Question Question::of(const Query& q) {
  return {*Name::from_wire(base::as_bytes(q.key())), q.type, q.dnssec_ok, q.checking_disabled()};
}

std::optional<Question> Question::from_key(std::string_view k) {
  if (k.size() < 4) return std::nullopt;
  auto b = base::as_bytes(k);
  auto name = Name::from_wire(b.first(k.size() - 3));
  const uint8_t bits = b.back();
  if (!name || bits > 3) return std::nullopt;
  Question q{*name, base::load_be16(&b[k.size() - 3]), (bits & 2) != 0, (bits & 1) != 0};
  q.name.make_lower();
  if (q.name.wire().size() != k.size() - 3 || q.name.key() != k.substr(0, k.size() - 3)) return std::nullopt;
  return q;
}

// RFC 8914: why this answer is not what upstream says now.
static Ede reason(const StoredAnswer& a, bool stale, bool kept, Ede given) {
  const bool useful = a.scan.rcode == Rcode::noerror || a.scan.rcode == Rcode::nxdomain;
  if (given == Ede::none && stale) given = Ede::stale_answer;
  if (given == Ede::stale_answer && a.scan.rcode == Rcode::nxdomain) return Ede::stale_nxdomain;
  return given == Ede::none && kept && !useful ? Ede::cached_error : given;
}

size_t write_stored(const Query& q, const StoredAnswer& a, base::Instant now, uint16_t flags, Ede ede, size_t limit, uint16_t payload, base::MutByteView out) {
  bool stale = now >= a.expires && a.expires != a.stored;
  Reply r{.rcode = a.scan.rcode, .flags = uint16_t(flags | (a.scan.flags & flag::AD)), .udp_payload = payload,
          .ede = reason(a, stale, now > a.stored, ede)};
  BodyView body{base::ByteView(a.message).subspan(a.scan.question_end), a.scan.answers, a.scan.authority, a.scan.additional, 0};
  size_t size = write_reply(q, r, body, limit, out), end = size - opt_size(q, r);
  uint32_t age = uint32_t(std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(now - a.stored).count()));
  for (uint16_t at : a.scan.ttl_at) {
    if (at + size_t(4) > end) break;  // cut off: what stands there is the OPT
    if (stale) base::store_be32(&out[at], kStaleTtl);
    else age_ttl(out, at, age);
  }
  return size;
}

// Keyed, because clients choose the names: the seed keeps them from choosing collisions.
size_t AnswerCache::Hash::operator()(std::string_view s) const {
  uint64_t h = seed ^ s.size();
  while (!s.empty()) {
    uint64_t v = 0;
    size_t n = std::min<size_t>(8, s.size());
    std::memcpy(&v, s.data(), n);
    s.remove_prefix(n);
    h = (h ^ v) * 0x9fb21c651e98df25u + (seed << 1 | 1);
    h ^= h >> 29;
  }
  return size_t(h ^ h >> 32);
}

AnswerCache::AnswerCache(size_t bytes_max, base::Rng& rng) : bytes_max_(bytes_max), table_(64, Hash{rng.u64()}) {}

StoredAnswer* AnswerCache::find_key(std::string_view key, base::Instant now) {
  auto it = table_.find(key);
  if (it == table_.end()) return nullptr;
  if (now >= it->second->answer.stale_until) return erase(it->second), nullptr;
  step_off(it->second);
  order_.splice(order_.begin(), order_, it->second);
  return &it->second->answer;
}

StoredAnswer* AnswerCache::find(const Question& q, base::Instant now) {
  return find_key(Key(q.name.key(), q.type, q.dnssec_ok, q.checking_disabled).view(), now);
}

StoredAnswer* AnswerCache::find(const Query& q, base::Instant now) {
  return find_key(Key(q.key(), q.type, q.dnssec_ok, q.checking_disabled()).view(), now);
}

void AnswerCache::erase(Order::iterator e) {
  step_off(e);
  bytes_ -= e->key.size() + e->answer.bytes();
  table_.erase(e->key);
  order_.erase(e);
}

void AnswerCache::set_bytes_max(size_t most) {
  bytes_max_ = most;
  const bool over = bytes_ > bytes_max_;
  while (bytes_ > bytes_max_) erase(std::prev(order_.end()));
  if (over && on_put_) on_put_(true);  // what is kept of it elsewhere is out of date
}

StoredAnswer* AnswerCache::put(const Question& q, StoredAnswer a) {
  Key key(q.name.key(), q.type, q.dnssec_ok, q.checking_disabled);
  auto it = table_.find(key.view());
  const bool is_new = it == table_.end();
  if (!is_new) erase(it->second);
  size_t size = key.size + a.bytes();
  if (size > bytes_max_) return nullptr;
  while (bytes_ + size > bytes_max_) erase(std::prev(order_.end()));
  order_.push_front({std::string(key.view()), std::move(a)});
  table_.emplace(order_.front().key, order_.begin());
  bytes_ += size;
  if (on_put_) on_put_(is_new);
  return &order_.front().answer;
}

bool AnswerCache::put_last(const Question& q, StoredAnswer a) {
  Key key(q.name.key(), q.type, q.dnssec_ok, q.checking_disabled);
  size_t size = key.size + a.bytes();
  if (bytes_ + size > bytes_max_ || table_.contains(key.view())) return false;
  order_.push_back({std::string(key.view()), std::move(a)});
  table_.emplace(order_.back().key, std::prev(order_.end()));
  bytes_ += size;
  return true;
}

// ---- walking

void AnswerCache::each(const std::function<bool(const Question&, const StoredAnswer&)>& visit) const {
  for (auto& e : order_)
    if (auto q = Question::from_key(e.key); q && !visit(*q, e.answer)) return;
}

void AnswerCache::walk_begin() {
  walker_ = order_.end();
  walk_++;
  steps_left_ = 4 * order_.size() + 1;  // entries that move to the front are met again: not for ever
}

bool AnswerCache::walk(size_t most, const Visit& visit) {
  for (; most && walker_ != order_.begin() && steps_left_; most--, steps_left_--) {
    --walker_;
    if (std::exchange(walker_->walk, walk_) != walk_) visit(walker_->key, walker_->answer);
  }
  return walker_ != order_.begin() && steps_left_;
}

}  // namespace dns
