#include "tunnel/session/handshake.h"

#include <gtest/gtest.h>

#include "base/sim/test_ca.h"
#include "tunnel/session/sim_channel.h"
#include "tunnel/session/tls_channel.h"

namespace tunnel {
namespace {

constexpr const char* kCluster = "mesh.test";

Psk psk(uint8_t fill) {
  base::ByteVec key(32, fill);
  return {psk_id_of(key), key};
}

struct Side {
  Handshake::Config config;
  std::unique_ptr<SecureChannel> channel;
  std::unique_ptr<Handshake> handshake;
  base::Result<void> result;
  void start() { handshake = std::make_unique<Handshake>(config, std::move(channel)); }
};

// Two sides that pass bytes to each other in pieces until nothing moves.
struct Pair {
  Side client, server;
  void run(size_t piece = 1 << 20) {
    client.start();
    server.start();
    client.result = client.handshake->start();
    (void)server.handshake->start();
    for (int i = 0; i < 50; i++) {
      if (!step(client, server, piece) & !step(server, client, piece)) return;
    }
  }
  static bool step(Side& from, Side& to, size_t piece) {
    base::ByteVec b = from.handshake->take_output();
    for (size_t at = 0; at < b.size() && to.result; at += piece)
      to.result = to.handshake->feed(base::ByteView(b).subspan(at, std::min(piece, b.size() - at)));
    return !b.empty();
  }
};

base::Result<TlsChannelFactory> factory(const base::TestNodePem& pem, base::WallTime now = base::TestCa::kNow) {
  return TlsChannelFactory::make({pem.cert_chain, pem.key, pem.ca}, kCluster, [now] { return now; });
}

Digest leaf_of(const base::TestNodePem& pem) { return base::sha256((*base::certificates_from_pem(pem.cert_chain, "test"))[0]); }

Side tls_side(bool client, const std::string& name, const std::string& peer, const base::TestNodePem& pem) {
  Side s;
  s.config.client = client;
  s.config.cluster = kCluster;
  s.config.own_name = name;
  s.config.peer_name = peer;
  s.config.own_leaf = leaf_of(pem);
  s.config.hello.instance = client ? 11 : 22;
  s.config.hello.index = client ? 0x1111 : 0x2222;
  s.config.hello.candidates = {{CandidateKind::host, *base::IpPort::parse("192.168.1.10:20006")}};
  s.channel = factory(pem)->channel(client);
  return s;
}

Pair tls_pair(const base::TestCa& ca) {
  return {tls_side(true, "a", "b", ca.node("a", {.overlay_ips = {*base::IpAddr::parse("100.64.1.1")}})), tls_side(false, "b", "a", ca.node("b"))};
}

void expect_working_keys(const Handshake::Outcome& a, const Handshake::Outcome& b) {
  base::ByteVec packet(kHeaderBytes + 5 + kTagBytes, 7);
  size_t n = a.keys->seal(PacketType::check, 0, make_counter(0, 1), packet.data(), 5);
  packet.resize(n);
  EXPECT_EQ(read_header(packet)->index, b.keys->local_index());
  auto plain = b.keys->open(packet);
  ASSERT_TRUE(plain);
  EXPECT_EQ(base::ByteVec(plain->begin(), plain->end()), base::ByteVec(5, 7));
}

TEST(Handshake, TwoNodesAgreeOverTls) {
  base::TestCa ca(kCluster);
  for (size_t piece : {size_t(1) << 20, size_t(7)}) {
    Pair p = tls_pair(ca);
    p.run(piece);
    ASSERT_TRUE(p.client.result && p.server.result) << (p.client.result ? p.server.result.error().what : p.client.result.error().what);
    ASSERT_TRUE(p.client.handshake->confirmed() && p.server.handshake->confirmed());
    const auto &c = *p.client.handshake->outcome(), &s = *p.server.handshake->outcome();
    expect_working_keys(c, s);
    expect_working_keys(s, c);
    EXPECT_EQ(s.peer.name, "a");
    EXPECT_EQ(s.peer.overlay_ips.at(0).str(), "100.64.1.1");
    EXPECT_EQ(c.hello.instance, 22u);
    EXPECT_EQ(s.hello.candidates, p.client.config.hello.candidates);
  }
}

TEST(Handshake, ServerHasKeysBeforeTheClientConfirms) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.client.start();
  p.server.start();
  (void)p.client.handshake->start();
  Pair::step(p.client, p.server, 1 << 20);
  Pair::step(p.server, p.client, 1 << 20);
  Pair::step(p.client, p.server, 1 << 20);
  ASSERT_TRUE(p.server.handshake->outcome());
  EXPECT_FALSE(p.server.handshake->confirmed());
}

TEST(Handshake, AnotherNameIsNamedInBothLogs) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.server = tls_side(false, "b", "a", ca.node("c"));  // b's address, c's certificate
  p.run();
  ASSERT_FALSE(p.client.result);
  EXPECT_EQ(p.client.result.error().what, "asked for b, the certificate is for c");
  ASSERT_FALSE(p.server.result);
  EXPECT_EQ(p.server.result.error().what, "a refuses: asked for b, the certificate is for c");
  EXPECT_FALSE(p.server.handshake->outcome());
}

std::vector<std::string> texts(std::vector<base::ByteVec> packets) {
  std::vector<std::string> out;
  for (const auto& p : packets) out.emplace_back(base::as_text(p));
  return out;
}

// The client's packets arrive with its Finished, the server's with its confirm: before either has keys that the other was seen to have.
TEST(Handshake, PacketsFollowInTheStream) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.client.start();
  p.server.start();
  (void)p.client.handshake->start();
  EXPECT_FALSE(p.client.handshake->may_carry());
  EXPECT_FALSE(p.client.handshake->carry(base::as_bytes("too early")));
  Pair::step(p.client, p.server, 1 << 20);
  EXPECT_FALSE(p.server.handshake->may_carry()) << "it does not know yet who asks";
  Pair::step(p.server, p.client, 1 << 20);
  for (const char* text : {"one", "two"}) ASSERT_TRUE(p.client.handshake->carry(base::as_bytes(std::string_view(text))));
  Pair::step(p.client, p.server, 1 << 20);
  ASSERT_TRUE(p.server.result) << p.server.result.error().what;
  EXPECT_EQ(texts(p.server.handshake->take_packets()), (std::vector<std::string>{"one", "two"}));
  ASSERT_TRUE(p.server.handshake->carry(base::as_bytes("answer")));
  Pair::step(p.server, p.client, 1 << 20);
  EXPECT_TRUE(p.client.handshake->confirmed());
  EXPECT_EQ(texts(p.client.handshake->take_packets()), std::vector<std::string>{"answer"});
  for (size_t i = 2; i < kCarriedPacketsMax; i++) ASSERT_TRUE(p.client.handshake->carry(base::as_bytes("more")));
  EXPECT_FALSE(p.client.handshake->may_carry());
  Pair::step(p.client, p.server, 7);
  EXPECT_TRUE(p.server.handshake->confirmed());
  EXPECT_EQ(p.server.handshake->take_packets().size(), kCarriedPacketsMax - 2);
}

// What a pre-shared key is to protect is not said before both have proved to have it.
TEST(Handshake, WithAPreSharedKeyPacketsWaitForTheConfirm) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.client.config.psks = p.server.config.psks = {psk(1)};
  p.client.start();
  p.server.start();
  (void)p.client.handshake->start();
  for (int flights = 0; flights < 2; flights++) {
    Pair::step(p.client, p.server, 1 << 20);
    EXPECT_FALSE(p.server.handshake->may_carry());
    Pair::step(p.server, p.client, 1 << 20);
    EXPECT_EQ(p.client.handshake->may_carry(), flights == 1);
  }
  Pair::step(p.client, p.server, 1 << 20);
  EXPECT_TRUE(p.server.handshake->may_carry());
}

TEST(Handshake, DeniedPeerGetsNoKeys) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.server.config.accept = [](const base::NodeIdentity& id) -> base::Result<void> { return base::fail(base::Code::denied, "{} is on the deny list", id.name); };
  p.run();
  EXPECT_EQ(p.server.result.error().what, "a is on the deny list");
  ASSERT_FALSE(p.client.result);
  EXPECT_EQ(p.client.result.error().what, "b refuses: a is on the deny list");
  EXPECT_FALSE(p.client.handshake->outcome() || p.server.handshake->outcome());
}

TEST(Handshake, ForeignAuthorityFailsOnBothSides) {
  base::TestCa ca(kCluster), other(kCluster);
  Pair p = tls_pair(ca);
  p.server = tls_side(false, "b", "a", other.node("b"));
  p.run();
  EXPECT_FALSE(p.client.result);
  EXPECT_FALSE(p.client.handshake->outcome() || p.server.handshake->outcome());
}

TEST(Handshake, ExpiredCertificateFailsAndFreshOneIsAllowedADayOfSlack) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  base::WallTime now = base::TestCa::kNow;
  p.server = tls_side(false, "b", "a", ca.node("b", {.from = {now.unix_seconds - 100}, .to = {now.unix_seconds - 10}}));
  p.run();
  ASSERT_FALSE(p.client.result);
  EXPECT_NE(p.client.result.error().what.find("expired"), std::string::npos) << p.client.result.error().what;
  Pair early = tls_pair(ca);
  early.server = tls_side(false, "b", "a", ca.node("b", {.from = {now.unix_seconds + 23 * 3600}, .to = {now.unix_seconds + 90000}}));
  early.run();
  EXPECT_TRUE(early.client.result && early.client.handshake->confirmed());
}

TEST(Handshake, PskMustBeShared) {
  base::TestCa ca(kCluster);
  Pair same = tls_pair(ca);
  same.client.config.psks = {psk(1), psk(2)};  // rotation: one in common is enough
  same.server.config.psks = {psk(2), psk(3)};
  same.run();
  ASSERT_TRUE(same.client.handshake->confirmed() && same.server.handshake->confirmed());
  expect_working_keys(*same.client.handshake->outcome(), *same.server.handshake->outcome());
  for (int which : {0, 1, 2}) {
    Pair p = tls_pair(ca);
    if (which != 0) p.client.config.psks = {psk(1)};
    if (which != 1) p.server.config.psks = {psk(9)};
    p.run();
    ASSERT_FALSE(p.client.result || p.server.result) << which;
    EXPECT_NE(p.server.result.error().what.find("no pre-shared key in common"), std::string::npos);
    EXPECT_NE(p.client.result.error().what.find("no pre-shared key in common"), std::string::npos);
    EXPECT_FALSE(p.client.handshake->outcome() || p.server.handshake->outcome());
  }
}

TEST(Handshake, SameIdOtherKeyIsFoundByTheConfirm) {
  base::TestCa ca(kCluster);
  Pair p = tls_pair(ca);
  p.client.config.psks = {psk(1)};
  p.server.config.psks = {psk(1)};
  p.server.config.psks[0].key[0] ^= 1;
  p.run();
  ASSERT_FALSE(p.client.result);
  EXPECT_NE(p.client.result.error().what.find("derived different keys"), std::string::npos);
  EXPECT_NE(p.server.result.error().what.find("derived different keys"), std::string::npos);
}

TEST(Handshake, DeterministicChannelGivesTheSameBytesForTheSameSeed) {
  auto run = [](uint64_t seed) {
    base::SeededRng rng(seed);
    auto side = [&](bool client, const char* own, const char* peer) {
      base::NodeIdentity id;
      id.trust_domain = kCluster;
      id.name = own;
      Side s;
      s.config = {client, kCluster, own, peer, sim_leaf(id), {}, {}, {}};
      s.config.hello.index = client ? 1 : 2;
      s.channel = make_sim_channel(client, id, rng);
      return s;
    };
    Pair p{side(true, "a", "b"), side(false, "b", "a")};
    p.run();
    EXPECT_TRUE(p.client.handshake->confirmed() && p.server.handshake->confirmed());
    expect_working_keys(*p.client.handshake->outcome(), *p.server.handshake->outcome());
    base::ByteVec packet(kOverheadBytes + 1);
    p.client.handshake->outcome()->keys->seal(PacketType::check, 0, 1, packet.data(), 1);
    return packet;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(Handshake, ExactlyOneOfTwoIsTheClient) {
  for (int i = 0; i < 50; i++) {
    std::string a = "node-" + std::to_string(i), b = "node-" + std::to_string(i + 1);
    EXPECT_NE(goes_first(a, b), goes_first(b, a));
  }
}

}  // namespace
}  // namespace tunnel
