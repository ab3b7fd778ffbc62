#include "edgemesh/discovery/exporter.h"

#include <algorithm>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "edgemesh/discovery/node_ports.h"

namespace edgemesh {

using base::Code;
using base::IpAddr;
using base::IpPort;
using base::Proto;
using base::Result;
using base::kube::ObjectName;
using tunnel::ExportGrant;
using tunnel::ExportRequest;

// Nothing listens on these ports: they exist only as keys of the exports map. Away from well-known ones for readability.
static constexpr uint16_t kFirstPort = 20'000, kPorts = 40'000;

Exporter::Exporter(std::string own_node, Hooks hooks, base::Metrics& m)
    : own_node_(std::move(own_node)),
      hooks_(std::move(hooks)),
      granted_(m.counter("edgemeshd_export_requests_granted_total", "Endpoints of this node opened for a peer.")),
      refused_(m.counter("edgemeshd_export_requests_refused_total", "Export requests of peers that were refused.")) {
  m.gauge_fn("edgemeshd_exports_open", "Endpoints of this node that peers can reach.", {}, [this] { return int64_t(exports_.size()); });
}

static ObjectName parse_name(const std::string& s) {
  size_t slash = s.find('/');
  return slash == std::string::npos ? ObjectName{"", s} : ObjectName{s.substr(0, slash), s.substr(slash + 1)};
}

bool Exporter::has_endpoint(const ExportRequest& r) const {
  auto service = table_ ? table_->find(parse_name(r.service)) : nullptr;
  if (!service) return false;
  for (const auto& port : service->ports)
    for (const auto& e : port.endpoints)
      if (port.proto == r.proto && e.node == own_node_ && e.ip == r.endpoint.ip && e.port == r.endpoint.port) return true;
  return false;
}

bool Exporter::is_open(const std::string& node, uint16_t port) const {
  return std::any_of(open_ports_.begin(), open_ports_.end(), [&](const OpenPort& o) {
    return o.port == port && (o.nodes.empty() || std::count(o.nodes.begin(), o.nodes.end(), node));
  });
}

Result<void> Exporter::may_have(const std::string& peer, const ExportRequest& r) const {
  if (r.service != kNodePortService) {
    if (has_endpoint(r)) return {};
    return base::fail(Code::not_found, "service {} has no endpoint {} on node {}", r.service, r.endpoint.str(), own_node_);
  }
  if (r.proto == Proto::tcp && is_open(peer, r.endpoint.port)) return {};
  return base::fail(Code::denied, "port {} of node {} is not open to node {} (mesh.openPorts there)", r.endpoint.port, own_node_, peer);
}

Result<ExportGrant> Exporter::on_request(const std::string& peer, const std::vector<IpAddr>& peer_overlay, const ExportRequest& r) {
  auto refuse = [&](Code code, std::string why) {
    refused_.add();
    EM_LOG(warn, "mesh", "export of {} ({}) refused to {}: {}", r.endpoint.str(), r.service, peer, why);
    return base::fail(code, "{}", why);
  };
  auto same_family = [&](const IpAddr& a) { return a.family() == r.endpoint.ip.family(); };
  auto own = std::find_if(own_overlay_.begin(), own_overlay_.end(), same_family);
  auto its = std::find_if(peer_overlay.begin(), peer_overlay.end(), same_family);
  if (own == own_overlay_.end() || its == peer_overlay.end()) return refuse(Code::unsupported, "no overlay address of that family at both ends");
  if (auto have = exports_.find({peer, r}); have != exports_.end()) return ExportGrant{IpPort{*own, have->second.port}};
  if (auto may = may_have(peer, r); !may) return refuse(may.error().code, may.error().what);
  auto of_peer = std::count_if(exports_.begin(), exports_.end(), [&](const auto& e) { return e.first.first == peer; });
  if (size_t(of_peer) >= base::limits::kExportsPerPeerMax) return refuse(Code::limit, "too many exports for this peer");

  // A port of the node itself: a server there that listens on all addresses has our overlay address too, one on loopback alone has not.
  const IpPort target{r.service == kNodePortService ? *own : r.endpoint.ip, r.endpoint.port};
  ExportRule rule{*its, r.proto, port_for(r.proto, target), target};
  bool shared = std::any_of(exports_.begin(), exports_.end(), [&](const auto& e) { return e.second == rule; });
  if (!shared)
    if (auto ok = hooks_.apply({in_kernel(rule)}, {}); !ok) {
      free_port_of(rule);
      return refuse(Code::io, "the kernel refused the rule: " + ok.error().what);
    }
  exports_[{peer, r}] = rule;
  granted_.add();
  return ExportGrant{IpPort{*own, rule.port}};
}

ExportRule Exporter::in_kernel(ExportRule rule) const {
  for (const IpPort& own : carriers_)
    if (own.ip.family() == rule.target.ip.family()) rule.target = own;
  return rule;
}

void Exporter::carry_by(std::vector<IpPort> own) {
  if (own == carriers_) return;
  std::vector<ExportRule> add, remove;
  for (const auto& [key, rule] : exports_) remove.push_back(in_kernel(rule));
  carriers_ = std::move(own);
  for (const auto& [key, rule] : exports_) add.push_back(in_kernel(rule));
  if (add.empty()) return;
  if (auto r = hooks_.apply(add, remove); !r) EM_LOG(error, "mesh", "the kernel refused to lead {} exports elsewhere: {}", add.size(), r.error().what);
}

std::optional<IpPort> Exporter::target_of(const IpAddr& peer_overlay, Proto proto, const IpPort& export_at) const {
  if (std::find(own_overlay_.begin(), own_overlay_.end(), export_at.ip) == own_overlay_.end()) return std::nullopt;
  for (const auto& [key, rule] : exports_)
    if (rule.peer_overlay == peer_overlay && rule.proto == proto && rule.port == export_at.port) return rule.target;
  return std::nullopt;
}

uint16_t Exporter::port_for(Proto proto, const IpPort& target) {
  if (auto it = ports_.find({proto, target}); it != ports_.end()) return it->second;
  size_t at = std::hash<IpPort>{}(target);
  for (size_t i = 0;; i++) {  // ends: exports are far fewer than ports
    uint16_t port = uint16_t(kFirstPort + (at + i) % kPorts);
    if (used_.try_emplace({target.ip.family(), proto, port}, target).second) return ports_[{proto, target}] = port;
  }
}

void Exporter::close(std::map<Key, ExportRule>::iterator it) {
  ExportRule rule = it->second;
  exports_.erase(it);
  bool shared = std::any_of(exports_.begin(), exports_.end(), [&](const auto& e) { return e.second == rule; });
  if (!shared)
    if (auto r = hooks_.apply({}, {in_kernel(rule)}); !r) EM_LOG(error, "mesh", "the kernel refused to close the export of {}: {}", rule.target.str(), r.error().what);
  free_port_of(rule);
}

void Exporter::free_port_of(const ExportRule& rule) {
  bool in_use = std::any_of(exports_.begin(), exports_.end(),
                            [&](const auto& e) { return e.second.target == rule.target && e.second.proto == rule.proto; });
  if (in_use) return;
  ports_.erase({rule.proto, rule.target});
  used_.erase({rule.target.ip.family(), rule.proto, rule.port});
}

void Exporter::on_released(const std::string& peer, const ExportRequest& r) {
  if (auto it = exports_.find({peer, r}); it != exports_.end()) close(it);
}

void Exporter::set_table(const base::kube::ServiceTablePtr& table, const base::kube::ServiceDiff& diff) {
  table_ = table;
  if (!table_->synced()) return;
  auto touched = [&](const std::string& service) {
    ObjectName n = parse_name(service);
    return std::binary_search(diff.changed.begin(), diff.changed.end(), n) || std::binary_search(diff.removed.begin(), diff.removed.end(), n);
  };
  std::vector<Key> gone;
  for (const auto& [key, rule] : exports_)
    if (touched(key.second.service) && !has_endpoint(key.second)) gone.push_back(key);
  for (const Key& k : gone) {
    close(exports_.find(k));
    hooks_.withdraw(k.first, k.second);
  }
}

}  // namespace edgemesh
