// QueryWatch: who asks most and what is asked most, of the last half to whole minute. One query per millisecond is looked at and counts
// for all until the next one, so that a flood costs a thousandth of a second's work and keeps the caches to itself; a quiet server
// sees every query. Bounded: the tables keep what comes often and forget the rest (space saving); what they count is an upper bound.
// No allocation. One loop.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/time.h"
#include "base/net/addr.h"

namespace dns {

struct TopRow {
  std::string what;
  uint64_t queries = 0;
};
struct TopView {
  double seconds = 0;  // the time that is counted
  uint64_t queries = 0;
  std::vector<TopRow> names, clients;  // most first
};

class QueryWatch {
 public:
  explicit QueryWatch(base::Instant now);
  bool is_due(base::Instant now) const { return now >= due_; }
  void seen(std::string_view name_key, const base::IpAddr& client, base::Instant now);
  void passed(uint64_t queries) { passed_ += queries; }  // so many, with the one that was seen last
  TopView view(size_t most, base::Instant now) const;

 private:
  static constexpr size_t kRows = 128;
  template <size_t kKeyMax>
  class Table {
   public:
    void add(std::string_view key);
    size_t last() const { return last_; }
    void weigh(uint64_t more) { counts_[last_] += more; }
    void clear() { used_ = 0; }
    size_t size() const { return used_; }
    std::string_view key(size_t i) const { return {rows_[i].key.data(), rows_[i].size}; }
    uint64_t count(size_t i) const { return counts_[i]; }

   private:
    struct Row {
      uint8_t size;
      std::array<char, kKeyMax> key;
    };
    size_t place_for(std::string_view key, size_t hash);
    size_t used_ = 0, last_ = 0;
    std::array<size_t, kRows> hashes_;
    std::array<uint64_t, kRows> counts_;
    std::array<Row, kRows> rows_;
  };
  struct Window {
    Table<255> names;
    Table<16> clients;
    uint64_t queries = 0;
    base::Instant began;
  };
  void turn(base::Instant now);
  void settle();
  std::unique_ptr<Window> now_, before_;
  uint64_t passed_ = 0;  // not yet in the tables
  base::Instant due_{};
};

}  // namespace dns
