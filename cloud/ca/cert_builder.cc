#include "cloud/ca/cert_builder.h"

#include <openssl/ec_key.h>
#include <openssl/nid.h>

#include "base/core/assert.h"

namespace cloud {
namespace {

using base::ByteView;
using base::Code;

auto crypto_failed(const char* what) { return base::fail(Code::io, "{}: {}", what, base::boringssl_error()); }

struct Part {
  const char* field;
  std::string text;
};

bool set_name(X509_NAME* name, const std::vector<Part>& parts) {
  for (auto& p : parts)
    if (!X509_NAME_add_entry_by_txt(name, p.field, MBSTRING_UTF8, reinterpret_cast<const uint8_t*>(p.text.data()), int(p.text.size()), -1, 0))
      return false;
  return true;
}

// RFC 5280 §4.1.2.2: positive and unique; 127 random bits.
bool set_serial(X509* x, base::Rng& rng) {
  uint8_t b[16];
  rng.fill(b);
  b[0] = uint8_t((b[0] & 0x7f) | 0x40);
  bssl::UniquePtr<BIGNUM> n(BN_bin2bn(b, sizeof b, nullptr));
  return n && BN_to_ASN1_INTEGER(n.get(), X509_get_serialNumber(x));
}

bool set_validity(X509* x, Validity v) {
  return ASN1_TIME_set(X509_getm_notBefore(x), time_t(v.from.unix_seconds)) && ASN1_TIME_set(X509_getm_notAfter(x), time_t(v.to.unix_seconds));
}

bool add_text_extension(X509* x, X509* issuer, int nid, const char* value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, x, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> e(X509V3_EXT_nconf_nid(nullptr, &ctx, nid, value));
  return e && X509_add_ext(x, e.get(), -1);
}

// Text values come from this program only, never from input: the textual form would allow injection.
bool add_ca_extensions(X509* x, X509* issuer, const char* constraints) {
  return add_text_extension(x, issuer, NID_basic_constraints, constraints) &&
         add_text_extension(x, issuer, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature") &&
         add_text_extension(x, issuer, NID_subject_key_identifier, "hash") &&
         add_text_extension(x, issuer, NID_authority_key_identifier, "keyid");
}

bool push_uri(GENERAL_NAMES* names, const std::string& uri) {
  bssl::UniquePtr<GENERAL_NAME> n(GENERAL_NAME_new());
  ASN1_IA5STRING* s = ASN1_IA5STRING_new();
  if (!ASN1_STRING_set(s, uri.data(), int(uri.size()))) return false;
  GENERAL_NAME_set0_value(n.get(), GEN_URI, s);
  return sk_GENERAL_NAME_push(names, n.release()) > 0;
}

bool push_ip(GENERAL_NAMES* names, const base::IpAddr& a) {
  bssl::UniquePtr<GENERAL_NAME> n(GENERAL_NAME_new());
  ASN1_OCTET_STRING* s = ASN1_OCTET_STRING_new();
  if (!ASN1_STRING_set(s, a.bytes().data(), int(a.bytes().size()))) return false;
  GENERAL_NAME_set0_value(n.get(), GEN_IPADD, s);
  return sk_GENERAL_NAME_push(names, n.release()) > 0;
}

bool add_names(X509* x, const LeafSpec& spec) {
  bssl::UniquePtr<GENERAL_NAMES> names(GENERAL_NAMES_new());
  if (!push_uri(names.get(), base::node_uri(spec.trust_domain, spec.name))) return false;
  for (auto& ip : spec.overlay_ips)
    if (!push_ip(names.get(), ip)) return false;
  // RFC 5280 §4.2.1.6: critical when the subject is empty, which it is (node names may be longer than a common name).
  return X509_add1_ext_i2d(x, NID_subject_alt_name, names.get(), 1, 0);
}

bool add_authority(X509* x, const LeafSpec& spec) {
  base::ByteVec der = base::encode_node_authority(spec.pod_cidrs, spec.roles);
  bssl::UniquePtr<ASN1_OBJECT> oid(OBJ_txt2obj(base::kNodeAuthorityOid, 1));
  bssl::UniquePtr<ASN1_OCTET_STRING> data(ASN1_OCTET_STRING_new());
  if (!oid || !ASN1_STRING_set(data.get(), der.data(), int(der.size()))) return false;
  bssl::UniquePtr<X509_EXTENSION> e(X509_EXTENSION_create_by_OBJ(nullptr, oid.get(), 0, data.get()));
  return e && X509_add_ext(x, e.get(), -1);
}

CertPtr start(EVP_PKEY* key, Validity v, base::Rng& rng) {
  CertPtr x(X509_new());
  bool ok = x && X509_set_version(x.get(), X509_VERSION_3) && set_serial(x.get(), rng) && set_validity(x.get(), v) && X509_set_pubkey(x.get(), key);
  if (!ok) x.reset();
  return x;
}

}  // namespace

base::Result<KeyPtr> new_p256_key() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  KeyPtr key(EVP_PKEY_new());
  if (!ec || !key || !EC_KEY_generate_key(ec.get()) || !EVP_PKEY_set1_EC_KEY(key.get(), ec.get())) return crypto_failed("new key");
  return key;
}

base::Result<CertPtr> build_root(EVP_PKEY* key, const std::string& trust_domain, Validity v, base::Rng& rng) {
  CertPtr x = start(key, v, rng);
  bool ok = x && set_name(X509_get_subject_name(x.get()), {{"O", trust_domain.substr(0, 64)}, {"OU", "root"}, {"CN", "edgemesh root"}}) &&
            X509_set_issuer_name(x.get(), X509_get_subject_name(x.get())) &&
            add_ca_extensions(x.get(), x.get(), "critical,CA:TRUE,pathlen:1") && X509_sign(x.get(), key, EVP_sha256());
  if (!ok) return crypto_failed("root certificate");
  return x;
}

base::Result<CertPtr> build_intermediate(EVP_PKEY* key, const Issuer& by, const std::string& trust_domain, const char* unit, Validity v, base::Rng& rng) {
  CertPtr x = start(key, v, rng);
  bool is_node = std::string_view(unit) == base::kNodeCaUnit;
  bool ok = x &&
            set_name(X509_get_subject_name(x.get()), {{"O", trust_domain.substr(0, 64)}, {"OU", unit}, {"CN", fmt::format("edgemesh {}", unit)}}) &&
            X509_set_issuer_name(x.get(), X509_get_subject_name(by.cert)) && add_ca_extensions(x.get(), by.cert, "critical,CA:TRUE,pathlen:0") &&
            add_text_extension(x.get(), by.cert, NID_ext_key_usage, is_node ? "serverAuth,clientAuth" : "clientAuth") &&
            X509_sign(x.get(), by.key, EVP_sha256());
  if (!ok) return crypto_failed("intermediate certificate");
  return x;
}

base::Result<CertPtr> build_node_leaf(EVP_PKEY* key, const Issuer& by, const LeafSpec& spec, Validity v, base::Rng& rng) {
  CertPtr x = start(key, v, rng);
  bool ok = x && X509_set_issuer_name(x.get(), X509_get_subject_name(by.cert)) && add_names(x.get(), spec) && add_authority(x.get(), spec) &&
            add_text_extension(x.get(), by.cert, NID_basic_constraints, "critical,CA:FALSE") &&
            add_text_extension(x.get(), by.cert, NID_key_usage, "critical,digitalSignature") &&
            add_text_extension(x.get(), by.cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
            add_text_extension(x.get(), by.cert, NID_subject_key_identifier, "hash") &&
            add_text_extension(x.get(), by.cert, NID_authority_key_identifier, "keyid") && X509_sign(x.get(), by.key, EVP_sha256());
  if (!ok) return crypto_failed("node certificate");
  return x;
}

std::string pem_of(X509* x) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  EM_ASSERT(PEM_write_bio_X509(bio.get(), x));
  const uint8_t* p = nullptr;
  size_t n = 0;
  BIO_mem_contents(bio.get(), &p, &n);
  return std::string(base::as_text({p, n}));
}

base::Result<std::string> pem_of(EVP_PKEY* key) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr)) return crypto_failed("write key");
  const uint8_t* p = nullptr;
  size_t n = 0;
  BIO_mem_contents(bio.get(), &p, &n);
  return std::string(base::as_text({p, n}));
}

base::Result<base::ByteVec> sign_sha256(EVP_PKEY* key, std::string_view message) {
  bssl::ScopedEVP_MD_CTX ctx;
  base::ByteVec sig(128);
  size_t n = sig.size();
  auto* p = reinterpret_cast<const uint8_t*>(message.data());
  if (!EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key) || !EVP_DigestSign(ctx.get(), sig.data(), &n, p, message.size()))
    return crypto_failed("sign");
  sig.resize(n);
  return sig;
}

}  // namespace cloud
