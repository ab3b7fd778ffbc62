#include "base/net/datagram.h"

#include <gtest/gtest.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <numeric>

#include "base/net/socket.h"

namespace base {
namespace {

struct DatagramTest : testing::TestWithParam<const char*> {
  IpAddr lo = *IpAddr::parse(GetParam());
  SocketOptions options{.recv_buffer = 4 << 20, .packet_info = true, .gro = true};
  UniqueFd a = udp_socket({lo, 0}, {.packet_info = true}).value();
  UniqueFd b = udp_socket({lo, 0}, options).value();
  IpPort at_a = *local_address(a.get()), at_b = *local_address(b.get());
  DatagramReader reader{64, 65535};
  DatagramWriter writer;

  std::span<Datagram> receive() {
    pollfd p{b.get(), POLLIN, 0};
    poll(&p, 1, 2000);
    auto r = reader.receive(b.get());
    EXPECT_TRUE(r) << r.error().what;
    return r.value_or(std::span<Datagram>{});
  }
  // All bytes and the number of datagrams they came in.
  std::pair<ByteVec, size_t> receive_bytes(size_t want) {
    ByteVec all;
    size_t datagrams = 0;
    for (int i = 0; i < 1000 && all.size() < want; ++i)
      for (auto& d : receive()) {
        EXPECT_EQ(d.from, at_a);
        all.insert(all.end(), d.data.begin(), d.data.end());
        datagrams += (d.data.size() + d.segment - 1) / d.segment;
      }
    return {all, datagrams};
  }
};
INSTANTIATE_TEST_SUITE_P(Families, DatagramTest, testing::Values("127.0.0.1", "::1"));

ByteVec pattern(size_t n) {
  ByteVec v(n);
  for (size_t i = 0; i < n; ++i) v[i] = uint8_t(i * 131 >> 3);
  return v;
}

TEST_P(DatagramTest, ABatchArrivesWithAddressesAndEcn) {
  EXPECT_TRUE(reader.receive(b.get())->empty());
  std::vector<ByteVec> texts;
  for (size_t i = 0; i < 64; ++i) texts.push_back(pattern(i * 7));
  for (size_t i = 0; i < 64; ++i) writer.add({.to = at_b, .data = texts[i], .tos = uint8_t(i % 2 ? 0x02 : 0xb8)});
  EXPECT_TRUE(writer.full());
  SendReport r = writer.flush(a.get());
  EXPECT_EQ(r.jobs, 64u);
  EXPECT_EQ(writer.queued(), 0u);
  size_t i = 0;
  while (i < 64) {
    auto got = receive();
    ASSERT_FALSE(got.empty());
    for (auto& d : got) {
      EXPECT_EQ(d.from, at_a);
      EXPECT_EQ(d.local, lo);
      EXPECT_GT(d.interface, 0u);
      EXPECT_EQ(d.tos, i % 2 ? 0x02 : 0xb8);
      EXPECT_FALSE(d.truncated);
      EXPECT_TRUE(std::equal(d.data.begin(), d.data.end(), texts[i].begin(), texts[i].end())) << i;
      ++i;
    }
  }
}

TEST_P(DatagramTest, SegmentationAndJoiningKeepBytesAndBoundaries) {
  ByteVec big = pattern(40 * 1200 + 77);
  for (bool gso : {true, false}) {
    if (!gso) writer.disable_gso();
    writer.add({.to = at_b, .data = big, .source = lo, .segment = 1200});
    SendReport r = writer.flush(a.get());
    EXPECT_EQ(r.jobs, 1u) << std::generic_category().message(r.error);
    auto [bytes, datagrams] = receive_bytes(big.size());
    EXPECT_EQ(bytes, big);
    EXPECT_EQ(datagrams, 41u);
    EXPECT_EQ(writer.gso(), gso) << "segmentation offload works on loopback";
  }
}

TEST_P(DatagramTest, WhereSegmentationIsRefusedTheWriterCutsItself) {
  int one = 1;  // a socket without checksums: the kernel refuses to segment for it
  if (lo.is_v4()) setsockopt(a.get(), SOL_SOCKET, SO_NO_CHECK, &one, sizeof one);
  else setsockopt(a.get(), SOL_UDP, UDP_NO_CHECK6_TX, &one, sizeof one);
  setsockopt(b.get(), SOL_UDP, UDP_NO_CHECK6_RX, &one, sizeof one);
  ByteVec big = pattern(10 * 1200 + 1), small = pattern(5);
  writer.add({.to = at_b, .data = big, .segment = 1200});
  writer.add({.to = at_b, .data = small});
  SendReport r = writer.flush(a.get());
  EXPECT_EQ(r.jobs, 2u);
  EXPECT_EQ(r.refused, 0u);
  EXPECT_FALSE(writer.gso());
  auto [bytes, datagrams] = receive_bytes(big.size() + small.size());
  big.insert(big.end(), small.begin(), small.end());
  EXPECT_EQ(bytes, big);
  EXPECT_EQ(datagrams, 12u);
}

TEST_P(DatagramTest, JoinedDatagramsComeInOneSlot) {
  ByteVec big = pattern(20 * 1000);
  writer.add({.to = at_b, .data = big, .segment = 1000});
  writer.flush(a.get());
  auto got = receive();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].segment, 1000u);
  EXPECT_EQ(got[0].data.size(), 20'000u);
}

TEST_P(DatagramTest, ALongDatagramIsMarkedTruncated) {
  DatagramReader small(4, 100);
  ByteVec text = pattern(101);
  writer.add({.to = at_b, .data = text});
  writer.flush(a.get());
  pollfd p{b.get(), POLLIN, 0};
  poll(&p, 1, 2000);
  auto got = small.receive(b.get());
  ASSERT_TRUE(got && got->size() == 1);
  EXPECT_TRUE((*got)[0].truncated);
}

TEST_P(DatagramTest, ARefusedJobDoesNotHoldUpTheOthers) {
  UniqueFd df = udp_socket({lo, 0}, {.no_fragment = true}).value();
  at_a = *local_address(df.get());
  ByteVec text = pattern(10);
  IpPort wrong{*IpAddr::parse(lo.is_v4() ? "::1" : "127.0.0.1"), 9};  // the other family
  writer.add({.to = at_b, .data = text});
  writer.add({.to = wrong, .data = text});
  writer.add({.to = at_b, .data = text});
  SendReport r = writer.flush(df.get());
  EXPECT_EQ(r.jobs, 2u);
  EXPECT_EQ(r.refused, 1u);
  EXPECT_NE(r.error, 0);
  EXPECT_EQ(receive_bytes(20).second, 2u);
}

TEST_P(DatagramTest, IcmpErrorsOfEarlierSendsAreNoErrorsOfReceiving) {
  IpPort closed;
  {
    UniqueFd gone = udp_socket({lo, 0}).value();
    closed = *local_address(gone.get());
  }
  SockAddr to(closed);
  ASSERT_EQ(connect(b.get(), to.ptr(), to.len), 0);
  ASSERT_EQ(send(b.get(), "x", 1, 0), 1);
  pollfd p{b.get(), POLLIN, 0};
  poll(&p, 1, 2000);
  auto got = reader.receive(b.get());
  EXPECT_TRUE(got && got->empty()) << got.error().what;
}

}  // namespace
}  // namespace base
