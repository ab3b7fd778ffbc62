#include "dns/zone/piece.h"

#include <algorithm>

#include "base/core/assert.h"

namespace dns {

// Layout: Head, names, reverse records, all unaligned.
// A name: u32 size of what follows, u8 zone | 0x80 for a service, u8 n, labels[n], u8 m, alias[m], answers. An answer: AnswerHead, octets.
// A reverse record: u8 octets of the address | 0x80 for a cluster IP, address, u32 name.

namespace {

struct AnswerHead {
  uint32_t size;
  uint16_t type, answers, additional, rotate;
};

template <class T>
T load(const uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
void put(base::ByteVec& out, const T& v) {
  auto* p = reinterpret_cast<const uint8_t*>(&v);
  out.insert(out.end(), p, p + sizeof v);
}

BodyView body_at(base::ByteView r, size_t at) {
  auto h = load<AnswerHead>(&r[at]);
  return {r.subspan(at + sizeof h, h.size), h.answers, 0, h.additional, h.rotate};
}

}  // namespace

// ---- reading

Name NameView::name(std::string_view zone) const {
  std::array<uint8_t, kNameMax> b;
  std::string_view l = labels();
  std::copy(l.begin(), l.end(), b.begin());
  std::copy(zone.begin(), zone.end(), b.begin() + std::ptrdiff_t(l.size()));
  return *Name::from_wire({b.data(), l.size() + zone.size()});
}

std::string_view NameView::alias() const { return base::as_text(r_.subspan(alias_at() + 1, r_[alias_at()])); }

std::optional<BodyView> NameView::find(uint16_t type) const {
  for (size_t at = answers_at(); at < r_.size();) {
    auto h = load<AnswerHead>(&r_[at]);
    if (h.type == type) return body_at(r_, at);
    at += sizeof h + h.size;
  }
  return {};
}

std::optional<BodyView> NameView::first() const {
  size_t at = answers_at();
  return at < r_.size() ? std::optional(body_at(r_, at)) : std::nullopt;
}

size_t Piece::bytes() const { return head().size; }
uint32_t Piece::behind_name(uint32_t at) const { return at + 4 + load<uint32_t>(octets_.get() + at); }
uint32_t Piece::behind_reverse(uint32_t at) const { return at + 5 + (octets_[at] & 0x7f); }

ReverseView Piece::reverse_at(uint32_t at) const {
  const uint8_t* p = octets_.get() + at;
  size_t n = p[0] & 0x7f;
  return {n == 4 ? base::IpAddr::v4(p + 1) : base::IpAddr::v6(p + 1), (p[0] & 0x80) != 0, load<uint32_t>(p + 1 + n)};
}

// ---- making

PieceBuilder::PieceBuilder(uint8_t zone, const Name& zone_name, bool service)
    : mark_(uint8_t(zone | (service ? 0x80 : 0))), zone_size_(zone_name.size()) {}

void PieceBuilder::close_name() {
  if (!open_) return;
  uint32_t size = uint32_t(names_.size() - open_);
  std::memcpy(&names_[open_ - 4], &size, 4);
  open_ = 0;
}

uint32_t PieceBuilder::name(const Name& n, std::string_view alias) {
  EM_ASSERT(n.size() >= zone_size_);
  close_name();
  uint32_t at = uint32_t(sizeof(Piece::Head) + names_.size());
  put(names_, uint32_t(0));
  open_ = names_.size();
  base::ByteView labels = n.wire().first(n.size() - zone_size_);
  names_.push_back(mark_);
  names_.push_back(uint8_t(labels.size()));
  names_.insert(names_.end(), labels.begin(), labels.end());
  names_.push_back(uint8_t(alias.size()));
  names_.insert(names_.end(), alias.begin(), alias.end());
  return at;
}

void PieceBuilder::answer(uint16_t type, const BodyView& b) {
  put(names_, AnswerHead{uint32_t(b.octets.size()), type, b.answers, b.additional, b.rotate});
  names_.insert(names_.end(), b.octets.begin(), b.octets.end());
}

void PieceBuilder::reverse(const base::IpAddr& ip, uint32_t name, bool cluster_ip) {
  auto b = ip.bytes();
  reverse_.push_back(uint8_t(b.size() | (cluster_ip ? 0x80 : 0)));
  reverse_.insert(reverse_.end(), b.begin(), b.end());
  put(reverse_, name);
}

Piece PieceBuilder::finish() {
  close_name();
  Piece p;
  if (names_.empty()) return p;
  uint32_t reverse_at = uint32_t(sizeof(Piece::Head) + names_.size());
  Piece::Head h{reverse_at, uint32_t(reverse_at + reverse_.size())};
  auto octets = std::make_shared_for_overwrite<uint8_t[]>(h.size);
  std::memcpy(octets.get(), &h, sizeof h);
  std::memcpy(octets.get() + sizeof h, names_.data(), names_.size());
  if (!reverse_.empty()) std::memcpy(octets.get() + reverse_at, reverse_.data(), reverse_.size());
  p.octets_ = std::move(octets);
  return p;
}

}  // namespace dns
