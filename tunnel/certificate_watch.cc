#include "tunnel/certificate_watch.h"

#include "base/core/log.h"
#include "base/core/wall_clock.h"

namespace tunnel {

static base::Gauge& ended_gauge(base::Metrics& m, const char* whose) {
  return m.gauge("edgemeshd_certificates_ended", "Certificates past their end that are in use on tunnel.identity.offlineGrace; anything but 0 is an alarm.",
                 {{"whose", whose}});
}

CertificateWatch::CertificateWatch(const base::TrustClock& clock, std::chrono::seconds grace, base::Metrics& m)
    : clock_(clock), grace_(grace),
      seconds_left_(m.gauge("edgemeshd_certificate_seconds_left", "Until the end of this node's certificate, by the trusted time; negative afterwards.")),
      own_ended_(ended_gauge(m, "own")), peers_ended_(ended_gauge(m, "peer")) {}

void CertificateWatch::own(const base::NodeIdentity& id) {
  own_name_ = id.name;
  own_ = {id.not_after};
  look();
}

void CertificateWatch::accepted(const base::NodeIdentity& peer) {
  Entry& e = peers_[peer.name];
  if (e.not_after == peer.not_after) return;
  e = {peer.not_after};
  look();
}

void CertificateWatch::keep_only(const std::set<std::string>& peers) {
  std::erase_if(peers_, [&](const auto& p) { return !peers.contains(p.first); });
}

bool CertificateWatch::has_ended(Entry& e, const std::string& whose) const {
  if (clock_.now() <= e.not_after) return false;
  if (!std::exchange(e.said, true))
    EM_LOG(warn, "tunnel", "the certificate of {} ended on {}: it is accepted until {} (tunnel.identity.offlineGrace), then no peer talks to that node any more; "
           "renew it: edgemeshctl ca issue --renew", whose, base::to_date(e.not_after), base::to_date({e.not_after.unix_seconds + grace_.count()}));
  return true;
}

void CertificateWatch::look() {
  seconds_left_.set(own_.not_after.unix_seconds - clock_.now().unix_seconds);
  own_ended_.set(has_ended(own_, "this node (" + own_name_ + ")"));
  int64_t ended = 0;
  for (auto& [name, e] : peers_) ended += has_ended(e, name);
  peers_ended_.set(ended);
}

}  // namespace tunnel
