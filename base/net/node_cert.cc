#include "base/net/node_cert.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/core/file.h"
#include "base/net/x509_ptr.h"

namespace base {
namespace {

constexpr size_t kPemBytesMax = 256 << 10;
constexpr size_t kCertificatesMax = 16;
constexpr int64_t kNotBeforeSlackSeconds = 24 * 3600;  // a node whose clock is behind must still meet its peers

bool is_alnum_lower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

Result<std::vector<std::string>> uri_and_ips(X509* x, NodeIdentity& id) {
  std::vector<std::string> uris;
  bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); i++) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type == GEN_URI) {
      const ASN1_STRING* s = n->d.uniformResourceIdentifier;
      uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), size_t(ASN1_STRING_length(s)));
    } else if (n->type == GEN_IPADD) {
      const ASN1_STRING* s = n->d.iPAddress;
      int len = ASN1_STRING_length(s);
      if (len != 4 && len != 16) return fail(Code::invalid, "certificate has an IP name of {} bytes", len);
      const uint8_t* p = ASN1_STRING_get0_data(s);
      id.overlay_ips.push_back(len == 4 ? IpAddr::v4(p) : IpAddr::v6(p));
    }
  }
  if (id.overlay_ips.size() > kOverlayIpsPerNodeMax)
    return fail(Code::limit, "certificate has {} overlay addresses, at most {} are allowed", id.overlay_ips.size(), kOverlayIpsPerNodeMax);
  return uris;
}

// spiffe://<trust domain>/node/<name>, exactly.
Result<void> split_node_uri(std::string_view uri, NodeIdentity& id) {
  constexpr std::string_view kScheme = "spiffe://", kPath = "/node/";
  if (!uri.starts_with(kScheme)) return fail(Code::denied, "certificate names \"{}\", not a spiffe:// identity", uri.substr(0, 100));
  uri.remove_prefix(kScheme.size());
  auto slash = uri.find('/');
  id.trust_domain = std::string(uri.substr(0, slash));
  uri.remove_prefix(slash == std::string_view::npos ? uri.size() : slash);
  if (!uri.starts_with(kPath)) return fail(Code::denied, "certificate is not a node certificate (its name has no /node/ path)");
  id.name = std::string(uri.substr(kPath.size()));
  if (!is_valid_trust_domain(id.trust_domain) || !is_valid_node_name(id.name))
    return fail(Code::invalid, "certificate carries a malformed node name");
  return {};
}

bool issued_by_unit(X509* x, std::string_view unit) {
  X509_NAME* issuer = X509_get_issuer_name(x);
  int at = X509_NAME_get_index_by_NID(issuer, NID_organizationalUnitName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(issuer, NID_organizationalUnitName, at) >= 0) return false;
  const ASN1_STRING* s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(issuer, at));
  return std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), size_t(ASN1_STRING_length(s))) == unit;
}

Result<void> read_authority(X509* x, NodeIdentity& id) {
  bssl::UniquePtr<ASN1_OBJECT> oid(OBJ_txt2obj(kNodeAuthorityOid, 1));
  int at = X509_get_ext_by_OBJ(x, oid.get(), -1);
  if (at < 0) return {};  // no pod ranges, no roles
  if (X509_get_ext_by_OBJ(x, oid.get(), at) >= 0) return fail(Code::invalid, "certificate carries the node authority extension twice");
  const ASN1_OCTET_STRING* v = X509_EXTENSION_get_data(X509_get_ext(x, at));
  return decode_node_authority({ASN1_STRING_get0_data(v), size_t(ASN1_STRING_length(v))}, id);
}

Result<Sha256> spki_of(X509* x) {
  uint8_t* p = nullptr;
  int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &p);
  if (n <= 0) return fail(Code::invalid, "certificate has no readable public key");
  Sha256 h = sha256({p, size_t(n)});
  OPENSSL_free(p);
  return h;
}

std::string_view mend_for(int verify_error) {
  switch (verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "issue a new one: edgemeshctl ca issue --renew";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "set this machine's clock";
    default: return "use a certificate of this mesh's CA, or the ca.crt that was issued with it";
  }
}

// Of every certificate up to the root: 0, or what X509_verify_cert() would say. Slack and grace are each certificate's own.
int date_error(X509* x, WallTime now, std::chrono::seconds grace) {
  if (now.unix_seconds < wall_time_of(X509_get0_notBefore(x)).unix_seconds - kNotBeforeSlackSeconds) return X509_V_ERR_CERT_NOT_YET_VALID;
  return now.unix_seconds > wall_time_of(X509_get0_notAfter(x)).unix_seconds + grace.count() ? X509_V_ERR_CERT_HAS_EXPIRED : X509_V_OK;
}

int leave_dates_to_us(int ok, X509_STORE_CTX* ctx) {
  const int error = X509_STORE_CTX_get_error(ctx);
  return ok || error == X509_V_ERR_CERT_NOT_YET_VALID || error == X509_V_ERR_CERT_HAS_EXPIRED;
}

tl::unexpected<Error> refusal(X509* x, int error, WallTime now) {
  return fail(Code::denied, "certificate refused: {} (valid {} to {}, it is {}); {}", X509_verify_cert_error_string(error),
              to_date(wall_time_of(X509_get0_notBefore(x))), to_date(wall_time_of(X509_get0_notAfter(x))), to_date(now), mend_for(error));
}

Result<void> verify_chain(const std::vector<ByteVec>& chain, const std::vector<ByteVec>& ca_certs, WallTime now, std::chrono::seconds grace) {
  bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  for (auto& c : ca_certs)
    if (auto x = x509_from_der(c)) X509_STORE_add_cert(store.get(), x.get());
  bssl::UniquePtr<STACK_OF(X509)> rest(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); i++)
    if (auto x = x509_from_der(chain[i])) sk_X509_push(rest.get(), x.release());
  auto leaf = x509_from_der(chain[0]);
  if (!leaf) return fail(Code::invalid, "certificate is not DER X.509");
  bssl::UniquePtr<X509_STORE_CTX> ctx(X509_STORE_CTX_new());
  if (!X509_STORE_CTX_init(ctx.get(), store.get(), leaf.get(), rest.get())) return fail(Code::io, "{}", boringssl_error());
  X509_STORE_CTX_set_verify_cb(ctx.get(), leave_dates_to_us);
  bool ok = X509_verify_cert(ctx.get()) == 1;
  int err = X509_STORE_CTX_get_error(ctx.get());
  ERR_clear_error();
  if (!ok) return refusal(leaf.get(), err, now);
  STACK_OF(X509)* verified = X509_STORE_CTX_get0_chain(ctx.get());
  for (size_t i = 0; i < sk_X509_num(verified); i++)
    if (X509* x = sk_X509_value(verified, i); int error = date_error(x, now, grace)) return refusal(x, error, now);
  return {};
}

Result<std::vector<ByteVec>> load_pem(const std::string& path) {
  EM_TRY_ASSIGN(std::string text, read_file(path, kPemBytesMax));
  return certificates_from_pem(text, path);
}

}  // namespace

bool NodeIdentity::has_role(std::string_view role) const { return std::find(roles.begin(), roles.end(), role) != roles.end(); }

bool NodeIdentity::owns(const IpAddr& a) const {
  if (std::find(overlay_ips.begin(), overlay_ips.end(), a) != overlay_ips.end()) return true;
  return std::any_of(pod_cidrs.begin(), pod_cidrs.end(), [&](const Cidr& c) { return c.contains(a); });
}

bool is_valid_node_name(std::string_view s) {
  if (s.empty() || s.size() > 253) return false;
  char before = '.';
  for (char c : s) {
    if (!is_alnum_lower(c) && c != '-' && c != '.') return false;
    if ((c == '.' && (before == '.' || before == '-')) || (c == '-' && before == '.')) return false;
    before = c;
  }
  return is_alnum_lower(before);
}

bool is_valid_trust_domain(std::string_view s) {
  return !s.empty() && s.size() <= 200 &&
         std::all_of(s.begin(), s.end(), [](char c) { return is_alnum_lower(c) || c == '.' || c == '-' || c == '_'; });
}

std::string node_uri(std::string_view trust_domain, std::string_view name) {
  return fmt::format("spiffe://{}/node/{}", trust_domain, name);
}

// NodeAuthority ::= SEQUENCE { version INTEGER (1), podCIDRs SEQUENCE OF OCTET STRING, roles SEQUENCE OF UTF8String }
// A CIDR is its address in network order followed by one byte of prefix length: 5 or 17 bytes.
ByteVec encode_node_authority(const std::vector<Cidr>& pod_cidrs, const std::vector<std::string>& roles) {
  bssl::ScopedCBB out;
  CBB seq, list, item;
  CBB_init(out.get(), 64);
  CBB_add_asn1(out.get(), &seq, CBS_ASN1_SEQUENCE);
  CBB_add_asn1_uint64(&seq, 1);
  CBB_add_asn1(&seq, &list, CBS_ASN1_SEQUENCE);
  for (auto& c : pod_cidrs) {
    CBB_add_asn1(&list, &item, CBS_ASN1_OCTETSTRING);
    CBB_add_bytes(&item, c.ip.bytes().data(), c.ip.bytes().size());
    CBB_add_u8(&item, c.len);
    CBB_flush(&list);
  }
  CBB_add_asn1(&seq, &list, CBS_ASN1_SEQUENCE);
  for (auto& r : roles) {
    CBB_add_asn1(&list, &item, CBS_ASN1_UTF8STRING);
    CBB_add_bytes(&item, reinterpret_cast<const uint8_t*>(r.data()), r.size());
    CBB_flush(&list);
  }
  CBB_flush(out.get());
  return {CBB_data(out.get()), CBB_data(out.get()) + CBB_len(out.get())};
}

Result<void> decode_node_authority(ByteView der, NodeIdentity& id) {
  CBS in(bssl::Span<const uint8_t>(der.data(), der.size())), seq, cidrs, roles;
  uint64_t version = 0;
  if (!CBS_get_asn1(&in, &seq, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0 || !CBS_get_asn1_uint64(&seq, &version))
    return fail(Code::invalid, "certificate's node authority extension is malformed");
  if (version != 1) return fail(Code::unsupported, "certificate's node authority extension has version {}; this program reads 1", version);
  if (!CBS_get_asn1(&seq, &cidrs, CBS_ASN1_SEQUENCE) || !CBS_get_asn1(&seq, &roles, CBS_ASN1_SEQUENCE) || CBS_len(&seq) != 0)
    return fail(Code::invalid, "certificate's node authority extension is malformed");
  for (CBS item; CBS_len(&cidrs) > 0;) {
    if (!CBS_get_asn1(&cidrs, &item, CBS_ASN1_OCTETSTRING) || (CBS_len(&item) != 5 && CBS_len(&item) != 17))
      return fail(Code::invalid, "certificate's pod ranges are malformed");
    const uint8_t* p = CBS_data(&item);
    size_t n = CBS_len(&item) - 1;
    Cidr c{n == 4 ? IpAddr::v4(p) : IpAddr::v6(p), p[n]};
    if (c.len > n * 8 || Cidr::parse(c.str()) != c) return fail(Code::invalid, "certificate's pod ranges are malformed");
    id.pod_cidrs.push_back(c);
  }
  for (CBS item; CBS_len(&roles) > 0;) {
    if (!CBS_get_asn1(&roles, &item, CBS_ASN1_UTF8STRING) || CBS_len(&item) > 64) return fail(Code::invalid, "certificate's roles are malformed");
    id.roles.emplace_back(reinterpret_cast<const char*>(CBS_data(&item)), CBS_len(&item));
  }
  if (id.pod_cidrs.size() > kPodCidrsPerNodeMax || id.roles.size() > kRolesPerNodeMax)
    return fail(Code::limit, "certificate has {} pod ranges and {} roles; at most {} and {}", id.pod_cidrs.size(), id.roles.size(),
                kPodCidrsPerNodeMax, kRolesPerNodeMax);
  return {};
}

Result<NodeIdentity> parse_node_identity(ByteView leaf_der, std::string_view expected_trust_domain) {
  auto x = x509_from_der(leaf_der);
  if (!x) return fail(Code::invalid, "certificate is not DER X.509");
  NodeIdentity id;
  EM_TRY_ASSIGN(auto uris, uri_and_ips(x.get(), id));
  if (uris.size() != 1) return fail(Code::denied, "certificate has {} URI names; a node certificate has exactly one", uris.size());
  EM_TRY(split_node_uri(uris[0], id));
  if (!expected_trust_domain.empty() && id.trust_domain != expected_trust_domain)
    return fail(Code::denied, "certificate of node {} is of trust domain \"{}\", this mesh is \"{}\"; issue it from this mesh's CA", id.name,
                id.trust_domain, expected_trust_domain);
  if (!issued_by_unit(x.get(), kNodeCaUnit))
    return fail(Code::denied, "certificate of node {} was not issued by the {} intermediate", id.name, kNodeCaUnit);
  EM_TRY(read_authority(x.get(), id));
  EM_TRY_ASSIGN(id.spki_sha256, spki_of(x.get()));
  id.not_before = wall_time_of(X509_get0_notBefore(x.get()));
  id.not_after = wall_time_of(X509_get0_notAfter(x.get()));
  return id;
}

Result<std::vector<ByteVec>> certificates_from_pem(std::string_view pem, const std::string& place) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
  std::vector<ByteVec> out;
  while (bssl::UniquePtr<X509> x{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (out.size() == kCertificatesMax) return fail(Code::limit, "{}: more than {} certificates", place, kCertificatesMax);
    out.push_back(der_of(x.get()));
  }
  uint32_t e = ERR_peek_last_error();
  ERR_clear_error();
  bool at_end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
  if (out.empty()) return fail(Code::invalid, "{}: no PEM certificate in it", place);
  if (!at_end) return fail(Code::invalid, "{}: certificate {} in it is malformed", place, out.size() + 1);
  return out;
}

Result<NodeIdentity> verify_node_chain(const std::vector<ByteVec>& chain, const std::vector<ByteVec>& ca_certs, WallTime now,
                                       std::chrono::seconds expiry_grace) {
  if (chain.empty()) return fail(Code::denied, "no certificate");
  EM_TRY(verify_chain(chain, ca_certs, now, expiry_grace));
  return parse_node_identity(chain[0], "");
}

Result<NodeIdentity> check_node_files(const std::string& cert_path, const std::string& key_path, const std::string& ca_path, WallTime now,
                                      std::chrono::seconds expiry_grace) {
  EM_TRY_ASSIGN(auto chain, load_pem(cert_path));
  EM_TRY_ASSIGN(auto ca, load_pem(ca_path));
  auto id = verify_node_chain(chain, ca, now, expiry_grace);
  if (!id) return fail_in(cert_path, id.error());
  EM_TRY_ASSIGN(std::string key_pem, read_file(key_path, kPemBytesMax));
  auto key = private_key_from_pem(key_pem);
  secure_zero(key_pem.data(), key_pem.size());
  if (!key) return fail(Code::invalid, "{}: not a PEM private key; issue the certificate again: edgemeshctl ca issue --renew", key_path);
  auto leaf = x509_from_der(chain[0]);
  bool matches = X509_check_private_key(leaf.get(), key.get()) == 1;
  ERR_clear_error();
  if (!matches) return fail(Code::invalid, "{}: this key does not belong to the certificate in {}; use the pair written by one issue", key_path, cert_path);
  return id;
}

Result<Sha256> spki_sha256_of(ByteView cert_der) {
  auto x = x509_from_der(cert_der);
  if (!x) return fail(Code::invalid, "certificate is not DER X.509");
  return spki_of(x.get());
}

Sha256 sha256(ByteView b) {
  Sha256 h;
  SHA256(b.data(), b.size(), h.data());
  return h;
}

}  // namespace base
