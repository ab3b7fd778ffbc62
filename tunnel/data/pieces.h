// An inner packet longer than the path's MTU goes in pieces: DATA packets with consecutive counters on one lane, flagged and numbered.
// The number and the counter together name the packet, so nothing is added to the header, and a piece cannot be played twice because
// its counter cannot.
//
//   flags   000002 a piece | 000004 the last one | 0000f0 its number, from 0
// All pieces but the last have one size. The receiver keeps what has come of at most kPacketsMax packets per receive index, a newer
// packet in place of the oldest. One worker; pure.
#pragma once
#include <array>
#include <vector>

#include "base/core/bytes.h"
#include "tunnel/path/path_mtu.h"

namespace tunnel {

inline constexpr uint32_t kFlagPiece = 2, kFlagLastPiece = 4;
inline constexpr int kPieceShift = 4;
inline constexpr size_t kPiecesMax = 16;

inline uint32_t piece_flags(size_t number, bool last) { return kFlagPiece | (last ? kFlagLastPiece : 0) | uint32_t(number << kPieceShift); }

class Pieces {
 public:
  static constexpr size_t kPacketsMax = 32;
  // Appends the packet that this piece completes to out and says so. Pieces that do not fit together are forgotten.
  bool add(uint64_t counter, uint32_t flags, base::ByteView piece, base::ByteVec& out);

 private:
  struct Packet {
    uint64_t first = 0;  // its first piece's counter, which is never 0
    size_t bytes = 0, last = 0;
    uint32_t have = 0;   // by number
    std::array<base::ByteVec, kPiecesMax> piece;
    bool is_complete() const { return have == (uint32_t(2) << last) - 1; }
  };
  Packet& packet(uint64_t first);
  std::vector<Packet> packets_;  // made on first use
  size_t next_ = 0;
};

}  // namespace tunnel
