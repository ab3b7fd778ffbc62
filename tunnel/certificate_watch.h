// CertificateWatch: which certificates have ended, the own and those of peers we accepted. Past its end a certificate is good for the
// grace (tunnel.identity.offlineGrace) and no longer, since a node that cannot reach the CA cannot renew: that is an alarm, a gauge
// and one line for each. Dates are held against the trusted time. Control loop only.
#pragma once
#include <map>
#include <set>
#include <string>

#include "base/core/metrics.h"
#include "base/core/trust_clock.h"
#include "base/net/node_cert.h"

namespace tunnel {

class CertificateWatch {
 public:
  CertificateWatch(const base::TrustClock& clock, std::chrono::seconds grace, base::Metrics&);

  void own(const base::NodeIdentity&);
  void accepted(const base::NodeIdentity& peer);  // its newest certificate
  void keep_only(const std::set<std::string>& peers);
  void look();                                    // from time to time: says what has ended since the last time

 private:
  struct Entry {
    base::WallTime not_after{};
    bool said = false;
  };
  bool has_ended(Entry&, const std::string& whose) const;

  const base::TrustClock& clock_;
  std::chrono::seconds grace_;
  std::string own_name_;
  Entry own_;
  std::map<std::string, Entry> peers_;
  base::Gauge &seconds_left_, &own_ended_, &peers_ended_;
};

}  // namespace tunnel
