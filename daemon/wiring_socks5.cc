// The SOCKS5 proxy: which names and addresses lead where. A node of the mesh by its name or its overlay address, to a port that node
// opens to us; a service by name.namespace or an address of it, if mesh.socks5.services. Everything else is refused.
#include <algorithm>

#include "daemon/daemon.h"

namespace edgemeshd {

using base::IpAddr;
using base::IpPort;
using base::Result;
using base::kube::ObjectName;
using edgemesh::SocksCode;
using edgemesh::SocksProxy;
using edgemesh::SocksTarget;

static Result<std::optional<edgemesh::SocksUsers>> users_of(const std::string& file) {
  if (file.empty()) return std::nullopt;
  auto users = edgemesh::SocksUsers::read(file);
  if (!users) return base::fail_in("mesh.socks5.users", users.error());
  return std::optional(std::move(*users));
}

Result<void> Daemon::start_socks5() {
  const auto& s = config_.mesh.socks5;
  if (!s.enabled || !tunnel_) return {};
  EM_TRY_ASSIGN(auto users, users_of(s.users));
  SocksProxy::Config c;
  c.listen = {s.address.empty() ? config_.mesh.service_ip : IpAddr::parse(s.address).value_or(config_.mesh.service_ip), s.port};
  c.socket_mark = kSocketMark;
  c.connect_timeout = s.connect_timeout;
  c.idle_timeout = s.idle_timeout;
  c.connections_max = s.connections_max;
  edgemesh::NodePorts::Hooks ports;
  ports.request_export = [this](const std::string& peer, tunnel::ExportRequest r, auto done) {
    tunnel_->request_export(peer, std::move(r), std::move(done));
  };
  ports.release_export = [this](const std::string& peer, const tunnel::ExportRequest& r) { tunnel_->release_export(peer, r); };
  node_ports_ = std::make_unique<edgemesh::NodePorts>(std::move(ports), loop_);
  SocksProxy::Hooks hooks{[this](const SocksTarget& t, const IpAddr& client) { return socks_ways(t, client); }};
  EM_TRY_ASSIGN(socks_, SocksProxy::start(std::move(c), std::move(users), std::move(hooks), loop_, store_, metrics_));
  return {};
}

Result<void> Daemon::reload_socks5() {
  if (!socks_) return {};
  EM_TRY_ASSIGN(auto users, users_of(config_.mesh.socks5.users));
  socks_->set_users(std::move(users));
  return {};
}

static SocksProxy::Ways refusal(SocksCode code, std::string why) { return {{}, code, std::move(why)}; }

SocksProxy::Ways Daemon::socks_ways(const SocksTarget& t, const IpAddr& client) {
  if (t.name.empty()) {
    if (auto node = node_at(t.address.ip)) return node_way(*node, t.address.port);
    return service_ways(t.address, client);
  }
  if (is_node(t.name)) return node_way(t.name, t.address.port);
  auto service = config_.mesh.socks5.services ? service_named(t.name) : nullptr;
  if (!service) return refusal(SocksCode::host_unreachable, "no node of the mesh and no service has this name");
  if (service->cluster_ips.empty()) return refusal(SocksCode::host_unreachable, "the service has no address of its own");
  return service_ways({service->cluster_ips[0], t.address.port}, client);
}

// ---- nodes

bool Daemon::is_node(const std::string& name) const {
  return name == config_.node_name || builder_->table()->mesh_nodes().contains(name) || certified_.contains(name) ||
         std::any_of(config_.tunnel.relays.begin(), config_.tunnel.relays.end(), [&](const auto& r) { return r.name == name; });
}

std::optional<std::string> Daemon::node_at(const IpAddr& ip) const {
  const auto& own = tunnel_->overlay_ips();
  if (std::count(own.begin(), own.end(), ip)) return config_.node_name;
  for (const auto& [name, cidrs] : certified_)
    if (std::count(cidrs.begin(), cidrs.end(), base::Cidr::host(ip))) return name;
  for (const auto& [name, n] : builder_->table()->mesh_nodes())
    if (std::count(n.overlay_ips.begin(), n.overlay_ips.end(), ip)) return name;
  return std::nullopt;
}

SocksProxy::Ways Daemon::node_way(const std::string& node, uint16_t port) {
  SocksProxy::Way way{"node " + node, {}};
  if (node == config_.node_name) {
    if (!exporter_->is_open(node, port))
      return refusal(SocksCode::not_allowed, fmt::format("port {} is not in mesh.openPorts of this node", port));
    way.resolve = [at = IpPort{tunnel_->overlay_ips()[0], port}](SocksProxy::Resolved done) { done(SocksProxy::Place{at, nullptr}); };
  } else {
    way.resolve = [this, node, port](SocksProxy::Resolved done) {
      node_ports_->open(node, port, [done = std::move(done)](Result<edgemesh::NodePorts::Open> r) {
        if (!r) return done(tl::unexpected(r.error()));
        done(SocksProxy::Place{r->at, r->hold});
      });
    };
  }
  return {{std::move(way)}, SocksCode::failure, ""};
}

// ---- services

// name.namespace, name.namespace.svc, name.namespace.svc.<cluster domain>
base::kube::ServicePtr Daemon::service_named(std::string_view name) const {
  for (const std::string& end : {".svc." + config_.dns.cluster_domain, std::string(".svc")})
    if (name.ends_with(end)) {
      name.remove_suffix(end.size());
      break;
    }
  const size_t dot = name.find('.');
  if (dot == name.npos || name.find('.', dot + 1) != name.npos) return nullptr;
  return builder_->table()->find(ObjectName{std::string(name.substr(dot + 1)), std::string(name.substr(0, dot))});
}

SocksProxy::Ways Daemon::service_ways(const IpPort& frontend, const IpAddr& client) {
  const auto owner = config_.mesh.socks5.services ? discovery_->owner({frontend.ip, base::Proto::tcp, frontend.port}) : std::nullopt;
  if (!owner) return refusal(SocksCode::not_allowed, "neither a node of the mesh nor a port of a service");
  SocksProxy::Ways out{{}, SocksCode::refused, "service " + owner->str() + " has no endpoint"};
  for (auto& c : choices(frontend, base::Proto::tcp, client))
    out.ways.push_back({std::move(c.name), [resolve = std::move(c.resolve)](SocksProxy::Resolved done) {
                          resolve([done = std::move(done)](Result<IpPort> at) {
                            if (!at) return done(tl::unexpected(at.error()));
                            done(SocksProxy::Place{*at, nullptr});
                          });
                        }});
  return out;
}

}  // namespace edgemeshd
