#include "tunnel/portmap/portmap_client.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr int kTries = 6;
constexpr base::Duration kFirstRepeat = 250ms;
constexpr uint32_t kLifetime = 7200;
constexpr uint32_t kLifetimeMax = 24 * 3600;  // whatever the router says
constexpr base::Duration kPauseMin = 10min, kPauseMax = 2h, kRenewMin = 10s, kLook = 60s;

base::Counter& requests(base::Metrics& m, const char* event) {
  return m.counter("edgemeshd_tunnel_port_mapping_total",
                   "What became of asking the router for a forwarded port: asked, granted, refused, forgotten by it.", {{"event", event}});
}
}  // namespace

PortmapClient::PortmapClient(uint16_t own_port, Hooks h, base::Rng& rng, base::Metrics& m)
    : own_port_(own_port),
      hooks_(std::move(h)),
      rng_(rng),
      standing_(m.gauge("edgemeshd_tunnel_port_mapped", "1 while the router forwards the tunnel's port to this node.")),
      asked_(requests(m, "asked")),
      granted_(requests(m, "granted")),
      refused_(requests(m, "refused")),
      forgotten_(requests(m, "forgotten")) {
  rng_.fill(nonce_);
}

void PortmapClient::set_way(std::optional<PortmapWay> way, base::Instant now) {
  if (way == way_) return;
  way_ = std::move(way);
  epoch_.reset();
  set_outside(std::nullopt);  // it was that router's
  trouble_.clear();
  pause_ = {};
  asking_ = false;
  due_ = look_at_ = base::Instant::max();
  if (way_) begin(now);
  compute_deadline();
}

void PortmapClient::begin(base::Instant now) {
  pcp_ = true;
  renew(now);
}

void PortmapClient::renew(base::Instant now) {
  asking_ = true;
  tries_ = 0;
  pmp_address_.reset();
  pmp_map_.reset();
  due_ = now;
}

void PortmapClient::check(base::Instant now) {
  if (way_ && !asking_ && outside_) look_at_ = now;
  compute_deadline();
}

void PortmapClient::tick(base::Instant now) {
  if (outside_ && now >= expires_) {
    set_outside(std::nullopt);
    begin(now);
  }
  if (now >= due_) asking_ ? ask(now) : renew(now);
  if (now >= look_at_) {
    look_at_ = now + kLook;
    if (!asking_) send(pcp_ ? PortmapKind::pcp_announce : PortmapKind::pmp_address, 0);
  }
  compute_deadline();
}

void PortmapClient::ask(base::Instant now) {
  if (tries_ >= kTries) return unanswered(now);
  asked_.add();
  if (!pcp_ && !pmp_address_) send(PortmapKind::pmp_address, 0);
  send(pcp_ ? PortmapKind::pcp_map : PortmapKind::pmp_map, kLifetime);
  due_ = now + base::Duration(int64_t(double((kFirstRepeat * (1 << tries_)).count()) * (0.9 + 0.2 * rng_.unit())));
  tries_++;
}

void PortmapClient::send(PortmapKind kind, uint32_t lifetime) {
  PortmapRequest q{kind, way_->own, nonce_, own_port_, outside_.value_or(base::IpPort{{}, own_port_}), lifetime};
  if (lifetime == 0 && !pcp_) q.wished = {};  // RFC 6886 §3.4
  hooks_.send({way_->router, kPortmapPort}, make_portmap(q));
}

void PortmapClient::unanswered(base::Instant now) {
  if (outside_) {  // it still stands: again when half of what is left is over
    asking_ = false;
    due_ = now + std::max<base::Duration>(kRenewMin, (expires_ - now) / 2);
    return;
  }
  if (pcp_) {
    pcp_ = false;
    renew(now);
    return ask(now);
  }
  pause({}, "the router answers neither PCP nor NAT-PMP", now);
}

void PortmapClient::pause(base::Duration told, const std::string& why, base::Instant now) {
  trouble_ = why;
  set_outside(std::nullopt);
  asking_ = false;
  pcp_ = true;
  pause_ = std::clamp<base::Duration>(pause_ * 2, kPauseMin, kPauseMax);
  due_ = now + std::clamp<base::Duration>(std::max(told, pause_), kPauseMin, kPauseMax);
  look_at_ = base::Instant::max();
}

// ---- in

void PortmapClient::on_datagram(const base::IpPort& from, base::ByteView b, base::Instant now) {
  if (!way_ || from != base::IpPort{way_->router, kPortmapPort}) return;
  auto a = read_portmap(b);
  if (!a) return;
  bool of_map = a->kind == PortmapKind::pcp_map || a->kind == PortmapKind::pmp_map;
  if (a->kind == PortmapKind::pcp_map && a->result == 0 && (a->nonce != nonce_ || a->own_port != own_port_)) return;
  if (a->kind == PortmapKind::pmp_map && a->result == 0 && a->own_port != own_port_) return;
  bool pcp_answer = a->kind == PortmapKind::pcp_map || a->kind == PortmapKind::pcp_announce;
  if (asking_ && a->other_version && pcp_ && !outside_) {
    pcp_ = false;
    renew(now);
  } else if (pcp_answer == pcp_ && a->result == 0) {
    bool forgotten = is_forgotten(a->epoch, now);
    if (forgotten && !of_map) {
      forgotten_.add();
      renew(now);
    }
    if (of_map || (a->kind == PortmapKind::pmp_address && asking_)) on_mapped(*a, now);
  } else if (pcp_answer == pcp_ && of_map && asking_) {
    refused_.add();
    pause(std::chrono::seconds(std::min(a->lifetime, kLifetimeMax)), std::string("the router refuses: ") + portmap_trouble(*a), now);
  }
  compute_deadline();
}

void PortmapClient::on_mapped(const PortmapAnswer& a, base::Instant now) {
  base::IpPort outside = a.outside;
  uint32_t lifetime = a.lifetime;
  if (!pcp_) {
    if (a.kind == PortmapKind::pmp_address) pmp_address_ = a.outside.ip;
    else pmp_map_ = a;
    if (!pmp_address_ || !pmp_map_) return;
    outside = {*pmp_address_, pmp_map_->outside.port};
    lifetime = pmp_map_->lifetime;
  }
  if (!asking_ || lifetime == 0 || outside.port == 0) return;
  if (outside.ip.is_any()) return pause({}, "the router has no outside address", now);
  granted_.add();
  asking_ = false;
  pause_ = {};
  trouble_.clear();
  base::Duration life = std::chrono::seconds(std::min(lifetime, kLifetimeMax));
  expires_ = now + life;
  due_ = now + std::max<base::Duration>(kRenewMin, life / 2);
  look_at_ = now + kLook;
  set_outside(outside);
}

// RFC 6887 §8.5: both clocks must have gone on by about the same.
bool PortmapClient::is_forgotten(uint32_t router, base::Instant now) {
  auto before = std::exchange(epoch_, Epoch{router, now});
  if (!before) return false;
  if (int64_t(router) + 1 < int64_t(before->router)) return true;
  int64_t own_step = std::chrono::duration_cast<std::chrono::seconds>(now - before->own).count();
  int64_t router_step = int64_t(router) - int64_t(before->router);
  return own_step + 2 < router_step - router_step / 16 || router_step + 2 < own_step - own_step / 16;
}

void PortmapClient::release() {
  if (way_ && outside_) send(pcp_ ? PortmapKind::pcp_map : PortmapKind::pmp_map, 0);
}

void PortmapClient::set_outside(std::optional<base::IpPort> to) {
  if (outside_ == to) return;
  outside_ = to;
  standing_.set(to ? 1 : 0);
  hooks_.on_change();
}

void PortmapClient::compute_deadline() {
  next_ = std::min(due_, look_at_);
  if (outside_) next_ = std::min(next_, expires_);
}

}  // namespace tunnel
