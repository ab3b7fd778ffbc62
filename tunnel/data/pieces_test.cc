#include "tunnel/data/pieces.h"

#include <gtest/gtest.h>

#include "base/core/rng.h"

namespace tunnel {
namespace {

base::ByteVec text(size_t n, uint8_t seed = 1) {
  base::ByteVec out(n);
  for (size_t i = 0; i < n; i++) out[i] = uint8_t(i * 7 + seed);
  return out;
}

struct Piece {
  uint64_t counter;
  uint32_t flags;
  base::ByteVec bytes;
};
std::vector<Piece> cut(const base::ByteVec& whole, size_t size, uint64_t counter) {
  std::vector<Piece> out;
  size_t n = (whole.size() + size - 1) / size;
  for (size_t i = 0; i < n; i++)
    out.push_back({counter + i, piece_flags(i, i + 1 == n), {whole.begin() + long(i * size), whole.begin() + long(std::min(whole.size(), (i + 1) * size))}});
  return out;
}

TEST(Pieces, OneAfterTheOtherAndInAnyOrder) {
  base::SeededRng rng(3);
  Pieces p;
  for (int round = 0; round < 200; round++) {
    auto whole = text(700 + rng.below(8000), uint8_t(round));
    auto pieces = cut(whole, 600, 1000 + uint64_t(round) * 20);
    if (round % 2)
      for (size_t i = pieces.size(); i > 1; i--) std::swap(pieces[i - 1], pieces[rng.below(i)]);
    base::ByteVec out = {9};
    for (size_t i = 0; i < pieces.size(); i++) EXPECT_EQ(p.add(pieces[i].counter, pieces[i].flags, pieces[i].bytes, out), i + 1 == pieces.size());
    EXPECT_EQ(out[0], 9);  // appended
    EXPECT_TRUE(std::equal(whole.begin(), whole.end(), out.begin() + 1, out.end()));
  }
}

TEST(Pieces, PacketsInterleaveAndALostPieceHarmsOnlyItsOwn) {
  Pieces p;
  base::ByteVec out;
  auto a = cut(text(1200, 1), 600, 10), b = cut(text(1200, 2), 600, 20), c = cut(text(1200, 3), 600, 30);
  EXPECT_FALSE(p.add(a[0].counter, a[0].flags, a[0].bytes, out));
  EXPECT_FALSE(p.add(b[1].counter, b[1].flags, b[1].bytes, out));
  EXPECT_FALSE(p.add(c[0].counter, c[0].flags, c[0].bytes, out));  // its second is lost
  EXPECT_TRUE(p.add(b[0].counter, b[0].flags, b[0].bytes, out));
  EXPECT_TRUE(p.add(a[1].counter, a[1].flags, a[1].bytes, out));
  auto expected = text(1200, 2), second = text(1200, 1);
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ(out, expected);
}

TEST(Pieces, TheOldestGivesWay) {
  Pieces p;
  base::ByteVec out;
  auto old = cut(text(1200), 600, 5);
  p.add(old[0].counter, old[0].flags, old[0].bytes, out);
  for (uint64_t i = 0; i < Pieces::kPacketsMax; i++) p.add(100 + 2 * i, piece_flags(0, false), text(600), out);
  EXPECT_FALSE(p.add(old[1].counter, old[1].flags, old[1].bytes, out));
  EXPECT_TRUE(out.empty());
}

TEST(Pieces, NonsenseIsForgotten) {
  Pieces p;
  base::ByteVec out;
  EXPECT_FALSE(p.add(3, piece_flags(5, true), text(10), out));  // it would have begun before the first counter
  for (size_t i = 0; i < kPiecesMax; i++) EXPECT_FALSE(p.add(100 + i, piece_flags(i, i + 1 == kPiecesMax), text(1400), out));  // no packet is that long
  EXPECT_FALSE(p.add(200, piece_flags(2, false), text(10), out));  // behind the last one
  EXPECT_FALSE(p.add(199, piece_flags(1, true), text(10), out));
  EXPECT_FALSE(p.add(198, piece_flags(0, false), text(10), out));
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace tunnel
