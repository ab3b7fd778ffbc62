// Who this node is on signalling connections and whom it believes: the mesh's CA at the time the caller trusts, this mesh's
// trust domain, and the deny list. Shared by all connections; a renewal makes a new one.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/net/node_cert.h"
#include "base/net/tls_stream.h"

namespace tunnel {

class TlsIdentity {
 public:
  struct Pem {
    std::string cert_chain, key, ca;  // texts, not paths
  };
  using TrustTime = std::function<base::WallTime()>;
  using IsDenied = std::function<bool(const base::NodeIdentity&)>;  // may be empty
  // Errors name what is wrong with the node's own certificate and the mend.
  static base::Result<std::shared_ptr<TlsIdentity>> make(const Pem&, TrustTime, IsDenied, base::DateRules = {});

  const base::NodeIdentity& own() const { return own_; }
  bool is_denied(const base::NodeIdentity& id) const { return is_denied_ && is_denied_(id); }
  // Mutual TLS 1.3 with ALPN "h2". A peer that is not a node of this mesh, or is denied, ends in on_closed with the reason.
  std::unique_ptr<base::TlsStream> secure(base::Loop&, base::TlsRole, std::unique_ptr<base::Stream> below, base::Duration handshake_within) const;

 private:
  TlsIdentity() = default;
  base::NodeIdentity own_;
  TrustTime trust_time_;
  IsDenied is_denied_;
  std::shared_ptr<const base::TlsContext> context_;
};

// Who is at the other end; after on_connected.
base::Result<base::NodeIdentity> peer_of(const base::TlsStream&);

}  // namespace tunnel
