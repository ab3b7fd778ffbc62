#include "tunnel/path/known_peers.h"

#include <gtest/gtest.h>

namespace tunnel {
namespace {

ResumeSecret secret(int number) {
  ResumeSecret s;
  base::store_be32(s.bytes.data(), uint32_t(number));
  return s;
}
base::IpPort at(const char* s) { return *base::IpPort::parse(s); }

KnownPeers two() {
  KnownPeers k;
  k.port = 20006;
  k.met("edge-a", {1}, secret(1));
  k.met("edge-b", {2}, secret(2));
  k.confirm_path("edge-a", {at("198.51.100.1:20006")});
  k.confirm_path("edge-a", {at("[2001:db8::1]:7"), 40000});
  k.set_candidates("edge-b", {at("192.168.1.2:20006")});
  return k;
}

TEST(KnownPeers, AreReadAsTheyWereWritten) {
  auto bytes = two().encode();
  auto k = KnownPeers::decode(bytes);
  ASSERT_TRUE(k) << k.error().what;
  EXPECT_EQ(k->port, 20006);
  EXPECT_EQ(k->by_age(), (std::vector<std::string>{"edge-b", "edge-a"}));
  const KnownPeer* a = k->find("edge-a");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->spki[0], 1);
  EXPECT_EQ(a->secrets, std::vector<ResumeSecret>{secret(1)});
  EXPECT_EQ(a->paths, (std::vector<KnownPath>{{at("[2001:db8::1]:7"), 40000}, {at("198.51.100.1:20006")}}));
  EXPECT_EQ(k->find("edge-b")->candidates, std::vector{at("192.168.1.2:20006")});
  EXPECT_EQ(k->encode(), bytes);
}

TEST(KnownPeers, EveryDamageIsFound) {
  auto good = two().encode();
  for (size_t i = 0; i < good.size(); i++) {
    auto b = good;
    b[i] ^= 0x10;
    EXPECT_FALSE(KnownPeers::decode(b)) << i;
    b = good;
    b.resize(i);
    EXPECT_FALSE(KnownPeers::decode(b)) << i;
  }
}

TEST(KnownPeers, AFutureVersionIsSaid) {
  auto b = two().encode();
  b[7] = 9;
  auto k = KnownPeers::decode(b);
  ASSERT_FALSE(k);
  EXPECT_NE(k.error().what.find("version 9"), std::string::npos);
}

TEST(KnownPeers, TheThreeNewestSecretsAreKept) {
  KnownPeers k;
  for (int i = 1; i <= 5; i++) k.met("a", {}, secret(i));
  EXPECT_EQ(k.find("a")->secrets, (std::vector{secret(5), secret(4), secret(3)}));
}

TEST(KnownPeers, ThePeersMetLastAreKept) {
  KnownPeers k;
  for (int i = 0; i < 300; i++) k.met(fmt::format("node-{}", i), {}, secret(i));
  k.met("node-44", {}, secret(1000));
  k.met("node-301", {}, secret(301));
  EXPECT_EQ(k.size(), kKnownPeersMax);
  EXPECT_TRUE(k.find("node-44"));
  EXPECT_FALSE(k.find("node-45"));
  EXPECT_EQ(k.by_age().front(), "node-301");
  EXPECT_LE(k.encode().size(), kKnownPeersBytesMax);
}

TEST(KnownPeers, APathConfirmedAgainIsTheFirst) {
  KnownPeers k = two();
  uint64_t before = k.revision();
  k.confirm_path("edge-a", {at("[2001:db8::1]:7"), 40000});
  EXPECT_EQ(k.revision(), before);  // nothing to write
  k.confirm_path("edge-a", {at("198.51.100.1:20006")});
  EXPECT_NE(k.revision(), before);
  EXPECT_EQ(k.find("edge-a")->paths[0].at, at("198.51.100.1:20006"));
  for (int i = 0; i < 9; i++) k.confirm_path("edge-a", {{at("10.0.0.1:1").ip, uint16_t(2000 + i)}});
  EXPECT_EQ(k.find("edge-a")->paths.size(), kKnownPathsMax);
  k.confirm_path("nobody", {at("10.0.0.1:1")});
  EXPECT_FALSE(k.find("nobody"));
}

TEST(KnownPeers, AForgottenPeerLeavesNothing) {
  KnownPeers k = two();
  k.forget("edge-a");
  EXPECT_FALSE(k.find("edge-a"));
  EXPECT_EQ(KnownPeers::decode(k.encode())->size(), 1u);
}

// The largest file there can be is read again.
TEST(KnownPeers, AFullListFits) {
  KnownPeers k;
  for (int i = 0; i < int(kKnownPeersMax); i++) {
    std::string name = fmt::format("{:0>60}.{:0>60}.{:0>60}.{:0>60}", i, i, i, i);
    for (int s = 0; s < 3; s++) k.met(name, {}, secret(1000 * i + s));
    std::vector<base::IpPort> list;
    for (uint16_t c = 0; c < 8; c++) list.push_back({at("[2001:db8::1]:7").ip, uint16_t(c + 1)});
    k.set_candidates(name, list);
    for (uint16_t c = 0; c < 4; c++) k.confirm_path(name, {list[c], c});
  }
  auto bytes = k.encode();
  auto again = KnownPeers::decode(bytes);
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(again->size(), kKnownPeersMax);
}

}  // namespace
}  // namespace tunnel
