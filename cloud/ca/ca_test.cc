#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/core/file.h"
#include "base/net/x509_ptr.h"
#include "cloud/ca/address_plan.h"
#include "cloud/ca/authority.h"
#include "cloud/ca/ca_cli.h"
#include "cloud/ca/cert_builder.h"

namespace cloud {
namespace {

constexpr base::WallTime kNow{1'770'000'000};
constexpr int64_t kDay = 86400;

struct Folder {
  Folder() {
    std::string t = (std::filesystem::temp_directory_path() / "em-ca-XXXXXX").string();
    path = ::mkdtemp(t.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

class CaTest : public ::testing::Test {
 protected:
  CaTest() { EXPECT_TRUE(ca_init({dir_, "mesh.test", ""}, rng_, kNow)); }
  base::Result<Issued> issue(const std::string& node, IssueRequest r = {}) {
    r.node = node;
    return CertificateAuthority(dir_, rng_).issue(r, out(node), kNow);
  }
  std::string out(const std::string& node) const { return tmp_.path + "/" + node; }
  std::vector<base::ByteVec> certs(const std::string& path) const {
    return base::certificates_from_pem(*base::read_file(path, 1 << 20), path).value();
  }
  base::Result<base::NodeIdentity> check(const std::string& node, base::WallTime at = kNow) const {
    return base::check_node_files(out(node) + "/node.crt", out(node) + "/node.key", out(node) + "/ca.crt", at);
  }
  base::Result<base::DenyList> denied(const std::string& text) const { return base::DenyList::verify(text, certs(dir_ + "/ca.crt"), "mesh.test"); }
  Folder tmp_;
  std::string dir_ = tmp_.path + "/ca";
  base::SystemRng rng_;
};

std::string error_of(const auto& r) { return r ? "" : r.error().what; }
bool has(const std::string& s, const std::string& part) { return s.find(part) != std::string::npos; }

TEST_F(CaTest, IssuedCertificateVerifiesAndCarriesItsAuthority) {
  IssueRequest r;
  r.overlay_ips = {*base::IpAddr::parse("100.64.1.2")};
  r.pod_cidrs = {*base::Cidr::parse("10.5.0.0/24"), *base::Cidr::parse("fd12::/64")};
  r.roles = {"relay"};
  ASSERT_TRUE(issue("edge-1", r));
  auto id = check("edge-1");
  ASSERT_TRUE(id) << error_of(id);
  EXPECT_EQ(id->name, "edge-1");
  EXPECT_EQ(id->trust_domain, "mesh.test");
  EXPECT_EQ(id->overlay_ips, r.overlay_ips);
  EXPECT_EQ(id->pod_cidrs, r.pod_cidrs);
  EXPECT_TRUE(id->has_role("relay"));
  EXPECT_TRUE(id->owns(*base::IpAddr::parse("10.5.0.9")));
  EXPECT_FALSE(id->owns(*base::IpAddr::parse("10.5.1.9")));
  EXPECT_EQ(id->not_after.unix_seconds, kNow.unix_seconds + 90 * kDay);
}

TEST_F(CaTest, KeysAreReadableByTheOwnerOnly) {
  ASSERT_TRUE(issue("edge-1"));
  for (auto& p : {dir_ + "/ca.key", dir_ + "/node-ca.key", dir_ + "/api-ca.key", out("edge-1") + "/node.key"}) {
    struct stat st;
    ASSERT_EQ(::stat(p.c_str(), &st), 0) << p;
    EXPECT_EQ(st.st_mode & 0777, 0600u) << p;
  }
}

TEST_F(CaTest, ChosenAddressesAreStableUsableAndUnique) {
  std::set<base::IpAddr> seen;
  for (int i = 0; i < 20; i++) {
    auto r = issue("n" + std::to_string(i));
    ASSERT_TRUE(r) << error_of(r);
    ASSERT_EQ(r->identity.overlay_ips.size(), 2u);
    for (auto& ip : r->identity.overlay_ips) {
      EXPECT_TRUE(seen.insert(ip).second);
      EXPECT_TRUE(check_overlay_address(ip, default_overlay4(), overlay6_of("mesh.test"))) << ip.str();
    }
  }
  auto none = [](const base::IpAddr&) { return false; };
  auto first = pick_overlay4(default_overlay4(), "edge", none).value();
  EXPECT_EQ(first, pick_overlay4(default_overlay4(), "edge", none).value());
  EXPECT_NE(first, pick_overlay4(default_overlay4(), "edge", [&](auto& a) { return a == first; }).value());
}

TEST_F(CaTest, ReservedPartsOfTheRangeAreRefused) {
  for (auto* ip : {"100.64.0.7", "100.100.2.136", "100.65.0.0", "100.65.1.255", "10.0.0.1", "fd00::1"}) {
    IssueRequest r;
    r.overlay_ips = {*base::IpAddr::parse(ip)};
    EXPECT_TRUE(has(error_of(issue("edge-1", r)), ip)) << ip;
  }
}

TEST_F(CaTest, OneNameAndOneAddressAreGivenOnce) {
  IssueRequest r;
  r.overlay_ips = {*base::IpAddr::parse("100.64.1.2")};
  ASSERT_TRUE(issue("edge-1", r));
  EXPECT_TRUE(has(error_of(issue("edge-1", r)), "--renew"));
  auto e = error_of(issue("edge-2", r));
  EXPECT_TRUE(has(e, "100.64.1.2") && has(e, "edge-1")) << e;
  EXPECT_FALSE(std::filesystem::exists(out("edge-2") + "/node.key"));
}

TEST_F(CaTest, RenewalKeepsAddressesAndChangesTheKey) {
  auto first = issue("edge-1");
  ASSERT_TRUE(first);
  IssueRequest r;
  r.renew = true;
  auto second = issue("edge-1", r);
  ASSERT_TRUE(second) << error_of(second);
  EXPECT_EQ(first->identity.overlay_ips, second->identity.overlay_ips);
  EXPECT_NE(first->identity.spki_sha256, second->identity.spki_sha256);
  EXPECT_FALSE(issue("edge-2", r));
}

TEST_F(CaTest, OverlappingPodRangesWarnButAreIssued) {
  IssueRequest r;
  r.pod_cidrs = {*base::Cidr::parse("10.5.0.0/16")};
  ASSERT_TRUE(issue("edge-1", r)->warnings.empty());
  r.pod_cidrs = {*base::Cidr::parse("10.5.3.0/24")};
  auto second = issue("edge-2", r);
  ASSERT_EQ(second->warnings.size(), 1u);
  EXPECT_TRUE(has(second->warnings[0], "edge-1"));
  r.pod_cidrs = {*base::Cidr::parse("100.70.0.0/16")};
  EXPECT_FALSE(issue("edge-3", r));
}

TEST_F(CaTest, ExpiredNamesFileDatesAndMend) {
  ASSERT_TRUE(issue("edge-1"));
  auto e = error_of(check("edge-1", {kNow.unix_seconds + 91 * kDay}));
  EXPECT_TRUE(has(e, out("edge-1") + "/node.crt") && has(e, "expired") && has(e, "--renew")) << e;
}

TEST_F(CaTest, ClockBehindByLessThanADayIsForgiven) {
  ASSERT_TRUE(issue("edge-1"));
  EXPECT_TRUE(check("edge-1", {kNow.unix_seconds - kDay + 600}));
  EXPECT_TRUE(has(error_of(check("edge-1", {kNow.unix_seconds - 2 * kDay})), "clock"));
}

TEST_F(CaTest, ForeignCaIsRefusedWithMend) {
  ASSERT_TRUE(issue("edge-1"));
  ASSERT_TRUE(ca_init({tmp_.path + "/other", "mesh.test", ""}, rng_, kNow));
  auto r = base::check_node_files(out("edge-1") + "/node.crt", out("edge-1") + "/node.key", tmp_.path + "/other/ca.crt", kNow);
  EXPECT_TRUE(has(error_of(r), "ca.crt")) << error_of(r);
}

TEST_F(CaTest, ForeignTrustDomainIsRefused) {
  ASSERT_TRUE(issue("edge-1"));
  auto leaf = certs(out("edge-1") + "/node.crt")[0];
  auto e = error_of(base::parse_node_identity(leaf, "mesh.other"));
  EXPECT_TRUE(has(e, "mesh.test") && has(e, "mesh.other")) << e;
}

TEST_F(CaTest, KeyOfAnotherCertificateIsRefused) {
  ASSERT_TRUE(issue("edge-1"));
  ASSERT_TRUE(issue("edge-2"));
  auto r = base::check_node_files(out("edge-1") + "/node.crt", out("edge-2") + "/node.key", out("edge-1") + "/ca.crt", kNow);
  EXPECT_TRUE(has(error_of(r), "edge-2/node.key")) << error_of(r);
}

struct TestSigner {
  CertPtr cert;
  KeyPtr key;
};

TestSigner signer_at(const std::string& stem) {
  auto der = base::certificates_from_pem(*base::read_file(stem + ".crt", 1 << 20), stem).value();
  return {base::x509_from_der(der[0]), base::private_key_from_pem(*base::read_file(stem + ".key", 1 << 20))};
}

base::ByteVec leaf_by(const TestSigner& s, const LeafSpec& spec, base::Rng& rng) {
  auto key = new_p256_key().value();
  Validity v{kNow, {kNow.unix_seconds + kDay}};
  return base::der_of(build_node_leaf(key.get(), {s.cert.get(), s.key.get()}, spec, v, rng)->get());
}

TEST_F(CaTest, ApiIntermediateCannotMakeANode) {
  auto api = signer_at(dir_ + "/api-ca");
  auto leaf = leaf_by(api, {"mesh.test", "edge-1", {}, {}, {}}, rng_);
  auto r = base::verify_node_chain({leaf, base::der_of(api.cert.get())}, certs(dir_ + "/ca.crt"), kNow);
  EXPECT_TRUE(has(error_of(r), "mesh-node")) << error_of(r);
}

TEST_F(CaTest, NodeKeyCannotIssue) {
  ASSERT_TRUE(issue("edge-1"));
  auto chain = certs(out("edge-1") + "/node.crt");
  TestSigner node{base::x509_from_der(chain[0]), base::private_key_from_pem(*base::read_file(out("edge-1") + "/node.key", 1 << 20))};
  auto leaf = leaf_by(node, {"mesh.test", "edge-2", {}, {}, {}}, rng_);
  EXPECT_FALSE(base::verify_node_chain({leaf, chain[0], chain[1]}, certs(dir_ + "/ca.crt"), kNow));
}

TEST_F(CaTest, SecondUriNameIsRefused) {
  auto node_ca = signer_at(dir_ + "/node-ca");
  auto key = new_p256_key().value();
  auto cert = build_node_leaf(key.get(), {node_ca.cert.get(), node_ca.key.get()}, {"mesh.test", "edge-1", {}, {}, {}},
                              {kNow, {kNow.unix_seconds + kDay}}, rng_).value();
  bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert.get(), NID_subject_alt_name, nullptr, nullptr)));
  GENERAL_NAME* second = GENERAL_NAME_dup(sk_GENERAL_NAME_value(names.get(), 0));
  sk_GENERAL_NAME_push(names.get(), second);
  X509_add1_ext_i2d(cert.get(), NID_subject_alt_name, names.get(), 1, X509V3_ADD_REPLACE);
  X509_sign(cert.get(), node_ca.key.get(), EVP_sha256());
  auto e = error_of(base::parse_node_identity(base::der_of(cert.get()), "mesh.test"));
  EXPECT_TRUE(has(e, "2 URI names")) << e;
}

TEST_F(CaTest, DenyByNameCoversNameAndEveryKey) {
  auto first = issue("edge-1");
  IssueRequest renew;
  renew.renew = true;
  auto second = issue("edge-1", renew);
  auto other = issue("edge-2");
  ASSERT_TRUE(first && second && other);
  ASSERT_TRUE(ca_deny({dir_, "edge-1"}, rng_, kNow));
  auto list = denied(*base::read_file(dir_ + "/deny.json", 1 << 20));
  ASSERT_TRUE(list) << error_of(list);
  EXPECT_EQ(list->number(), 1u);
  EXPECT_TRUE(list->keys().contains(first->identity.spki_sha256));
  EXPECT_TRUE(list->is_denied(first->identity) && list->is_denied(second->identity));
  EXPECT_FALSE(list->is_denied(other->identity));
  EXPECT_TRUE(has(error_of(issue("edge-1", renew)), "deny list"));
}

TEST_F(CaTest, DenyByCertificateLeavesTheNameRenewable) {
  auto first = issue("edge-1");
  ASSERT_TRUE(ca_deny({dir_, out("edge-1") + "/node.crt"}, rng_, kNow));
  IssueRequest renew;
  renew.renew = true;
  auto second = issue("edge-1", renew);
  ASSERT_TRUE(second) << error_of(second);
  auto list = denied(*base::read_file(dir_ + "/deny.json", 1 << 20));
  EXPECT_TRUE(list->is_denied(first->identity));
  EXPECT_FALSE(list->is_denied(second->identity));
}

TEST_F(CaTest, DenyListOnlyMovesForward) {
  ASSERT_TRUE(issue("edge-1") && issue("edge-2"));
  ASSERT_TRUE(ca_deny({dir_, "edge-1"}, rng_, kNow));
  auto one = denied(*base::read_file(dir_ + "/deny.json", 1 << 20)).value();
  ASSERT_TRUE(ca_deny({dir_, "edge-2"}, rng_, kNow));
  auto two = denied(*base::read_file(dir_ + "/deny.json", 1 << 20)).value();
  base::DenyList held;
  EXPECT_TRUE(held.replace_with(two).value());
  EXPECT_FALSE(held.replace_with(two).value());
  EXPECT_FALSE(held.replace_with(one));
  EXPECT_EQ(held.number(), 2u);
  EXPECT_TRUE(held.is_name_denied("edge-1") && held.is_name_denied("edge-2"));
}

TEST_F(CaTest, TamperedDenyListIsRefused) {
  ASSERT_TRUE(issue("edge-1"));
  ASSERT_TRUE(ca_deny({dir_, "edge-1"}, rng_, kNow));
  std::string text = *base::read_file(dir_ + "/deny.json", 1 << 20);
  auto at = text.find("edge-1");
  std::string forged = text;
  forged[at + 5] = '2';
  EXPECT_EQ(denied(forged).error().code, base::Code::denied);
  EXPECT_FALSE(denied(text.substr(0, text.size() / 2)));
  EXPECT_FALSE(base::DenyList::verify(text, certs(dir_ + "/ca.crt"), "mesh.other"));
  EXPECT_FALSE(base::DenyList::verify(text, certs(dir_ + "/node-ca.crt"), "mesh.test"));
  ASSERT_TRUE(base::write_file_atomic(dir_ + "/deny.json", forged, 0644));
  EXPECT_TRUE(has(error_of(base::DenyList::load(dir_ + "/deny.json", certs(dir_ + "/ca.crt"), "mesh.test")), "deny.json"));
}

TEST_F(CaTest, FoldersThatAreNotThereOrNotACaSaySo) {
  EXPECT_TRUE(has(error_of(ca_issue({.dir = tmp_.path + "/none", .node = "edge-1"}, rng_, kNow)), "ca init"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = tmp_.path, .node = "edge-1"}, rng_, kNow)), "ca init"));
  EXPECT_TRUE(has(error_of(ca_init({dir_, "mesh.test", ""}, rng_, kNow)), "already"));
  ASSERT_TRUE(base::write_file_atomic(tmp_.path + "/file", "x", 0600));
  EXPECT_TRUE(has(error_of(ca_init({tmp_.path + "/file", "mesh.test", ""}, rng_, kNow)), "/file"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "edge-1", .out = tmp_.path + "/file/x"}, rng_, kNow)), "/file/x"));
  EXPECT_TRUE(issue("edge-1")) << "a refused output folder must not have used the name up";
}

TEST_F(CaTest, BadOptionsNameThemselves) {
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "Edge_1"}, rng_, kNow)), "Edge_1"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "e", .overlay = {"100.64.1"}}, rng_, kNow)), "--overlay"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "e", .pod_cidrs = {"10.0.0.0/33"}}, rng_, kNow)), "--pod-cidr"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "e", .roles = {"boss"}}, rng_, kNow)), "boss"));
  EXPECT_TRUE(has(error_of(ca_issue({.dir = dir_, .node = "e", .days = 0}, rng_, kNow)), "days"));
  EXPECT_TRUE(has(error_of(ca_init({tmp_.path + "/b", "Mesh Test", ""}, rng_, kNow)), "trust domain"));
  EXPECT_TRUE(has(error_of(ca_deny({dir_, "nobody"}, rng_, kNow)), "nobody"));
}

TEST_F(CaTest, ReportIsForPeopleAndForPrograms) {
  auto text = ca_issue({.dir = dir_, .node = "edge-1", .out = out("edge-1"), .roles = {"relay"}}, rng_, kNow);
  ASSERT_TRUE(text) << error_of(text);
  EXPECT_TRUE(has(*text, "spiffe://mesh.test/node/edge-1") && has(*text, "relay")) << *text;
  auto json = ca_issue({.dir = dir_, .node = "edge-2", .out = out("edge-2"), .json = true}, rng_, kNow);
  EXPECT_TRUE(has(*json, "\"trustDomain\": \"mesh.test\"")) << *json;
}

}  // namespace
}  // namespace cloud
