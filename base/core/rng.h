// Random numbers are given, never fetched: a Rng is handed to whoever needs one. SystemRng is the kernel's (getrandom);
// SeededRng replays (simulation only, never for keys or nonces).
#pragma once
#include "base/core/bytes.h"

namespace base {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual void fill(MutByteView out) = 0;
  uint32_t u32() { uint8_t b[4]; fill(b); return load_be32(b); }
  uint64_t u64() { uint8_t b[8]; fill(b); return load_be64(b); }
  uint64_t below(uint64_t n);              // uniform in [0, n); n > 0
  double unit() { return double(u64() >> 11) * 0x1p-53; }  // [0, 1)
};

class SystemRng final : public Rng {
 public:
  void fill(MutByteView out) override;
};

class SeededRng final : public Rng {  // xoshiro256**
 public:
  explicit SeededRng(uint64_t seed);
  void fill(MutByteView out) override;

 private:
  uint64_t next();
  uint64_t s_[4];
};

}  // namespace base
