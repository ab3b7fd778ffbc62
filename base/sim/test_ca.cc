#include "base/sim/test_ca.h"

#include <openssl/ec_key.h>
#include <openssl/nid.h>

#include "base/core/assert.h"
#include "base/net/x509_ptr.h"

namespace base {
namespace {

using Key = bssl::UniquePtr<EVP_PKEY>;
using Cert = bssl::UniquePtr<X509>;

constexpr WallTime kAuthorityFrom{1'500'000'000}, kAuthorityTo{2'500'000'000};

Key new_key() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  Key k(EVP_PKEY_new());
  EM_ASSERT(EC_KEY_generate_key(ec.get()) && EVP_PKEY_set1_EC_KEY(k.get(), ec.get()));
  return k;
}

std::string text_of(BIO* bio) {
  const uint8_t* p = nullptr;
  size_t n = 0;
  EM_ASSERT(BIO_mem_contents(bio, &p, &n));
  return std::string(as_text({p, n}));
}

std::string pem_of(X509* x) {
  bssl::UniquePtr<BIO> b(BIO_new(BIO_s_mem()));
  EM_ASSERT(PEM_write_bio_X509(b.get(), x));
  return text_of(b.get());
}

std::string pem_of(EVP_PKEY* k) {
  bssl::UniquePtr<BIO> b(BIO_new(BIO_s_mem()));
  EM_ASSERT(PEM_write_bio_PKCS8PrivateKey(b.get(), k, nullptr, nullptr, 0, nullptr, nullptr));
  return text_of(b.get());
}

Cert start(EVP_PKEY* key, const char* field, const std::string& subject, WallTime from, WallTime to) {
  static long serial = 0x1000;
  Cert x(X509_new());
  EM_ASSERT(X509_set_version(x.get(), X509_VERSION_3) && ASN1_INTEGER_set(X509_get_serialNumber(x.get()), ++serial));
  EM_ASSERT(ASN1_TIME_set(X509_getm_notBefore(x.get()), time_t(from.unix_seconds)));
  EM_ASSERT(ASN1_TIME_set(X509_getm_notAfter(x.get()), time_t(to.unix_seconds)) && X509_set_pubkey(x.get(), key));
  auto* text = reinterpret_cast<const uint8_t*>(subject.data());
  EM_ASSERT(subject.empty() || X509_NAME_add_entry_by_txt(X509_get_subject_name(x.get()), field, MBSTRING_UTF8, text, int(subject.size()), -1, 0));
  return x;
}

void extend(X509* x, int nid, const std::string& value) {
  X509V3_CTX v3;
  X509V3_set_ctx(&v3, x, x, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> e(X509V3_EXT_nconf_nid(nullptr, &v3, nid, value.c_str()));
  EM_ASSERT(e && X509_add_ext(x, e.get(), -1));
}

void extend_raw(X509* x, const std::string& oid, const std::string& value) {
  bssl::UniquePtr<ASN1_OBJECT> object(OBJ_txt2obj(oid.c_str(), 1));
  bssl::UniquePtr<ASN1_OCTET_STRING> bytes(ASN1_OCTET_STRING_new());
  EM_ASSERT(object && ASN1_STRING_set(bytes.get(), value.data(), int(value.size())));
  bssl::UniquePtr<X509_EXTENSION> e(X509_EXTENSION_create_by_OBJ(nullptr, object.get(), 0, bytes.get()));
  EM_ASSERT(e && X509_add_ext(x, e.get(), -1));
}

void finish(X509* x, X509* issuer, EVP_PKEY* issuer_key) {
  EM_ASSERT(X509_set_issuer_name(x, X509_get_subject_name(issuer)) && X509_sign(x, issuer_key, EVP_sha256()) > 0);
}

}  // namespace

struct TestAuthority::Impl {
  Key key = new_key();
  Cert certificate;
};

TestAuthority::TestAuthority(std::unique_ptr<Impl> i) : impl_(std::move(i)) {}
TestAuthority::TestAuthority(TestAuthority&&) noexcept = default;
TestAuthority::~TestAuthority() = default;

TestAuthority::TestAuthority(const std::string& name) : impl_(std::make_unique<Impl>()) {
  impl_->certificate = start(impl_->key.get(), "CN", name, kAuthorityFrom, kAuthorityTo);
  X509* x = impl_->certificate.get();
  extend(x, NID_basic_constraints, "critical,CA:TRUE");
  finish(x, x, impl_->key.get());
}

TestAuthority TestAuthority::intermediate(const std::string& unit) const {
  auto i = std::make_unique<Impl>();
  i->certificate = start(i->key.get(), "OU", unit, kAuthorityFrom, kAuthorityTo);
  extend(i->certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  finish(i->certificate.get(), impl_->certificate.get(), impl_->key.get());
  return TestAuthority(std::move(i));
}

std::string TestAuthority::pem() const { return pem_of(impl_->certificate.get()); }

TestPem TestAuthority::issue(const TestLeaf& s) const {
  Key key = new_key();
  Cert x = start(key.get(), "CN", s.name, s.not_before, s.not_after);
  extend(x.get(), NID_basic_constraints, "critical,CA:FALSE");
  if (!s.san.empty()) extend(x.get(), NID_subject_alt_name, s.san);
  if (!s.custom_oid.empty()) extend_raw(x.get(), s.custom_oid, s.custom_value);
  finish(x.get(), impl_->certificate.get(), impl_->key.get());
  return {pem_of(x.get()), pem_of(key.get())};
}

ByteVec TestAuthority::sign(std::string_view text) const {
  bssl::ScopedEVP_MD_CTX ctx;
  auto* p = reinterpret_cast<const uint8_t*>(text.data());
  ByteVec out(EVP_PKEY_size(impl_->key.get()));
  size_t n = out.size();
  EM_ASSERT(EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, impl_->key.get()));
  EM_ASSERT(EVP_DigestSign(ctx.get(), out.data(), &n, p, text.size()));
  out.resize(n);
  return out;
}

TestCa::TestCa(std::string trust_domain) : trust_domain_(std::move(trust_domain)), root_("root"), node_ca_(root_.intermediate(kNodeCaUnit)) {}

TestNodePem TestCa::node(const std::string& name, const Spec& s) const {
  std::string san = "critical,URI:" + node_uri(trust_domain_, name);
  for (auto& ip : s.overlay_ips) san += ",IP:" + ip.str();
  ByteVec authority = encode_node_authority(s.pod_cidrs, s.roles);
  TestPem leaf = node_ca_.issue({.name = "", .san = san, .not_before = s.from, .not_after = s.to,
                                 .custom_oid = kNodeAuthorityOid, .custom_value = std::string(as_text(authority))});
  return {leaf.certificate_pem + node_ca_.pem(), leaf.key_pem, ca_pem()};
}

}  // namespace base
