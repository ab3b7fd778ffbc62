// Builds and signs the X.509 certificates of the mesh with ECDSA P-256 keys. Internal to cloud/ca: shows BoringSSL types.
#pragma once
#include <string>
#include <vector>

#include "base/core/rng.h"
#include "base/net/node_cert.h"
#include "base/net/x509_ptr.h"

namespace cloud {

using KeyPtr = bssl::UniquePtr<EVP_PKEY>;
using CertPtr = bssl::UniquePtr<X509>;

struct Issuer {  // signs; borrowed
  X509* cert;
  EVP_PKEY* key;
};

struct Validity {
  base::WallTime from, to;
};

struct LeafSpec {
  std::string trust_domain, name;
  std::vector<base::IpAddr> overlay_ips;
  std::vector<base::Cidr> pod_cidrs;
  std::vector<std::string> roles;
};

base::Result<KeyPtr> new_p256_key();
base::Result<CertPtr> build_root(EVP_PKEY* key, const std::string& trust_domain, Validity, base::Rng&);
base::Result<CertPtr> build_intermediate(EVP_PKEY* key, const Issuer&, const std::string& trust_domain, const char* unit, Validity, base::Rng&);
base::Result<CertPtr> build_node_leaf(EVP_PKEY* key, const Issuer&, const LeafSpec&, Validity, base::Rng&);
std::string pem_of(X509*);
base::Result<std::string> pem_of(EVP_PKEY*);
base::Result<base::ByteVec> sign_sha256(EVP_PKEY*, std::string_view message);

}  // namespace cloud
