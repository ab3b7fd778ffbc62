// What the CA has given out: one record per node name. Kept in nodes.json of the CA folder, written before any certificate
// leaves it, so that a name or an address is never given twice. Also holds the mesh's settings. Value type; no locking.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/net/node_cert.h"

namespace cloud {

struct NodeRecord {
  std::vector<base::IpAddr> overlay_ips;
  std::vector<base::Cidr> pod_cidrs;
  std::vector<std::string> roles;
  std::vector<std::string> keys;  // SPKI SHA-256 in hex, newest last
  int64_t not_after = 0;          // of the newest certificate, unix seconds
};

struct NodeRecords {
  std::string trust_domain;
  base::Cidr overlay4, overlay6;
  std::map<std::string, NodeRecord> nodes;

  static base::Result<NodeRecords> load(const std::string& path);
  base::Result<void> save(const std::string& path) const;
  // The node that holds an address; empty when it is free.
  std::string holder_of(const base::IpAddr&) const;
  // The first node whose pod ranges overlap this one; empty when there is none.
  std::string overlapping(const base::Cidr&, const std::string& except) const;
};

}  // namespace cloud
