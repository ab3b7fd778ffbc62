// Token buckets for those who ask. SourceLimit: one per /24 or /56 in a table of fixed size; who shares a slot shares a bucket.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "base/core/time.h"
#include "base/net/addr.h"

namespace tunnel {

class TokenBucket {
 public:
  // False: not enough left; nothing is taken.
  bool take(double amount, double per_second, double burst, base::Instant now) {
    if (!used_) level_ = burst, used_ = true;
    else level_ = std::min(burst, level_ + per_second * std::chrono::duration<double>(now - last_).count());
    last_ = now;
    if (level_ < amount) return false;
    level_ -= amount;
    return true;
  }

 private:
  double level_ = 0;
  base::Instant last_{};
  bool used_ = false;
};

class SourceLimit {
 public:
  SourceLimit(double per_second, double burst, uint64_t salt) : rate_(per_second), burst_(burst), salt_(salt), slots_(kSlots) {}
  bool allow(const base::IpAddr& from, base::Instant now) {
    base::ByteView prefix = from.bytes().first(from.is_v4() ? 3 : 7);
    uint64_t h = (base::hash_bytes(prefix) ^ salt_) * 0x9e3779b97f4a7c15;
    return slots_[(h >> 32) % kSlots].take(1, rate_, burst_, now);
  }

 private:
  static constexpr size_t kSlots = 4096;
  double rate_, burst_;
  uint64_t salt_;
  std::vector<TokenBucket> slots_;
};

}  // namespace tunnel
