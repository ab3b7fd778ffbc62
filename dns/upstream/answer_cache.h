// Answers of upstreams, kept as the wire image that came plus where its TTLs are: serving one is a copy and a patch.
// Bounded in bytes, least recently used out first. An entry is fresh until `expires` and may be served stale until `stale_until`
// (RFC 8767). One loop.
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "dns/wire/query.h"
#include "dns/wire/scan.h"

namespace dns {

struct Question {
  static std::optional<Question> from_key(std::string_view);  // of an AnswerCache
  Name name;  // lowered
  uint16_t type = 0;
  bool dnssec_ok = false, checking_disabled = false;
  static Question of(const Query&);
};

// One answer as it came, without its OPT.
struct StoredAnswer {
  base::ByteVec message;
  Scan scan;
  base::Instant stored, expires, stale_until;
  base::Instant recheck;  // stale and not refreshed a moment ago: do not ask again before
  uint32_t uses = 0;      // as a fresh answer
  size_t bytes() const { return message.size() + scan.ttl_at.size() * 2 + 200; }
};

// The reply to q made of a; TTLs aged, or all `stale_ttl` when a is past its time. flags: what we add (RA).
size_t write_stored(const Query&, const StoredAnswer& a, base::Instant now, uint16_t flags, Ede, size_t limit, uint16_t udp_payload, base::MutByteView out);

class AnswerCache {
 public:
  AnswerCache(size_t bytes_max, base::Rng&);
  StoredAnswer* find(const Question&, base::Instant now);  // fresh or stale; null: nothing usable. Valid until put()
  StoredAnswer* find(const Query&, base::Instant now);     // the same without allocation
  StoredAnswer* put(const Question&, StoredAnswer);  // null: larger than fits
  // One that was kept elsewhere: behind all others in the order of use, and nothing gives way to it. False: no room, or known.
  bool put_last(const Question&, StoredAnswer);
  void set_bytes_max(size_t);  // what was used longest ago goes
  void on_put(std::function<void(bool is_new)> f) { on_put_ = std::move(f); }

  // A walk over all entries in steps, least recently used first, while the cache is used as ever. What is put meanwhile may be
  // visited or not. One walk at a time.
  using Visit = std::function<void(std::string_view key, const StoredAnswer&)>;
  // From the most recently used on, until visit returns false.
  void each(const std::function<bool(const Question&, const StoredAnswer&)>& visit) const;
  void walk_begin();
  bool walk(size_t most, const Visit&);  // false: that was all
  size_t bytes() const { return bytes_; }
  size_t bytes_max() const { return bytes_max_; }
  size_t size() const { return table_.size(); }

 private:
  struct Entry {
    std::string key;
    StoredAnswer answer;
    uint32_t walk = 0;  // the last one that came by
  };
  using Order = std::list<Entry>;  // most recent first
  struct Hash {
    uint64_t seed;
    size_t operator()(std::string_view) const;
  };
  StoredAnswer* find_key(std::string_view, base::Instant now);
  void erase(Order::iterator);
  void step_off(Order::iterator e) {  // e is about to move: the walk is not to follow it
    if (walker_ == e) ++walker_;
  }

  size_t bytes_max_, bytes_ = 0;
  Order order_;
  std::unordered_map<std::string_view, Order::iterator, Hash> table_;
  std::function<void(bool)> on_put_;
  Order::iterator walker_ = order_.end();  // visited last
  uint32_t walk_ = 0;
  size_t steps_left_ = 0;
};

inline constexpr uint32_t kStaleTtl = 30;  // RFC 8767 §4

}  // namespace dns
