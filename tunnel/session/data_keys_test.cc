#include "tunnel/session/data_keys.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/sim/source_dir.h"

namespace tunnel {
namespace {

DirectionKeys keys_of(AeadId id, uint8_t seed) {
  DirectionKeys k;
  k.key.assign(aead_key_bytes(id), seed);
  memset(k.iv, seed + 1, sizeof k.iv);
  return k;
}

struct Pair {
  DataKeysPtr a, b;
};
Pair make_pair(AeadId id = AeadId::aes_128_gcm) {
  auto ab = keys_of(id, 1), ba = keys_of(id, 9);
  return {DataKeys::make(id, ab, ba, 0x1000, 0x2000), DataKeys::make(id, ba, ab, 0x2000, 0x1000)};
}

base::ByteVec sealed(const DataKeys& k, uint64_t counter, std::string_view text) {
  base::ByteVec buf(text.size() + kOverheadBytes);
  memcpy(buf.data() + kHeaderBytes, text.data(), text.size());
  EXPECT_EQ(k.seal(PacketType::data, 0, counter, buf.data(), text.size()), buf.size());
  return buf;
}

TEST(DataKeys, OneSealsTheOtherOpens) {
  for (AeadId id : {AeadId::aes_128_gcm, AeadId::chacha20_poly1305}) {
    Pair p = make_pair(id);
    auto packet = sealed(*p.a, make_counter(1, 5), "over the hills");
    auto text = p.b->open(packet);
    ASSERT_TRUE(text);
    EXPECT_EQ(base::as_text(*text), "over the hills");
  }
}

TEST(DataKeys, AnyFlippedBitIsRefused) {
  Pair p = make_pair();
  const auto good = sealed(*p.a, make_counter(1, 5), "text");
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= uint8_t(1 << bit % 8);
    EXPECT_FALSE(p.b->open(bad)) << bit;
  }
  auto cut = good;
  cut.pop_back();
  EXPECT_FALSE(p.b->open(cut));
}

TEST(DataKeys, DirectionsAreDifferentKeys) {
  Pair p = make_pair();
  auto packet = sealed(*p.a, make_counter(1, 5), "text");
  EXPECT_FALSE(p.a->open(packet));  // reflected
}

TEST(DataKeys, ALaneIsClaimedOnce) {
  Pair p = make_pair();
  for (int lane = 0; lane < 256; ++lane) {
    EXPECT_TRUE(p.a->claim_lane(uint8_t(lane)));
    EXPECT_FALSE(p.a->claim_lane(uint8_t(lane)));
  }
  EXPECT_TRUE(p.b->claim_lane(0));
}

TEST(LaneCounter, CountsUpWithinItsLane) {
  LaneCounter c(worker_lane(2));
  EXPECT_EQ(c.next(), make_counter(3, 1));
  EXPECT_EQ(c.next(), make_counter(3, 2));
  LaneCounter moved = std::move(c);
  EXPECT_EQ(moved.next(), make_counter(3, 3));
}

// integration/vectors/data_packets.py made these without any of our code.
struct Vector {
  AeadId aead;
  DirectionKeys keys;
  PacketType type;
  uint32_t flags, index;
  uint64_t counter;
  base::ByteVec text, packet;
};

Vector parse_vector(const std::string& line) {
  std::istringstream in(line);
  std::string f[9];
  for (auto& s : f) in >> s;
  Vector v{AeadId(stoi(f[0])), {*base::from_hex(f[1]), {}}, PacketType(stoul(f[3], nullptr, 16)), uint32_t(stoul(f[4], nullptr, 16)),
           uint32_t(stoul(f[5], nullptr, 16)), stoull(f[6], nullptr, 16), {}, *base::from_hex(f[8])};
  memcpy(v.keys.iv, base::from_hex(f[2])->data(), 12);
  if (f[7] != "-") v.text = *base::from_hex(f[7]);
  return v;
}

TEST(DataKeys, AgreeWithAnIndependentImplementation) {
  const std::string path = base::source_path("integration/vectors/data_packets.txt");
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    Vector v = parse_vector(line);
    auto sender = DataKeys::make(v.aead, v.keys, keys_of(v.aead, 1), 1, v.index);
    base::ByteVec buf(v.text.size() + kOverheadBytes);
    std::copy(v.text.begin(), v.text.end(), buf.begin() + kHeaderBytes);
    sender->seal(v.type, v.flags, v.counter, buf.data(), v.text.size());
    EXPECT_EQ(base::to_hex(buf), base::to_hex(v.packet)) << line.substr(0, 90);
    auto receiver = DataKeys::make(v.aead, keys_of(v.aead, 1), v.keys, v.index, 1);
    auto text = receiver->open(v.packet);
    ASSERT_TRUE(text);
    EXPECT_TRUE(std::equal(text->begin(), text->end(), v.text.begin(), v.text.end()));
  }
  EXPECT_EQ(lines, 32) << path;
}

}  // namespace
}  // namespace tunnel
