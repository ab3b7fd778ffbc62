// NameTable: open addressing from a 32-bit hash to where something is (slot, offset). The hash is both place and first
// comparison; whether a candidate is the right one the caller sees by looking at it. 12 octets per entry, at most three quarters
// full, nothing allocated by a look-up. Growing needs no keys and costs a few nanoseconds per entry.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace dns {

// Keyed: whoever may create objects must not be able to choose names that collide. Never 0.
inline uint32_t name_hash(uint64_t seed, std::string_view s) {
  uint64_t h = seed ^ s.size();
  const char* p = s.data();
  size_t n = s.size();
  auto mix = [&h](uint64_t v) {
    h = (h ^ v) * 0x9fb21c651e98df25u;
    h ^= h >> 32;
  };
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    mix(v);
  }
  uint64_t v = 0;
  if (s.size() >= 8) {
    std::memcpy(&v, p + n - 8, 8);  // the last eight, some of them once more: no loop over single octets
  } else {
    for (; n; n--) v = v << 8 | uint8_t(*p++);
  }
  mix(v ^ seed << 1);
  uint32_t out = uint32_t(h ^ h >> 29);
  return out ? out : 1;
}

class NameTable {
 public:
  struct Entry {
    uint32_t hash, slot, at;
  };
  void add(const Entry&);
  void remove(const Entry&);
  void clear();
  void reserve(size_t entries);
  size_t size() const { return size_; }
  size_t bytes() const { return cells_.size() * sizeof(Entry); }

  void prefetch(uint32_t hash) const {
    if (!cells_.empty()) __builtin_prefetch(&cells_[home(hash)]);
  }
  // f(entry) for each candidate until it returns true; that entry or null.
  template <class F>
  const Entry* find(uint32_t hash, F f) const {
    if (cells_.empty()) return nullptr;
    for (size_t i = home(hash); cells_[i].slot != kFree; i = next(i))
      if (cells_[i].hash == hash && f(cells_[i])) return &cells_[i];
    return nullptr;
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  size_t home(uint32_t hash) const { return size_t(uint64_t(hash) * cells_.size() >> 32); }
  size_t next(size_t i) const { return i + 1 == cells_.size() ? 0 : i + 1; }
  void resize(size_t cells);
  void place(const Entry&);
  std::vector<Entry> cells_;
  size_t size_ = 0;
};

}  // namespace dns
