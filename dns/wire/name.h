// Names in wire form: a sequence of <length octet, label> closed by the root octet, uncompressed, at most 255 octets.
// A Name is a value without heap; comparison is octet by octet, so keys are lowered first (RFC 4343).
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "dns/wire/types.h"

namespace dns {

inline uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? uint8_t(c | 0x20) : c; }

// Eight octets at a time.
inline uint64_t lower8(uint64_t v) {
  constexpr uint64_t kHigh = 0x8080808080808080u;
  uint64_t from_a = (v & ~kHigh) + 0x3f3f3f3f3f3f3f3fu, above_z = (v & ~kHigh) + 0x2525252525252525u;  // bit 7: >= 'A', > 'Z'
  return v | (from_a & ~above_z & ~v & kHigh) >> 2;
}

class Name {
 public:
  Name() { b_[0] = 0; }  // the root
  static std::optional<Name> from_text(std::string_view);  // "a.b." or "a.b"; no escapes
  static std::optional<Name> from_wire(base::ByteView);    // uncompressed, exactly this long
  base::ByteView wire() const { return {b_.data(), size_}; }
  std::string_view key() const { return base::as_text(wire()); }
  size_t size() const { return size_; }
  // Puts a label in front; false: it does not fit or is no label.
  [[nodiscard]] bool prepend(std::string_view label);
  void make_lower();
  std::string text() const;  // "a.b." ; octets that are not printable as \ddd
  bool operator==(const Name& o) const { return key() == o.key(); }

 private:
  std::array<uint8_t, kNameMax> b_;
  uint8_t size_ = 1;
};

bool equal_ignoring_case(base::ByteView a, base::ByteView b);

// Reads the possibly compressed name at `at` of a message into out (uncompressed, case kept) and moves `at` behind it.
// Pointers must go backwards; false: not a name.
bool read_name(base::ByteView message, size_t& at, Name& out);
// Moves `at` behind a name without reading it.
bool skip_name(base::ByteView message, size_t& at);

// The reverse name of an address: in-addr.arpa (RFC 1035 §3.5), ip6.arpa nibbles (RFC 3596 §2.5).
Name reverse_name(base::ByteView address);

}  // namespace dns
