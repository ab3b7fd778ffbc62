// Node certificates, the reading side: who a peer is and what it may claim. The certificate is the only source of authority
// (docs/reference/certificates.md); cloud/ca writes what this reads. Pure except for the functions that take a path.
//
// parse_node_identity() reads a leaf; it does not verify its chain. Either TLS has done so, or verify_node_chain() does.
#pragma once
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/core/time.h"
#include "base/core/wall_clock.h"
#include "base/net/addr.h"

namespace base {

using Sha256 = std::array<uint8_t, 32>;

struct NodeIdentity {
  std::string trust_domain;
  std::string name;                 // of the one URI SAN spiffe://<trust_domain>/node/<name>
  std::vector<IpAddr> overlay_ips;  // IP SANs: the addresses this node may speak as in the overlay
  std::vector<Cidr> pod_cidrs;      // permitted pod ranges (native mode); empty where not known at issue
  std::vector<std::string> roles;   // "relay"
  Sha256 spki_sha256{};
  WallTime not_before, not_after;

  bool has_role(std::string_view role) const;
  bool owns(const IpAddr&) const;  // an overlay address, or inside a permitted pod range
};

inline constexpr std::string_view kRelayRole = "relay";
inline constexpr size_t kOverlayIpsPerNodeMax = 8;
inline constexpr size_t kPodCidrsPerNodeMax = 16;
inline constexpr size_t kRolesPerNodeMax = 8;
// The organisational unit in the issuer of each kind of certificate. Only the mesh-node intermediate carries kNodeCaUnit, so
// a certificate from the API-client intermediate is never a node, whatever SAN it carries.
inline constexpr const char* kNodeCaUnit = "mesh-node";
inline constexpr const char* kApiCaUnit = "api-client";
// The extension with pod ranges and roles.
inline constexpr const char* kNodeAuthorityOid = "1.3.6.1.4.1.32473.1.1";

bool is_valid_node_name(std::string_view);     // RFC 1123 subdomain, as Kubernetes names nodes
bool is_valid_trust_domain(std::string_view);  // SPIFFE: lower case letters, digits, '.', '-', '_'
std::string node_uri(std::string_view trust_domain, std::string_view name);

// The DER of the extension; both directions live in one file so that they cannot drift apart.
ByteVec encode_node_authority(const std::vector<Cidr>& pod_cidrs, const std::vector<std::string>& roles);
Result<void> decode_node_authority(ByteView der, NodeIdentity& into);

// expected_trust_domain: empty accepts any. Errors name what is wrong with the certificate and the mend.
Result<NodeIdentity> parse_node_identity(ByteView leaf_der, std::string_view expected_trust_domain);

// The certificates of a PEM text, in order. At least one, at most 16.
Result<std::vector<ByteVec>> certificates_from_pem(std::string_view pem, const std::string& place);
// Leaf first, then intermediates, up to a root among ca_certs; at the given time, notBefore with 24 h of slack,
// the end with the given grace.
Result<NodeIdentity> verify_node_chain(const std::vector<ByteVec>& chain, const std::vector<ByteVec>& ca_certs, WallTime now,
                                       std::chrono::seconds expiry_grace = std::chrono::seconds(0));
// What a daemon does at start: the chain holds, the key belongs to it. Errors name the file and the mend.
Result<NodeIdentity> check_node_files(const std::string& cert_path, const std::string& key_path, const std::string& ca_path, WallTime now,
                                      std::chrono::seconds expiry_grace = std::chrono::seconds(0));

Result<Sha256> spki_sha256_of(ByteView cert_der);
Sha256 sha256(ByteView);

}  // namespace base
