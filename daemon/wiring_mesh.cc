// The kernel's part of a call, first contact, and what decides about both.
#include <filesystem>

#include "base/core/log.h"
#include "daemon/daemon.h"

namespace edgemeshd {

using base::Cidr;
using base::IpAddr;
using base::IpPort;
using base::Result;
using base::kube::ObjectName;

// IPv6 twin of 169.254.96.16: a unique local address (RFC 4193) that every node has for itself.
static const IpAddr kServiceIp6 = *IpAddr::parse("fd65:6467:656d::16");

// ---- the kernel

std::vector<IpAddr> Daemon::service_ips() const {
  std::vector<IpAddr> ips{config_.mesh.service_ip};
  std::error_code ec;
  if (std::filesystem::exists("/proc/net/if_inet6", ec)) ips.push_back(kServiceIp6);
  return ips;
}

Result<void> Daemon::start_intercept() {
  if (!config_.mesh.enabled) return {};
  edgemesh::InterceptConfig c;
  c.tun = config_.mesh.device;
  c.service_ips = service_ips();
  c.overlay_cidrs = config_.mesh.overlay_cidrs;
  if (tunnel_) {
    c.overlay_ips = tunnel_->overlay_ips();
    for (const IpAddr& ip : c.overlay_ips)
      if (ip.is_v6()) c.overlay_cidrs.push_back(*Cidr::parse(ip.str() + "/64"));
  }
  if (config_.tunnel.native) c.own_pod_cidrs = config_.tunnel.pod_cidrs;
  c.proxy_port = kProxyPort;
  c.dns_port = config_.dns.port;
  c.socket_mark = kSocketMark;
  c.service_cidrs = config_.mesh.service_cidrs;
  EM_TRY_ASSIGN(intercept_, edgemesh::Intercept::install(std::move(c), metrics_));
  metrics_.gauge_fn("edgemeshd_round_robin_shared", "Round-robin frontends that share a kernel counter with another one.", {},
                    [this] { return int64_t(intercept_->shared_round_robin()); });
  EM_TRY_ASSIGN(links_, base::netlink::NetlinkMonitor::start(loop_, [this] {
    if (closed_host_) closed_host_->links_changed();
    if (auto r = intercept_->refresh_links(); !r) EM_LOG(error, "mesh", "links of the node changed: {}", r.error().what);
  }));
  return {};
}

// ---- first contact

Result<void> Daemon::start_proxy() {
  if (!config_.mesh.enabled) return {};
  edgemesh::L4Proxy::Config c;
  c.listen = service_ips();
  c.port = kProxyPort;
  c.socket_mark = kSocketMark;
  c.dial_budget = config_.mesh.proxy.dial_budget;
  c.idle_timeout = config_.mesh.proxy.idle_timeout;
  c.connections_max = config_.mesh.proxy.connections_max;
  edgemesh::L4Proxy::Hooks hooks{[this](const IpPort& frontend, const IpAddr& client) { return choices(frontend, base::Proto::tcp, client); },
                                 [this](const IpPort& dialled, std::optional<lb::Sign> failure) {
                                   if (health_) health_->on_dialled(dialled, failure);
                                 }};
  EM_TRY_ASSIGN(proxy_, edgemesh::L4Proxy::start(std::move(c), std::move(hooks), loop_, store_, metrics_));
  edgemesh::UdpHold::Hooks hold;
  hold.wanted = [this](const edgemesh::FrontendKey& key) {
    auto service = discovery_->owner(key);
    if (service) discovery_->interest(*service);
    return service.has_value();
  };
  hold.forget_flow = [this](const IpPort& client, const IpPort& frontend) {
    if (auto r = intercept_->forget_udp_flow(client, frontend); !r) EM_LOG(warn, "mesh", "conntrack: {}", r.error().what);
  };
  hold.write_tun = [this](base::ByteView packet) {
    if (tunnel_) tunnel_->write_tun(packet);
    else if (device_) device_->write_tun(packet);
  };
  hold.awaited = [this](const edgemesh::FrontendKey& key) { return loop_.now() - started_ < kPeersComeBackWithin && !discovery_->owner(key); };
  hold_ = std::make_unique<edgemesh::UdpHold>(std::move(hold), loop_, metrics_);
  return {};
}

Result<void> Daemon::start_relay() {
  if (!proxy_) return {};
  edgemesh::UdpRelay::Config c{.listen = service_ips(), .port = kProxyPort, .socket_mark = kSocketMark};
  edgemesh::UdpRelay::Hooks hooks{[this](const IpPort& frontend, const IpAddr& client) { return choices(frontend, base::Proto::udp, client); },
                                  [this](const IpPort& dialled) {
                                    if (health_) health_->on_dialled({dialled, base::Proto::udp}, lb::Sign::refused);
                                  }};
  EM_TRY_ASSIGN(udp_relay_, edgemesh::UdpRelay::start(std::move(c), std::move(hooks), loop_, store_, metrics_));
  return {};
}

// Own overlay addresses are dialled by peers: an export the daemon carries. Everything else is a frontend of ours.
std::vector<edgemesh::L4Proxy::Choice> Daemon::choices(const IpPort& frontend, base::Proto proto, const IpAddr& client) {
  std::vector<edgemesh::L4Proxy::Choice> out;
  if (auto target = exporter_->target_of(client, proto, frontend)) {
    out.push_back({target->str(), [at = *target](edgemesh::L4Proxy::Resolved done) { done(at); }});
    return out;
  }
  for (auto& c : discovery_->candidates(frontend, proto, client)) {
    std::string name = IpPort{c.endpoint.ip, c.endpoint.port}.str() + (c.endpoint.node.empty() ? "" : " on " + c.endpoint.node);
    out.push_back({std::move(name), [this, c](edgemesh::L4Proxy::Resolved done) { discovery_->resolve(c, std::move(done)); }});
  }
  return out;
}

// ---- discovery

void Daemon::watch_filters() {
  if (!intercept_) return;
  edgemesh::ClosedHost::Config c;
  c.tun = config_.mesh.device;
  c.service_ips = service_ips();
  if (tunnel_) c.overlay_ips = tunnel_->overlay_ips();
  c.service_cidrs = config_.mesh.service_cidrs;
  c.proxy_port = kProxyPort;
  c.dns_port = config_.dns.port;
  c.dns = config_.dns.enabled;
  c.open_input = config_.mesh.open_input;
  closed_host_ = std::make_unique<edgemesh::ClosedHost>(std::move(c), loop_, [this] {
    using Kind = edgemesh::ClosedPath::Kind;
    discovery_->set_through_daemon(closed_host_->has(Kind::clients));
    std::vector<IpPort> carriers;
    if (closed_host_->has(Kind::exports))
      for (const IpAddr& ip : service_ips()) carriers.push_back({ip, kProxyPort});
    exporter_->carry_by(std::move(carriers));
  });
  closed_host_->start();
}

static std::vector<ObjectName> object_names(const std::vector<std::string>& texts) {
  std::vector<ObjectName> names;
  for (const std::string& t : texts) {
    size_t slash = t.find('/');
    names.push_back(slash == std::string::npos ? ObjectName{"", t} : ObjectName{t.substr(0, slash), t.substr(slash + 1)});
  }
  return names;
}

bool Daemon::routed_off_host(const IpAddr& ip) const {
  auto path = base::netlink::path_to(ip);
  if (!path || path->local) return false;
  auto link = base::netlink::link(path->dev);
  return link && link->kind != "bridge" && !link->loopback && link->name != config_.mesh.device;
}

void Daemon::make_discovery() {
  make_health();
  edgemesh::Discovery::Config c;
  c.tiers.own_node = config_.node_name;
  c.tiers.own_network = config_.mesh.network;
  c.tiers.native = config_.tunnel.native;
  c.tiers.tunnel_enabled = tunnel_ != nullptr;
  c.tiers.routed_off_host = [this](const IpAddr& ip) { return routed_off_host(ip); };
  c.tiers.certified = [this](const std::string& peer) {
    auto it = certified_.find(peer);
    return it == certified_.end() ? std::vector<Cidr>{} : it->second;
  };
  c.node_ports = config_.mesh.node_ports;
  auto mode = config_.mesh.service_filter_mode == base::conf::ServiceFilterMode::if_label_exists ? base::kube::FilterMode::if_label_exists
                                                                                                 : base::kube::FilterMode::if_label_does_not_exist;
  c.is_proxied = [on = config_.mesh.intercept, mode, excluded = object_names(config_.mesh.exclude_services)](const base::kube::Service& s) {
    return on && base::kube::is_proxied(s, mode, excluded);
  };
  c.service_ips = service_ips();
  c.proxy_port = kProxyPort;
  if (health_) c.health = &health_->outliers();

  edgemesh::Discovery::Hooks h;
  h.apply = [this](const auto& changes) { return intercept_->apply(changes); };
  h.apply_first = [this](const auto& next) { return intercept_->apply_first(next); };
  h.apply_granted = [this](const auto& add, const auto& remove) { return intercept_->apply_granted(add, remove); };
  h.request_export = [this](const std::string& peer, tunnel::ExportRequest r, auto done) { tunnel_->request_export(peer, std::move(r), std::move(done)); };
  h.release_export = [this](const std::string& peer, const tunnel::ExportRequest& r) { tunnel_->release_export(peer, r); };
  h.on_ready = [this](const edgemesh::FrontendKey& key) { hold_->on_ready(key); };
  if (health_ && !check_rules_.empty()) h.on_programmed = [this](const ObjectName& name) { set_checked(name); };
  discovery_ = std::make_unique<edgemesh::Discovery>(std::move(c), std::move(h), loop_, metrics_);

  edgemesh::Exporter::Hooks e;
  e.apply = [this](const auto& add, const auto& remove) { return intercept_->apply_exports(add, remove); };
  e.withdraw = [this](const std::string& peer, const tunnel::ExportRequest& r) { tunnel_->withdraw_export(peer, r); };
  exporter_ = std::make_unique<edgemesh::Exporter>(config_.node_name, std::move(e), metrics_);
  std::vector<edgemesh::Exporter::OpenPort> open;
  for (const auto& o : config_.mesh.open_ports) open.push_back({o.port, o.nodes});
  exporter_->set_open_ports(std::move(open));
  if (tunnel_) exporter_->set_overlay(tunnel_->overlay_ips());
}

}  // namespace edgemeshd
