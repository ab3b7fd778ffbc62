// Packets put together from pieces: in any order, with any flags, only what was sent under one name comes out, whole and bounded.
// Input, again and again: counter 1, flags 1 (as on the wire), length 2 (big-endian, 9 bits of it times 16); a counter counts once.
#include <map>
#include <set>

#include "base/core/assert.h"
#include "tunnel/data/pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::Reader r({data, size});
  tunnel::Pieces pieces;
  std::set<uint64_t> counted;
  std::map<std::pair<uint64_t, size_t>, base::ByteVec> sent;  // by first counter and number
  while (true) {
    uint64_t counter = r.u8();
    uint32_t flags = r.u8();
    size_t length = (r.u16() & 511) * 16;
    if (!r.ok()) return 0;
    if (counter == 0 || !counted.insert(counter).second) continue;
    size_t number = flags >> tunnel::kPieceShift;
    base::ByteVec piece(length, uint8_t(counter)), out;
    if (counter > number) sent[{counter - number, number}] = piece;
    if (!pieces.add(counter, flags, piece, out)) {
      EM_ASSERT(out.empty());
      continue;
    }
    EM_ASSERT(out.size() <= tunnel::kInnerMtuMax);
    base::ByteVec whole;
    for (auto it = sent.find({counter - number, 0}); it != sent.end() && it->first.first == counter - number && whole.size() < out.size(); ++it)
      whole.insert(whole.end(), it->second.begin(), it->second.end());
    EM_ASSERT(whole == out);
  }
}
