// The tunnel and the TUN: from the configuration, from MeshNodes, and what the kernel learns of peers.
#include <algorithm>
#include <thread>

#include "base/core/log.h"
#include "daemon/daemon.h"

namespace edgemeshd {

using base::Cidr;
using base::IpAddr;
using base::IpPort;
using base::Result;

tunnel::Tunnel::Hooks Daemon::tunnel_hooks() {
  return {.on_export_request = [this](const std::string& peer, const std::vector<IpAddr>& overlay,
                                      const tunnel::ExportRequest& r) { return exporter_->on_request(peer, overlay, r); },
          .on_export_released = [this](const std::string& peer, const tunnel::ExportRequest& r) { exporter_->on_released(peer, r); },
          .on_grant_withdrawn = [this](const std::string& peer, const tunnel::ExportRequest& r) { discovery_->on_grant_withdrawn(peer, r); },
          .on_peer = [this](const std::string& peer, bool up, const std::vector<Cidr>& certified) { on_peer(peer, up, certified); },
          .on_inner_mtu = [this](const std::string& peer, uint16_t mtu) { on_inner_mtu(peer, mtu); },
          .on_stray = [this](base::ByteVec packet) { on_stray(std::move(packet)); }};
}

static size_t worker_count(uint32_t configured) {
  if (configured) return configured;
  unsigned cores = std::thread::hardware_concurrency();
  return cores <= 2 ? 1 : cores;
}

Result<void> Daemon::start_tunnel() {
  if (!config_.mesh.enabled) return {};
  if (!config_.tunnel.enabled) {
    tunnel::DataPlane::Config only_device{.tun = config_.mesh.device};
    tunnel::DataPlaneHooks hooks;
    hooks.on_stray = [this](base::ByteVec packet) { on_stray(std::move(packet)); };
    EM_TRY_ASSIGN(device_, tunnel::DataPlane::start(only_device, hooks, loop_, store_, metrics_));
    return {};
  }
  const auto& t = config_.tunnel;
  tunnel::Tunnel::Config c;
  c.node = config_.node_name;
  c.tun = config_.mesh.device;
  c.udp_port = t.port;
  c.signal_port = t.signal_port;
  c.cert_file = t.identity.cert;
  c.key_file = t.identity.key;
  c.ca_file = t.identity.ca;
  c.deny_file = t.identity.deny_list;
  c.state_dir = config_.data_dir;
  c.clock = &clock_;
  c.disk = &disk_;
  c.offline_grace = std::chrono::duration_cast<std::chrono::seconds>(t.identity.offline_grace);
  c.psk_files = t.psk.files;
  c.advertise = t.advertise;
  for (const auto& r : t.relays) {
    auto address = IpPort::parse(r.address);
    if (!address) return base::fail(base::Code::invalid, "{}: tunnel.relays: \"{}\" is not an address and port", config_path_, r.address);
    c.relays.push_back({r.name, *address});
  }
  c.serve_relay = t.relay.enabled;
  c.relay_tcp_port = t.relay.tcp_port;
  if (!t.proxy.empty()) {
    auto proxy = IpPort::parse(t.proxy);
    if (!proxy) return base::fail(base::Code::invalid, "{}: tunnel.proxy: \"{}\" is not an address and port", config_path_, t.proxy);
    c.proxy = *proxy;
  }
  c.relay_bytes_per_s_per_node = t.relay.bandwidth.count;
  c.direct = t.direct_enabled;
  c.punch = {t.punch.plain, t.punch.fresh_ports, t.punch.predict, t.punch.birthday, t.punch.birthday_sockets};
  c.session_idle = t.session_idle;
  c.lan_discovery = t.lan_discovery;
  c.port_mapping = t.port_mapping;
  c.upnp = t.upnp;
  c.rekey_after = t.rekey_after;
  c.native = t.native;
  c.own_pod_cidrs = t.pod_cidrs;
  c.interfaces_include = t.interfaces.include;
  c.interfaces_exclude = t.interfaces.exclude;
  c.socket_mark = kSocketMark;
  c.workers = worker_count(config_.workers);
  EM_TRY_ASSIGN(tunnel_, tunnel::Tunnel::start(std::move(c), tunnel_hooks(), loop_, store_, rng_, metrics_));
  return {};
}

void Daemon::update_peers() {
  if (!tunnel_) return;
  std::vector<tunnel::PeerHint> hints;
  for (const auto& [name, n] : builder_->table()->mesh_nodes()) {
    if (name == config_.node_name) continue;
    bool relay = std::count(n.roles.begin(), n.roles.end(), "relay");
    hints.push_back({name, n.overlay_ips, n.advertise, n.pod_cidrs, relay, n.revoked});
  }
  tunnel_->set_peers(std::move(hints));
}

void Daemon::on_peer(const std::string& peer, bool up, const std::vector<Cidr>& certified) {
  auto say = [&](const Result<void>& r) {
    if (!r) EM_LOG(error, "mesh", "routes to node {}: {}", peer, r.error().what);
  };
  auto before = std::exchange(certified_[peer], up ? certified : std::vector<Cidr>{});
  if (!up) certified_.erase(peer);
  if (!intercept_) return;
  if (before != certified) {
    if (!before.empty()) say(intercept_->remove_peer_routes(before));
    if (up) say(intercept_->add_peer_routes(certified));
  }
  if (config_.tunnel.native) {
    std::vector<Cidr> native;
    for (const auto& [name, cidrs] : certified_)
      for (const Cidr& c : cidrs)
        if (c.len != (c.ip.is_v4() ? 32 : 128)) native.push_back(c);
    say(intercept_->set_native_peers(native));
  }
  if (!discovery_) return;
  discovery_->on_peer(peer, up);
  if (config_.tunnel.native) headless_moved();
}

void Daemon::on_inner_mtu(const std::string& peer, uint16_t mtu) {
  auto known = certified_.find(peer);
  if (!intercept_ || known == certified_.end()) return;
  if (auto r = intercept_->set_peer_mtu(known->second, mtu); !r) EM_LOG(error, "mesh", "MTU of routes to node {}: {}", peer, r.error().what);
}

void Daemon::on_stray(base::ByteVec packet) {
  if (hold_) hold_->on_stray(std::move(packet));
}

}  // namespace edgemeshd
