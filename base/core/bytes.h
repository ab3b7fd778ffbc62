// Bytes as they travel: views, big-endian loads and stores, bounded cursors, hex and base64.
// A Reader never reads past its end: after the first short read it is !ok() and every read gives zero.
#pragma once
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace base {

using ByteVec = std::vector<uint8_t>;
using ByteView = std::span<const uint8_t>;
using MutByteView = std::span<uint8_t>;

inline ByteView as_bytes(std::string_view s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }
inline std::string_view as_text(ByteView b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

inline uint16_t load_be16(const uint8_t* p) { return uint16_t(p[0] << 8 | p[1]); }
inline uint32_t load_be32(const uint8_t* p) { return uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | p[3]; }
inline uint64_t load_be64(const uint8_t* p) { return uint64_t(load_be32(p)) << 32 | load_be32(p + 4); }
inline void store_be16(uint8_t* p, uint16_t v) { p[0] = uint8_t(v >> 8); p[1] = uint8_t(v); }
inline void store_be32(uint8_t* p, uint32_t v) { store_be16(p, uint16_t(v >> 16)); store_be16(p + 2, uint16_t(v)); }
inline void store_be64(uint8_t* p, uint64_t v) { store_be32(p, uint32_t(v >> 32)); store_be32(p + 4, uint32_t(v)); }

class Reader {
 public:
  explicit Reader(ByteView b) : b_(b) {}
  bool ok() const { return ok_; }
  size_t left() const { return b_.size() - at_; }
  size_t position() const { return at_; }
  bool at_end() const { return ok_ && left() == 0; }
  uint8_t u8() { return need(1) ? b_[at_++] : 0; }
  uint16_t u16() { return need(2) ? (at_ += 2, load_be16(&b_[at_ - 2])) : uint16_t(0); }
  uint32_t u32() { return need(4) ? (at_ += 4, load_be32(&b_[at_ - 4])) : 0; }
  uint64_t u64() { return need(8) ? (at_ += 8, load_be64(&b_[at_ - 8])) : 0; }
  ByteView take(size_t n) { return need(n) ? (at_ += n, b_.subspan(at_ - n, n)) : ByteView{}; }
  ByteView rest() { return take(left()); }

 private:
  bool need(size_t n) {
    if (ok_ && left() >= n) return true;
    return ok_ = false;
  }
  ByteView b_;
  size_t at_ = 0;
  bool ok_ = true;
};

// Appends to a ByteVec it does not own.
class Writer {
 public:
  explicit Writer(ByteVec& out) : out_(out) {}
  void u8(uint8_t v) { out_.push_back(v); }
  void u16(uint16_t v) { uint8_t t[2]; store_be16(t, v); put(t); }
  void u32(uint32_t v) { uint8_t t[4]; store_be32(t, v); put(t); }
  void u64(uint64_t v) { uint8_t t[8]; store_be64(t, v); put(t); }
  void put(ByteView b) { out_.insert(out_.end(), b.begin(), b.end()); }

 private:
  ByteVec& out_;
};

std::string to_hex(ByteView);
std::optional<ByteVec> from_hex(std::string_view);
std::string to_base64(ByteView);
std::optional<ByteVec> from_base64(std::string_view);  // strict RFC 4648 §4

// Wipes memory in a way the compiler keeps (secrets).
void secure_zero(void* p, size_t n);

}  // namespace base
