#include "tunnel/data/pieces.h"

#include <algorithm>

namespace tunnel {

Pieces::Packet& Pieces::packet(uint64_t first) {
  if (packets_.empty()) packets_.resize(kPacketsMax);
  auto known = std::find_if(packets_.begin(), packets_.end(), [&](const Packet& p) { return p.first == first; });
  if (known != packets_.end()) return *known;
  Packet& p = packets_[next_++ % kPacketsMax];
  p.first = first;
  p.bytes = 0;
  p.last = kPiecesMax;
  p.have = 0;
  return p;
}

bool Pieces::add(uint64_t counter, uint32_t flags, base::ByteView piece, base::ByteVec& out) {
  size_t number = flags >> kPieceShift & (kPiecesMax - 1);
  if (counter <= number) return false;
  Packet& p = packet(counter - number);
  p.bytes += piece.size();
  bool fits = p.bytes <= kInnerMtuMax;
  if (fits) {
    p.piece[number].assign(piece.begin(), piece.end());
    p.have |= uint32_t(1) << number;
    if (flags & kFlagLastPiece) p.last = number;
  }
  bool whole = fits && p.last < kPiecesMax && p.is_complete();
  for (size_t i = 0; whole && i <= p.last; ++i) out.insert(out.end(), p.piece[i].begin(), p.piece[i].end());
  if (whole || !fits) p.first = 0;
  return whole;
}

}  // namespace tunnel
