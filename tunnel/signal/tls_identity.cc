#include "tunnel/signal/tls_identity.h"

namespace tunnel {

using base::ByteView;
using base::Code;
using base::NodeIdentity;
using base::Result;

Result<std::shared_ptr<TlsIdentity>> TlsIdentity::make(const Pem& pem, TrustTime trust_time, IsDenied is_denied, base::DateRules dates) {
  std::shared_ptr<TlsIdentity> out(new TlsIdentity);
  EM_TRY_ASSIGN(auto chain, base::certificates_from_pem(pem.cert_chain, "node certificate"));
  EM_TRY_ASSIGN(auto ca, base::certificates_from_pem(pem.ca, "CA certificate"));
  EM_TRY_ASSIGN(out->own_, base::verify_node_chain(chain, ca, trust_time(), dates.expiry_grace));
  out->trust_time_ = std::move(trust_time);
  out->is_denied_ = is_denied;
  base::TlsConfig c{.certificate_pem = pem.cert_chain, .key_pem = pem.key, .ca_pem = pem.ca, .alpn = {"h2"}};
  c.not_before_slack = std::chrono::hours(24);  // as verify_node_chain() has it
  c.dates = std::move(dates);
  c.verify = [domain = out->own_.trust_domain, is_denied = std::move(is_denied)](ByteView leaf) -> Result<void> {
    EM_TRY_ASSIGN(NodeIdentity id, base::parse_node_identity(leaf, domain));
    if (is_denied && is_denied(id)) return base::fail(Code::denied, "node {} is on the deny list", id.name);
    return {};
  };
  EM_TRY_ASSIGN(out->context_, base::TlsContext::make(std::move(c)));
  return out;
}

std::unique_ptr<base::TlsStream> TlsIdentity::secure(base::Loop& loop, base::TlsRole role, std::unique_ptr<base::Stream> below,
                                                     base::Duration handshake_within) const {
  return base::make_tls_stream(loop, std::move(below), context_, {.role = role, .verify_at = trust_time_(), .handshake_within = handshake_within});
}

Result<NodeIdentity> peer_of(const base::TlsStream& s) { return base::parse_node_identity(s.tls().peer_leaf(), ""); }

}  // namespace tunnel
