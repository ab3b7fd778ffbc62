// What a node reads from its disk before it can be a member of the mesh: certificate, key, CA, deny list, pre-shared keys.
// Every error is one line with the file and the mend.
#pragma once
#include <string>
#include <vector>

#include "base/core/trust_clock.h"
#include "tunnel/deny_book.h"
#include "tunnel/session/handshake.h"

namespace tunnel {

struct NodeFiles {
  base::NodeIdentity identity;
  std::string certificate_pem, key_pem, ca_pem;
  std::vector<base::ByteVec> ca_certs;  // DER
  Digest leaf{};                        // SHA-256 of the own certificate
  std::vector<Psk> psks;
  DenyBook deny;
};

struct NodeFilePaths {
  std::string node;  // the name the configuration gives; the certificate must carry it
  std::string cert, key, ca, deny;
  std::string state_dir;  // empty: nothing is kept
  std::vector<std::string> psks;
};
// Of a certificate that takes the place of one in use: identity, texts and leaf; the rest stays empty. It must be for the same node, with
// the same addresses and roles.
base::Result<NodeFiles> read_renewed(const NodeFilePaths&, const base::NodeIdentity& in_use, base::TrustClock&, std::chrono::seconds expiry_grace);
// Changes when the certificate or the key does.
std::string stamp_of(const NodeFilePaths&);
// The certificate's dates are told to the clock, and held against its time with the given grace at the end.
base::Result<NodeFiles> read_node_files(const NodeFilePaths&, base::TrustClock&, base::StateDisk&, std::chrono::seconds expiry_grace);

}  // namespace tunnel
