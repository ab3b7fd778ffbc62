// SendBatch: sealed datagrams of one peer, laid end to end for one GSO send. All have the size of the first; a shorter one ends
// the batch. The memory is taken once.
#pragma once
#include <memory>

#include "tunnel/data/udp_port.h"

namespace tunnel {

class SendBatch {
 public:
  static constexpr size_t kBytesMax = 65000;  // below the largest UDP payload of both families
  static constexpr size_t kDatagramsMax = 64;

  SendBatch() : arena_(new uint8_t[kBytesMax]) {}
  bool is_empty() const { return used_ == 0; }
  bool fits(size_t bytes) const {
    return used_ == 0 || (!closed_ && bytes <= segment_ && used_ + bytes <= kBytesMax && count_ < kDatagramsMax);
  }
  // Room for a datagram that fits(); written before the next call.
  uint8_t* add(size_t bytes) {
    uint8_t* at = arena_.get() + used_;
    if (used_ == 0) segment_ = bytes;
    closed_ = bytes < segment_;
    used_ += bytes;
    ++count_;
    return at;
  }
  base::ByteView bytes() const { return {arena_.get(), used_}; }
  size_t segment() const { return segment_; }
  size_t count() const { return count_; }
  void clear() { used_ = segment_ = count_ = 0, closed_ = false; }

 private:
  std::unique_ptr<uint8_t[]> arena_;  // not zeroed: pages come as they are used
  size_t used_ = 0, segment_ = 0, count_ = 0;
  bool closed_ = false;
};

}  // namespace tunnel
