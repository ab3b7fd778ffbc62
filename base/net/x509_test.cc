#include "base/net/x509.h"

#include <gtest/gtest.h>

#include "base/sim/test_ca.h"

namespace base {
namespace {

const TestAuthority& authority() {
  static TestAuthority a("CA of tests");
  return a;
}

TEST(X509, SaysWhatIsInTheCertificate) {
  auto leaf = authority().issue({.name = "Knoten Süd",
                                 .san = "URI:spiffe://t/node/a,DNS:a.example,DNS:b.example,IP:10.0.0.1,IP:fd00::1,email:x@y.z",
                                 .custom_oid = "1.3.6.1.4.1.32473.9.9",
                                 .custom_value = std::string("\x04\x01\x00", 3)});
  auto c = parse_certificate_pem(leaf.certificate_pem, "node.crt");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->common_name, "Knoten Süd");
  EXPECT_EQ(c->uris, std::vector<std::string>{"spiffe://t/node/a"});
  EXPECT_EQ(c->dns_names, (std::vector<std::string>{"a.example", "b.example"}));
  EXPECT_EQ(c->ips, (std::vector<IpAddr>{*IpAddr::parse("10.0.0.1"), *IpAddr::parse("fd00::1")}));
  EXPECT_EQ(c->not_before, WallTime{1'700'000'000});
  EXPECT_EQ(c->not_after, WallTime{1'800'000'000});
  EXPECT_EQ(c->serial.size(), 4u);
  EXPECT_EQ(c->serial[0], '1');
  EXPECT_FALSE(c->is_ca);
  ASSERT_EQ(c->other_extensions.size(), 1u);
  EXPECT_EQ(c->other_extensions.at("1.3.6.1.4.1.32473.9.9"), (ByteVec{4, 1, 0}));
}

TEST(X509, AnAuthorityIsOneAndKeysDiffer) {
  auto ca = parse_certificate_pem(authority().pem(), "ca.crt");
  ASSERT_TRUE(ca);
  EXPECT_TRUE(ca->is_ca);
  EXPECT_TRUE(ca->dns_names.empty() && ca->uris.empty() && ca->ips.empty());
  auto a = parse_certificate_pem(authority().issue({}).certificate_pem, "a"), b = parse_certificate_pem(authority().issue({}).certificate_pem, "b");
  EXPECT_NE(a->spki_sha256, b->spki_sha256);
  EXPECT_NE(a->serial, b->serial);
}

TEST(X509, MalformedNamesAndBytesAreRefused) {
  auto bad = authority().issue({.san = "", .custom_oid = "2.5.29.17", .custom_value = "no names"});
  auto c = parse_certificate_pem(bad.certificate_pem, "node.crt");
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().what, "node.crt: certificate: its subject alternative names are malformed or there twice");
  EXPECT_FALSE(parse_certificate({}));
  EXPECT_FALSE(parse_certificate(as_bytes("0\x03garbage")));
  auto pem = parse_certificate_pem("nothing here", "node.crt");
  ASSERT_FALSE(pem);
  EXPECT_EQ(pem.error().what.substr(0, 8), "node.crt");
}

}  // namespace
}  // namespace base
