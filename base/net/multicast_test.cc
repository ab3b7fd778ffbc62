// Needs root: network namespaces of its own; skipped otherwise.
#include "base/net/multicast.h"

#include "base/net/netlink.h"
#include "base/net/netns_testing.h"

namespace base {
namespace {

using testing::InNs;
using testing::NetNs;

struct MulticastTest : ::testing::TestWithParam<const char*> {
  NetNs a, b;
  IpPort group{*IpAddr::parse(GetParam()), 5353};
  void SetUp() override {
    if (!a.ok() || !b.ok()) GTEST_SKIP() << "needs root";
    for (const char* link : {"1", "2"}) {
      testing::join(a, std::string("a") + link, b, std::string("b") + link);
      for (auto [ns, dev, host] : {std::tuple(&a, "a", "1"), std::tuple(&b, "b", "2")})
        ns->sh(std::string("ip addr add 10.9.") + link + "." + host + "/24 dev " + dev + link + " && ip addr add fd09:" + link +
               "::" + host + "/64 dev " + dev + link + " nodad");
    }
  }
  MulticastSpec spec(const std::string& dev) const { return {group, netlink::link(dev).value().index, dev, 0}; }
  struct Open {
    MulticastSpec spec;
    UniqueFd fd;
  };
  Open open(const NetNs& ns, const std::string& dev) const {
    InNs in(ns);
    Open o{spec(dev), {}};
    auto fd = multicast_socket(o.spec);
    EXPECT_TRUE(fd) << (fd ? "" : fd.error().what);
    if (fd) o.fd = std::move(*fd);
    return o;
  }
  std::optional<MulticastDatagram> receive(const Open& o, MutByteView buffer, int ms) const {
    return testing::wait_for(o.fd.get(), POLLIN, ms) ? receive_multicast(o.fd.get(), buffer) : std::nullopt;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, MulticastTest, ::testing::Values("224.0.0.251", "ff02::fb"));

TEST_P(MulticastTest, ReachesTheNeighbourOnThatLinkAndNoOther) {
  Open a1 = open(a, "a1"), b1 = open(b, "b1"), b2 = open(b, "b2"), beside = open(b, "b1");
  uint8_t buffer[64];
  std::optional<MulticastDatagram> got;
  for (int i = 0; i < 100 && !got; i++) {  // an address may still be tentative
    send_multicast(a1.fd.get(), a1.spec, as_bytes("hello"));
    got = receive(b1, buffer, 100);
  }
  ASSERT_TRUE(got);
  EXPECT_EQ(as_text(ByteView(buffer).first(got->size)), "hello");
  EXPECT_EQ(got->hop_limit, 255);
  EXPECT_EQ(got->from.port, 5353);
  EXPECT_EQ(got->from.ip.is_v4() ? got->from.ip.str() : "10.9.1.1", "10.9.1.1");
  EXPECT_TRUE(got->from.ip.is_v4() || got->from.ip.is_link_local());
  EXPECT_TRUE(receive(beside, buffer, 1000)) << "another program with the same port hears it too";
  EXPECT_FALSE(receive(b2, buffer, 50));
  EXPECT_FALSE(receive(a1, buffer, 50)) << "itself";
}

TEST_P(MulticastTest, TooLongADatagramIsToldSo) {
  Open a1 = open(a, "a1"), b1 = open(b, "b1");
  uint8_t buffer[4];
  std::optional<MulticastDatagram> got;
  for (int i = 0; i < 100 && !got; i++) {
    send_multicast(a1.fd.get(), a1.spec, as_bytes("hello"));
    got = receive(b1, buffer, 100);
  }
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->truncated);
  EXPECT_FALSE(receive_multicast(a1.fd.get(), buffer)) << "nothing waits";
}

TEST_P(MulticastTest, AnInterfaceThatIsNotThereIsNamed) {
  InNs in(a);
  auto fd = multicast_socket({group, 9999, "eth9", 0});
  ASSERT_FALSE(fd);
  EXPECT_NE(fd.error().what.find("eth9"), std::string::npos) << fd.error().what;
}

}  // namespace
}  // namespace base
