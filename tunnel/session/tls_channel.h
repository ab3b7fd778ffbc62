// The SecureChannel of real nodes: TLS 1.3, both sides with certificates of the mesh's CA. Dates are checked at the given trust
// time, notBefore with 24 h of slack. The identity is read from the leaf that TLS verified.
#pragma once
#include <functional>

#include "base/net/tls.h"
#include "tunnel/session/secure_channel.h"

namespace tunnel {

class TlsChannelFactory {
 public:
  struct Pem {
    std::string certificate, key, ca;  // texts
  };
  // Errors name what is wrong with the certificate, the key or the CA.
  static base::Result<TlsChannelFactory> make(const Pem&, std::string trust_domain, std::function<base::WallTime()> trust_time,
                                              base::DateRules = {});
  std::unique_ptr<SecureChannel> channel(bool client) const;

 private:
  std::shared_ptr<const base::TlsContext> context_;
  std::string trust_domain_;
  std::function<base::WallTime()> trust_time_;
};

}  // namespace tunnel
