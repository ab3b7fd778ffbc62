// The mesh's certificate authority: a folder with a root, one intermediate for node certificates and one for API clients,
// the records of what was given out, and the signed deny list. Every change is made under a lock on the folder, so two tools
// may run at once; every file is replaced whole; keys are 0600.
//
//   ca.key ca.crt              root
//   node-ca.key node-ca.crt    signs node certificates (OU mesh-node)
//   api-ca.key api-ca.crt      signs API-client certificates (OU api-client); none of them is ever a node
//   nodes.json                 who has which addresses, ranges, roles and keys
//   deny.json                  the signed deny list (base/net/deny_list.h)
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/core/rng.h"
#include "base/net/deny_list.h"
#include "cloud/ca/node_records.h"

namespace cloud {

struct InitRequest {
  std::string trust_domain;
  std::optional<base::Cidr> overlay4;  // default 100.64.0.0/10
};

struct IssueRequest {
  std::string node;
  std::vector<base::IpAddr> overlay_ips;  // empty: one IPv4 and one IPv6 are chosen (at a renewal: kept)
  std::vector<base::Cidr> pod_cidrs;
  std::vector<std::string> roles;
  int days = 90;
  bool renew = false;  // the name exists already: new key and certificate; what is left empty above is kept
};

struct Issued {
  base::NodeIdentity identity;
  std::vector<std::string> warnings;
};

struct Denied {
  uint64_t number = 0;   // of the new deny list
  std::string what;      // "node edge-7" or "key 3f…"
};

class CertificateAuthority {
 public:
  CertificateAuthority(std::string dir, base::Rng& rng) : dir_(std::move(dir)), rng_(rng) {}

  base::Result<void> init(const InitRequest&, base::WallTime now);
  // Writes node.crt (leaf and intermediate), node.key and ca.crt into out_dir, which is made if absent.
  base::Result<Issued> issue(const IssueRequest&, const std::string& out_dir, base::WallTime now);
  // A name: it and every key ever issued to it, for ever. A certificate: its key only; the name may be renewed.
  base::Result<Denied> deny_name(const std::string& node, base::WallTime now);
  base::Result<Denied> deny_certificate(const std::string& cert_path, base::WallTime now);

 private:
  base::Result<NodeRecords> load_records() const;
  base::Result<base::DenyList> load_denied(const NodeRecords&) const;
  base::Result<Denied> publish(const NodeRecords&, std::set<base::Sha256> keys, std::set<std::string> names, std::string what, base::WallTime now);
  std::string at(const char* file) const { return dir_ + "/" + file; }

  std::string dir_;
  base::Rng& rng_;
};

}  // namespace cloud
