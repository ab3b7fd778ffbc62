// Owners for BoringSSL objects and the text of its last error. Internal to base/net and to those who link BoringSSL: not for
// public headers.
#pragma once
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string>

#include "base/core/bytes.h"
#include "base/core/time.h"

namespace base {

inline std::string boringssl_error() {
  uint32_t e = ERR_get_error();
  ERR_clear_error();
  const char* reason = e ? ERR_reason_error_string(e) : nullptr;
  return reason ? reason : "unknown cryptographic error";
}

inline bssl::UniquePtr<X509> x509_from_der(ByteView der) {
  const uint8_t* p = der.data();
  bssl::UniquePtr<X509> x(d2i_X509(nullptr, &p, long(der.size())));
  if (x && p != der.data() + der.size()) x.reset();  // nothing may follow the certificate
  ERR_clear_error();
  return x;
}

inline bssl::UniquePtr<EVP_PKEY> private_key_from_pem(const std::string& pem) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
  bssl::UniquePtr<EVP_PKEY> k(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return k;
}

inline WallTime wall_time_of(const ASN1_TIME* t) {  // 1970 for what is no date
  bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (!ASN1_TIME_diff(&days, &seconds, epoch.get(), t)) return {0};
  return {int64_t(days) * 86400 + seconds};
}

inline ByteVec der_of(X509* x) {
  uint8_t* p = nullptr;
  int n = i2d_X509(x, &p);
  ByteVec out(p, p + (n > 0 ? n : 0));
  OPENSSL_free(p);
  return out;
}

}  // namespace base
