// Piece: the names of one service (or of one zone) with their rendered answers, packed into one block of memory: what is made
// when an object changes and then shared, immutable, by the index of every loop.
//
// All names of a piece are in one zone, the first is its base; each stands in front of its answers, so that a query reads one or two
// lines of memory. A reverse record says which address belongs to which of the names; PTR answers are made from it when asked,
// because several pieces may hold one address.
#pragma once
#include <cstring>
#include <memory>
#include <optional>

#include "base/net/addr.h"
#include "dns/wire/message_writer.h"

namespace dns {

// One name of a piece. Without answers it is an empty non-terminal (RFC 8020): NODATA for every type.
class NameView {
 public:
  explicit NameView(base::ByteView record) : r_(record) {}
  uint8_t zone() const { return r_[0] & 0x7f; }  // its number
  bool is_service() const { return r_[0] & 0x80; }
  std::string_view labels() const { return base::as_text(r_.subspan(2, r_[1])); }  // lowered wire form, without the zone
  Name name(std::string_view zone) const;
  std::string_view alias() const;  // wire form of what an ExternalName points to, else ""
  std::optional<BodyView> find(uint16_t type) const;
  std::optional<BodyView> first() const;

 private:
  size_t alias_at() const { return size_t(2) + r_[1]; }
  size_t answers_at() const { return alias_at() + 1 + r_[alias_at()]; }
  base::ByteView r_;
};

struct ReverseView {
  base::IpAddr address;
  bool cluster_ip = false;  // wins over endpoints
  uint32_t name = 0;        // where its name is in the piece
};

class Piece {
 public:
  Piece() = default;
  explicit operator bool() const { return octets_ != nullptr; }
  NameView base() const { return name_at(sizeof(Head)); }
  size_t bytes() const;
  NameView name_at(uint32_t at) const {
    uint32_t size;
    std::memcpy(&size, octets_.get() + at, sizeof size);
    return NameView({octets_.get() + at + 4, size});
  }
  void prefetch(uint32_t at) const {
    const uint8_t* p = octets_.get() + at;
    __builtin_prefetch(p);
    __builtin_prefetch(p + 64);
    __builtin_prefetch(p + 128);
  }
  ReverseView reverse_at(uint32_t at) const;
  // f(at) for every name, then g(at) for every reverse record.
  template <class F, class G>
  void each(F f, G g) const;

 private:
  friend class PieceBuilder;
  struct Head {
    uint32_t reverse_at, size;
  };
  Head head() const {
    Head h;
    std::memcpy(&h, octets_.get(), sizeof h);
    return h;
  }
  uint32_t behind_name(uint32_t at) const;
  uint32_t behind_reverse(uint32_t at) const;
  std::shared_ptr<const uint8_t[]> octets_;
};

// Puts a piece together; names in the order they are given.
class PieceBuilder {
 public:
  // zone: its number and its name (lowered).
  PieceBuilder(uint8_t zone, const Name& zone_name, bool service);
  // Opens the next name, which must be in the zone; the first is the base. Answers go to it until the next one.
  uint32_t name(const Name&, std::string_view alias = {});
  void answer(uint16_t type, const BodyView&);
  void reverse(const base::IpAddr&, uint32_t name, bool cluster_ip);
  Piece finish();  // null when nothing was put in

 private:
  void close_name();
  uint8_t mark_;
  size_t zone_size_;
  base::ByteVec names_, reverse_;
  size_t open_ = 0;  // where the open name's size goes; 0: none
};

template <class F, class G>
void Piece::each(F f, G g) const {
  Head h = head();
  for (uint32_t at = sizeof(Head); at < h.reverse_at; at = behind_name(at)) f(at);
  for (uint32_t at = h.reverse_at; at < h.size; at = behind_reverse(at)) g(at);
}

}  // namespace dns
