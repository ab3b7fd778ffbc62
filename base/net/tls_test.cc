#include "base/net/tls.h"

#include <gtest/gtest.h>

#include "base/net/x509_ptr.h"
#include "base/sim/test_ca.h"

namespace base {
namespace {

const WallTime kNow{1'750'000'000};

struct TlsTest : testing::Test {
  TestAuthority ca{"our CA"}, foreign{"foreign CA"};
  TlsConfig config(const TestPem& leaf) { return {.certificate_pem = leaf.certificate_pem, .key_pem = leaf.key_pem, .ca_pem = ca.pem()}; }
  TlsConfig client = config(ca.issue({.name = "alice", .san = "DNS:alice"}));
  TlsConfig server = config(ca.issue({.name = "bob", .san = "DNS:bob,IP:10.0.0.7"}));
  WallTime now = kNow;
  std::string expected_name;
  std::unique_ptr<TlsEngine> c, s;
  Buffer c_plain, s_plain;
  Result<void> c_result, s_result;

  void build() {
    c = std::make_unique<TlsEngine>(TlsContext::make(client).value(), TlsRole::client, now, expected_name);
    s = std::make_unique<TlsEngine>(TlsContext::make(server).value(), TlsRole::server, now);
    s_result = {};
    c_result = c->start();
  }
  // Carries everything both ways until nothing is left, `step` bytes at a time.
  void carry(size_t step = SIZE_MAX) {
    auto move = [step](TlsEngine& from, TlsEngine& to, Buffer& plain, Result<void>& result) {
      bool moved = !from.output().empty();
      while (!from.output().empty()) {
        ByteView b = from.output().view();
        b = b.first(std::min(step, b.size()));
        if (result) result = to.feed(b, plain);
        from.output().consume(b.size());
      }
      return moved;
    };
    for (bool moved = true; moved;) {
      moved = move(*c, *s, s_plain, s_result);
      moved |= move(*s, *c, c_plain, c_result);
    }
  }
  void run() {
    build();
    carry();
  }
};

TEST_F(TlsTest, BothEndsKnowEachOtherAndTalk) {
  run();
  ASSERT_TRUE(c_result && s_result) << s_result.error().what;
  ASSERT_TRUE(c->handshake_done() && s->handshake_done());
  EXPECT_TRUE(c->write(as_bytes("hello")));
  carry();
  EXPECT_EQ(s_plain.text(), "hello");
  std::string big(3 << 20, 'b');
  EXPECT_TRUE(s->write(as_bytes(big)));
  carry();
  EXPECT_EQ(c_plain.text(), big);
  auto pem = [](const ByteVec& der) {
    auto x = x509_from_der(der);
    char cn[64];
    X509_NAME_get_text_by_NID(X509_get_subject_name(x.get()), NID_commonName, cn, sizeof cn);
    return std::string(cn);
  };
  EXPECT_EQ(pem(c->peer_leaf()), "bob");
  EXPECT_EQ(pem(s->peer_leaf()), "alice");
  EXPECT_EQ(s->peer_chain().size(), 1u);
  EXPECT_EQ(s->peer_chain()[0], s->peer_leaf());
}

TEST_F(TlsTest, OneByteAtATime) {
  build();
  carry(1);
  ASSERT_TRUE(c->handshake_done() && s->handshake_done());
  EXPECT_TRUE(c->write(as_bytes("slowly")));
  carry(1);
  EXPECT_EQ(s_plain.text(), "slowly");
}

TEST_F(TlsTest, AForeignCertificateIsRefusedOnBothSides) {
  TestPem mallory = foreign.issue({.name = "mallory"});
  auto keep = client;
  client.certificate_pem = mallory.certificate_pem;
  client.key_pem = mallory.key_pem;
  run();
  ASSERT_FALSE(s_result);
  EXPECT_EQ(s_result.error().code, Code::denied);
  EXPECT_NE(s_result.error().what.find("mallory"), std::string::npos) << s_result.error().what;
  EXPECT_NE(s_result.error().what.find("another CA than ours"), std::string::npos);
  ASSERT_FALSE(c_result);
  EXPECT_NE(c_result.error().what.find("the peer refused us: unknown CA"), std::string::npos) << c_result.error().what;
  EXPECT_FALSE(s->handshake_done());
  EXPECT_FALSE(s->write(as_bytes("x")));
  EXPECT_FALSE(s->export_keying_material("l", {}, 32));
  client = keep;
  server.certificate_pem = mallory.certificate_pem;
  server.key_pem = mallory.key_pem;
  run();
  ASSERT_FALSE(c_result);
  EXPECT_NE(c_result.error().what.find("another CA than ours"), std::string::npos) << c_result.error().what;
  EXPECT_FALSE(s->handshake_done());
}

TEST_F(TlsTest, DatesAreCheckedAtTheGivenTimeWithTolerance) {
  now = {1'800'000'000 + 60};
  run();
  ASSERT_FALSE(c_result);
  EXPECT_NE(c_result.error().what.find("expired (valid 2023-11-14 22:13:20Z to 2027-01-15 08:00:00Z, it is 2027-01-15 08:01:00Z); renew it at the peer"), std::string::npos) << c_result.error().what;
  client.dates.expiry_grace = server.dates.expiry_grace = std::chrono::seconds(120);
  run();
  EXPECT_TRUE(c_result && s_result && s->handshake_done());
  now = {1'700'000'000 - 60};
  run();
  ASSERT_FALSE(c_result);
  EXPECT_NE(c_result.error().what.find("not yet valid"), std::string::npos) << c_result.error().what;
  client.not_before_slack = server.not_before_slack = std::chrono::seconds(120);
  run();
  EXPECT_TRUE(c_result && s_result && s->handshake_done());
  now = {1'700'000'000 - 86400};
  client.dates.starts_by = server.dates.starts_by = [] { return WallTime{1'700'000'000 - 60}; };  // another clock that counts for the start alone
  run();
  EXPECT_TRUE(c_result && s_result && s->handshake_done());
}

TEST_F(TlsTest, TheCallbackDecidesWhomWeAdmit) {
  ByteVec seen;
  server.verify = [&](ByteView leaf) -> Result<void> {
    seen.assign(leaf.begin(), leaf.end());
    return fail(Code::denied, "alice is on the deny list");
  };
  run();
  ASSERT_FALSE(s_result);
  EXPECT_EQ(s_result.error().what, "alice is on the deny list");
  EXPECT_FALSE(c_result);
  EXPECT_FALSE(s->handshake_done());
  EXPECT_EQ(seen, x509_from_der(seen) ? der_of(x509_from_der(seen).get()) : ByteVec{1});
}

TEST_F(TlsTest, AClientWithoutCertificateIsRefusedUnlessTheServerAllowsIt) {
  client.certificate_pem = client.key_pem = "";
  run();
  ASSERT_FALSE(s_result);
  EXPECT_FALSE(c_result);
  server.require_client_certificate = false;
  run();
  EXPECT_TRUE(c_result && s_result && s->handshake_done());
  EXPECT_TRUE(s->peer_leaf().empty());
}

TEST_F(TlsTest, AnExpectedNameMustBeInTheCertificate) {
  for (const char* good : {"bob", "10.0.0.7"}) {
    expected_name = good;
    run();
    EXPECT_TRUE(c_result && c->handshake_done()) << good;
  }
  for (const char* bad : {"carol", "10.0.0.8"}) {
    expected_name = bad;
    run();
    EXPECT_FALSE(c_result) << bad;
  }
}

TEST_F(TlsTest, TheExporterAgreesAndDependsOnItsInputs) {
  run();
  auto get = [](TlsEngine& e, const char* label, const char* context) { return e.export_keying_material(label, as_bytes(context), 32).value(); };
  EXPECT_EQ(get(*c, "l", "x"), get(*s, "l", "x"));
  EXPECT_NE(get(*c, "l", "x"), get(*c, "l", "y"));
  EXPECT_NE(get(*c, "l", "x"), get(*c, "m", "x"));
  ByteVec before = get(*c, "l", "x");
  run();
  EXPECT_NE(get(*c, "l", "x"), before);
}

TEST_F(TlsTest, AlpnAgreesOrRefuses) {
  client.alpn = {"h2", "http/1.1"};
  server.alpn = {"http/1.1", "h2"};
  run();
  EXPECT_EQ(c->alpn(), "http/1.1");
  EXPECT_EQ(s->alpn(), "http/1.1");
  server.alpn = {"edgemesh/1"};
  run();
  EXPECT_FALSE(s_result);
}

TEST_F(TlsTest, AnEndIsAnnounced) {
  run();
  EXPECT_FALSE(s->peer_closed());
  c->close();
  carry();
  EXPECT_TRUE(s->peer_closed());
  EXPECT_TRUE(s->write(as_bytes("still")));  // half-closed
  carry();
  EXPECT_EQ(c_plain.text(), "still");
}

TEST_F(TlsTest, GarbageAndTamperedRecordsFailCleanly) {
  build();
  Buffer plain;
  EXPECT_FALSE(s->feed(as_bytes("GET / HTTP/1.1\r\n\r\n"), plain));
  EXPECT_FALSE(s->feed(as_bytes("more"), plain));
  run();
  ASSERT_TRUE(c->write(as_bytes("hello")));
  ByteVec wire(c->output().view().begin(), c->output().view().end());
  wire.back() ^= 1;
  EXPECT_FALSE(s->feed(wire, plain));
  EXPECT_TRUE(plain.empty());
}

TEST_F(TlsTest, BadCredentialsAreNamed) {
  TlsConfig bad = client;
  bad.key_pem = server.key_pem;
  auto r = TlsContext::make(bad);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find("does not belong to the certificate"), std::string::npos);
  bad = client;
  bad.ca_pem = "";
  EXPECT_FALSE(TlsContext::make(bad));
  bad = client;
  bad.key_pem = "nonsense";
  EXPECT_FALSE(TlsContext::make(bad));
}

}  // namespace
}  // namespace base
