// What the name server is told by the configuration.
#include <fmt/ranges.h>

#include <algorithm>

#include "base/conf/dns_upstream.h"
#include "daemon/daemon.h"
#include "dns/upstream/mdns_link.h"

namespace edgemeshd {

using base::conf::DaemonConfig;
using base::conf::DnsPods;

static dns::PodNames pod_names(DnsPods p) {
  return p == DnsPods::disabled ? dns::PodNames::disabled : p == DnsPods::insecure ? dns::PodNames::insecure : dns::PodNames::verified;
}

// The configuration was checked: what is no server is not here.
static std::vector<dns::ServerAddress> servers(const std::vector<std::string>& texts) {
  using Kind = base::conf::DnsUpstream::Kind;
  std::vector<dns::ServerAddress> out;
  for (const std::string& t : texts) {
    auto u = base::conf::parse_dns_upstream(t);
    if (!u) continue;
    auto kind = u->kind == Kind::plain ? dns::ServerAddress::Kind::plain : u->kind == Kind::tls ? dns::ServerAddress::Kind::tls : dns::ServerAddress::Kind::https;
    out.emplace_back(kind, u->at, u->name, u->path);
  }
  return out;
}

static dns::UpstreamConfig upstream_config(const base::conf::DnsConfig& from) {
  dns::UpstreamConfig c;
  c.servers = servers(from.upstreams);
  for (auto& d : from.stub_domains)
    if (auto zone = dns::Name::from_text(d.name)) c.zones.push_back({*zone, servers(d.upstreams)});
  if (!from.mdns_interfaces.empty())
    c.zones.push_back({*dns::Name::from_text("local"),
                       {dns::ServerAddress(dns::ServerAddress::Kind::mdns, dns::kMdnsGroup,
                                           fmt::format("{}", fmt::join(from.mdns_interfaces, ",")), "")}});
  c.ca_file = from.upstream_ca;
  c.cache_bytes_max = from.cache.count;
  return c;
}

static uint32_t whole_seconds(base::Duration d) { return uint32_t(std::chrono::duration_cast<std::chrono::seconds>(d).count()); }

static dns::LocalConfig local_config(const base::conf::DnsConfig& from) {
  dns::LocalConfig c;
  for (auto& h : from.hosts) c.hosts.push_back({h.address, h.names});
  for (auto& r : from.rewrites) c.rewrites.push_back({r.from, r.to, r.match == base::conf::RewriteMatch::suffix});
  for (auto& z : from.zones) {
    dns::LocalZone zone{z.name, whole_seconds(z.ttl), z.fallthrough, {}};
    for (auto& line : z.records)
      if (auto r = base::conf::parse_dns_record(line)) zone.records.push_back(std::move(*r));
    c.zones.push_back(std::move(zone));
  }
  return c;
}

dns::DnsConfig Daemon::dns_config(const DaemonConfig& from) {
  dns::DnsConfig c;
  c.addresses = service_ips();
  c.port = from.dns.port;
  c.zone.cluster_domain = from.dns.cluster_domain;
  c.zone.ttl = whole_seconds(from.dns.ttl);
  c.zone.pods = pod_names(from.dns.pods);
  c.zone.server_addresses = c.addresses;
  c.upstream = upstream_config(from.dns);
  c.upstream.wall = [this] { return clock_.for_servers(); };
  c.local = local_config(from.dns);
  for (auto& d : from.dns.autopath_domains)
    if (auto n = dns::Name::from_text(d)) c.search_domains.push_back(*n);
  c.cluster_upstreams = from.dns.cluster_upstreams == base::conf::DnsClusterUpstreams::auto_;
  c.search_paths = from.dns.autopath != base::conf::DnsAutopath::none;
  c.rate = {from.dns.rate_limit.per_second, from.dns.rate_limit.truncate_every};
  c.cache_file = cache_file();
  c.tap = {from.dns.log_every, from.dns.tap_every, from.dns.tap_socket, from.dns.tap_file, from.node_name};
  return c;
}

// The cluster's own DNS: by the names that it goes by, else by its label.
static base::kube::ServicePtr cluster_dns(const base::kube::ServiceTable& table) {
  for (const char* name : {"kube-dns", "coredns"})
    if (auto s = table.find({"kube-system", name}); s && s->kind == base::kube::Service::Kind::cluster_ip) return s;
  base::kube::ServicePtr found;
  table.each_id([&](const base::kube::ObjectName& id, base::kube::Service::Kind k) {
    if (found || id.ns != "kube-system" || k != base::kube::Service::Kind::cluster_ip) return;
    auto s = table.find(id);
    const auto label = s->labels.find("k8s-app");
    if (label != s->labels.end() && label->second == "kube-dns") found = std::move(s);
  });
  return found;
}

// Where it answers over UDP. None where it leads back to this server.
static std::vector<base::IpPort> addresses_of(const base::kube::Service& s, const std::vector<base::IpAddr>& own) {
  std::vector<base::IpPort> out;
  for (auto& p : s.ports) {
    if (p.proto != base::Proto::udp) continue;
    for (auto& e : p.endpoints)
      if (std::ranges::find(own, e.ip) != own.end()) return {};
    for (auto& ip : s.cluster_ips) out.push_back({ip, p.port});
  }
  return out;
}

void Daemon::follow_cluster_dns(const base::kube::ServiceDiff* diff) {
  if (!dns_) return;
  auto concerns = [](const base::kube::ObjectName& n) { return n.ns == "kube-system"; };
  if (diff && !std::ranges::any_of(diff->changed, concerns) && !std::ranges::any_of(diff->removed, concerns)) return;
  const auto s = cluster_dns(*builder_->table());
  dns_->set_cluster_upstreams(s ? addresses_of(*s, service_ips()) : std::vector<base::IpPort>{});
}

// At the end of the turn: objects come by the hundred.
void Daemon::follow_routed_names() {
  if (!dns_ || !host_names_.is_dirty()) return;
  if (!routed_names_) routed_names_ = loop_.timer([this] { dns_->set_routed_names(host_names_.list(config_.dns.routed_domains)); });
  if (!routed_names_->armed()) routed_names_->arm(base::Duration{0});
}

}  // namespace edgemeshd
