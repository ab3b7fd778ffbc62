#include "base/net/x509.h"

#include <openssl/bn.h>

#include <algorithm>

#include "base/net/x509_ptr.h"

namespace base {
namespace {

std::string text_of(const ASN1_STRING* s) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), size_t(ASN1_STRING_length(s)));
}

std::string common_name_of(const X509* x) {
  X509_NAME* subject = X509_get_subject_name(x);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  uint8_t* utf8 = nullptr;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  std::string out(reinterpret_cast<char*>(utf8), size_t(std::max(n, 0)));
  OPENSSL_free(utf8);
  return out;
}

Result<WallTime> time_of(const ASN1_TIME* t) {
  bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (!ASN1_TIME_diff(&days, &seconds, epoch.get(), t)) return fail(Code::invalid, "certificate: a date of its validity is no date");
  return WallTime{int64_t(days) * 86400 + seconds};
}

Result<void> read_names(const X509* x, CertificateInfo& c) {
  int critical = 0;
  bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x, NID_subject_alt_name, &critical, nullptr)));
  if (!names && critical != -1) return fail(Code::invalid, "certificate: its subject alternative names are malformed or there twice");
  for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(names.get(), i);
    if (n->type == GEN_URI) c.uris.push_back(text_of(n->d.uniformResourceIdentifier));
    if (n->type == GEN_DNS) c.dns_names.push_back(text_of(n->d.dNSName));
    if (n->type != GEN_IPADD) continue;
    const uint8_t* p = ASN1_STRING_get0_data(n->d.iPAddress);
    int len = ASN1_STRING_length(n->d.iPAddress);
    if (len != 4 && len != 16) return fail(Code::invalid, "certificate: an IP name of {} bytes", len);
    c.ips.push_back(len == 4 ? IpAddr::v4(p) : IpAddr::v6(p));
  }
  return {};
}

void read_other_extensions(const X509* x, CertificateInfo& c) {
  for (int i = 0; i < X509_get_ext_count(x); ++i) {
    X509_EXTENSION* e = X509_get_ext(x, i);
    ASN1_OBJECT* object = X509_EXTENSION_get_object(e);
    if (OBJ_obj2nid(object) != NID_undef) continue;
    char oid[128];
    int n = OBJ_obj2txt(oid, sizeof oid, object, 1);
    if (n <= 0 || size_t(n) >= sizeof oid) continue;
    const ASN1_STRING* value = X509_EXTENSION_get_data(e);
    const uint8_t* p = ASN1_STRING_get0_data(value);
    c.other_extensions.emplace(oid, ByteVec(p, p + ASN1_STRING_length(value)));
  }
}

std::string serial_of(const X509* x) {
  bssl::UniquePtr<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), nullptr));
  bssl::UniquePtr<char> hex(number ? BN_bn2hex(number.get()) : nullptr);
  std::string_view s = hex ? hex.get() : "0";
  return std::string(s.substr(std::min(s.find_first_not_of('0'), s.size() - 1)));
}

}  // namespace

Result<CertificateInfo> parse_certificate(ByteView der) {
  auto x = x509_from_der(der);
  if (!x) return fail(Code::invalid, "not a certificate (X.509 in DER)");
  CertificateInfo c;
  c.common_name = common_name_of(x.get());
  EM_TRY_ASSIGN(c.not_before, time_of(X509_get0_notBefore(x.get())));
  EM_TRY_ASSIGN(c.not_after, time_of(X509_get0_notAfter(x.get())));
  EM_TRY(read_names(x.get(), c));
  EM_TRY_ASSIGN(c.spki_sha256, spki_sha256_of(der));
  c.serial = serial_of(x.get());
  c.is_ca = X509_check_ca(x.get()) > 0;
  read_other_extensions(x.get(), c);
  ERR_clear_error();
  return c;
}

Result<CertificateInfo> parse_certificate_pem(std::string_view pem, const std::string& place) {
  EM_TRY_ASSIGN(std::vector<ByteVec> all, certificates_from_pem(pem, place));
  auto c = parse_certificate(all.front());
  if (!c) return fail_in(place, c.error());
  return c;
}

}  // namespace base
