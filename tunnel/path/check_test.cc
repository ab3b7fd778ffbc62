#include "tunnel/path/check.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

CheckAck an_ack() {
  CheckAck a;
  a.txid = 0x0123456789abcdef;
  a.path = 7;
  a.observed = *base::IpPort::parse("198.51.100.7:40001");
  a.size = 1280;
  a.ce = 3;
  a.data_packets = 1'000'000'000'000;
  a.lanes = {{0, 9, 8}, {255, uint64_t(1) << 55, 5}};
  return a;
}

TEST(Check, IsAsLongAsAnyAnswerToIt) {
  base::ByteVec check = encode(Check{5, 9});
  EXPECT_EQ(check.size(), kCheckBytes);
  CheckAck longest = an_ack();
  longest.lanes.resize(50, {1, 2, 3});  // more than are told
  EXPECT_LE(encode(longest).size(), check.size());
  auto read = decode_check(check);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->txid, 5u);
  EXPECT_EQ(read->path, 9u);
}

TEST(Check, AShorterOneIsNoCheck) {  // it could be answered with more bytes than it brought
  base::ByteVec check = encode(Check{5, 9});
  check.pop_back();
  EXPECT_FALSE(decode_check(check));
  EXPECT_FALSE(decode_check({}));
}

TEST(CheckAck, SaysWhatWasSeen) {
  for (const char* seen : {"198.51.100.7:40001", "[2001:db8::7]:1"}) {
    CheckAck a = an_ack();
    a.observed = *base::IpPort::parse(seen);
    auto read = decode_check_ack(encode(a));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->txid, a.txid);
    EXPECT_EQ(read->path, a.path);
    EXPECT_EQ(read->observed.str(), seen);
    EXPECT_EQ(read->size, a.size);
    EXPECT_EQ(read->ce, a.ce);
    EXPECT_EQ(read->data_packets, a.data_packets);
    EXPECT_EQ(read->lanes, a.lanes);
  }
}

TEST(CheckAck, CutAnywhereItIsRefused) {
  base::ByteVec whole = encode(an_ack());
  for (size_t n = 0; n < whole.size(); n++) EXPECT_FALSE(decode_check_ack(base::ByteView(whole).first(n))) << n;
}

// Drawn here as a peer in another language would: the byte table of check.h.
TEST(CheckAck, ByteTable) {
  CheckAck a;
  a.txid = 1;
  a.path = 2;
  a.observed = *base::IpPort::parse("1.2.3.4:258");
  a.size = 3;
  a.ce = 4;
  a.data_packets = 5;
  a.lanes = {{6, 7, 8}};
  EXPECT_EQ(base::to_hex(encode(a)), "0000000000000001" "00000002" "04" "01020304000000000000000000000000" "0102" "0003" "00000004"
                                     "0000000000000005" "01" "06" "0000000000000007" "0000000000000008");
}

}  // namespace
}  // namespace tunnel
