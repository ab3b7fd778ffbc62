// RecordQueue: datagrams that wait for a stream. A stream delivers late what a network would lose, and what comes too late only
// keeps back what is new; so the oldest go first: beyond a size, and beyond an age, which counts from when the owner
// first saw a record: it looks at once when woken, and every few milliseconds while something waits. Any thread may push; one owner takes.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/core/bytes.h"
#include "base/core/time.h"

namespace tunnel {

class RecordQueue {
 public:
  static constexpr size_t kBytesMax = 256 << 10;
  static constexpr size_t kRecordBytesMax = 2048;  // no datagram of ours is larger

  // True: nothing waited before; whoever takes is to be woken. Too large a record counts as lost.
  bool push(base::ByteView record);
  // The oldest that is not older than age_max.
  std::optional<base::ByteVec> pop(base::Instant now, base::Duration age_max);
  void look(base::Instant now, base::Duration age_max);  // drops what is older
  uint64_t take_lost() { return lost_.exchange(0); }  // dropped since the last call
  size_t bytes() const;

 private:
  struct Record {
    std::optional<base::Instant> seen;
    base::ByteVec bytes;
  };
  void age(base::Instant now, base::Duration age_max);
  void drop_front();
  mutable std::mutex mu_;
  std::deque<Record> records_;
  size_t bytes_ = 0;
  std::atomic<uint64_t> lost_{0};
};

}  // namespace tunnel
