#include "dns/server/dns_server.h"

#include <algorithm>
#include <utility>

#include "base/core/log.h"
#include "base/net/socket.h"
#include "dns/zone/service_records.h"

namespace dns {

using base::IpPort;

static Name cluster_zone(const DnsConfig& c) {
  Name n = Name::from_text(c.zone.cluster_domain).value_or(Name());
  n.make_lower();
  return n;
}

// The cluster's own DNS is asked for other names beside the rest, and early alone for the cluster's (Responder::set_asked_early).
static UpstreamConfig upstream_config(const DnsConfig& c, const std::vector<IpPort>& of_cluster, bool early) {
  UpstreamConfig u = c.upstream;
  for (auto& a : c.addresses) {
    u.own.push_back({a, c.port});
    if (a.is_any()) u.own.push_back({*base::IpAddr::parse(a.is_v4() ? "127.0.0.1" : "::1"), c.port});
  }
  std::vector<ServerAddress> of_zone;
  if (c.cluster_upstreams)
    for (auto& at : of_cluster)
      if (std::ranges::find(u.own, at) == u.own.end()) of_zone.emplace_back(at);
  u.servers.insert(u.servers.end(), of_zone.begin(), of_zone.end());
  if (auto zone = cluster_zone(c); early && !of_zone.empty() && std::ranges::none_of(u.zones, [&](auto& z) { return z.zone == zone; }))
    u.zones.push_back({zone, of_zone});
  return u;
}

static ZoneConfig zone_config(const DnsConfig& c) {
  ZoneConfig z = c.zone;
  for (auto& a : c.addresses)
    if (!a.is_any()) z.server_addresses.push_back(a);
  return z;
}

base::Result<void> DnsServer::check(const DnsConfig& c) {
  if (c.addresses.empty()) return base::fail(base::Code::invalid, "dns: no address to listen on; set at least one");
  if (c.udp_payload_max < kUdpMin || c.udp_payload_max > 4096)
    return base::fail(base::Code::invalid, "dns: UDP payload {} is out of range; use 512 to 4096", c.udp_payload_max);
  if (c.zone.ttl > 3600) return base::fail(base::Code::invalid, "dns: ttl {} is out of range; use 0 to 3600 seconds", c.zone.ttl);
  auto n = Name::from_text(c.zone.cluster_domain);
  if (!n || n->size() == 1 || n->size() > 120) return base::fail(base::Code::invalid, "dns: clusterDomain \"{}\" is not a domain name; the usual one is cluster.local", c.zone.cluster_domain);
  EM_TRY(Upstream::check(c.upstream));
  auto local = LocalNames::make(c.local, 0);
  return local ? base::Result<void>() : base::Result<void>(tl::unexpected(local.error()));
}

base::Result<std::unique_ptr<DnsServer>> DnsServer::start(base::Loop& loop, base::SocketStore& store, base::Rng& rng, base::Metrics& m, DnsConfig c, DnsHooks h) {
  EM_TRY(check(c));
  std::unique_ptr<DnsServer> s(new DnsServer(loop, store, rng, m, std::move(c), std::move(h)));
  EM_TRY_ASSIGN(auto sockets, s->open(s->config_));
  s->upstream_ = std::make_unique<Upstream>(loop, rng, m, upstream_config(s->config_, {}, true));
  s->keep_cache();
  s->build_zone();
  s->listen(std::move(sockets));
  return s;
}

DnsServer::DnsServer(base::Loop& l, base::SocketStore& st, base::Rng& r, base::Metrics& m, DnsConfig c, DnsHooks h)
    : loop_(l),
      store_(st),
      rng_(r),
      metrics_(m),
      config_(std::move(c)),
      hooks_(std::move(h)),
      watch_(l.now()),
      let_go_(l.timer([this] { let_go(); })),
      names_(m.gauge("edgemeshd_dns_zone_names", "Names the zone answers for.")),
      connections_(m.gauge("edgemeshd_dns_tcp_connections", "Open TCP connections of clients.")) {
  rng_.fill(cookie_secret_);
}

DnsServer::~DnsServer() {
  udp_.clear();  // before what they answer from
  tcp_.clear();
  keeper_.reset();
  upstream_.reset();
}

base::Result<DnsServer::Sockets> DnsServer::open(const DnsConfig& c) {
  Sockets out;
  for (size_t i = 0; i < c.addresses.size(); i++) {
    IpPort at{c.addresses[i], c.port};
    if (keep(at, c.udp_payload_max, out)) continue;
    base::SocketOptions o{.freebind = true, .recv_buffer = 4 << 20, .packet_info = at.ip.is_any()};
    auto udp = store_.acquire(fmt::format("dns-udp-{}", i), [&] { return base::udp_socket(at, o); });
    if (!udp) return base::fail_in("dns", udp.error());
    if (!at.port) at.port = base::local_address(udp->get()).value_or(at).port;  // tests: any port, the same for both
    base::SocketOptions t{.freebind = true, .backlog = 512};
    auto tcp = store_.acquire(fmt::format("dns-tcp-{}", i), [&] { return base::tcp_listen(at, t); });
    for (int again = 0; !tcp && !c.port && again < 16; again++) {  // the port UDP was given is somebody's TCP port: another one
      if (udp = base::udp_socket({at.ip, 0}, o); !udp) break;
      at.port = base::local_address(udp->get()).value_or(at).port;
      tcp = base::tcp_listen(at, t);
    }
    if (!udp) return base::fail_in("dns", udp.error());
    if (!tcp) return base::fail_in("dns", tcp.error());
    out.udp.push_back(std::move(*udp));
    out.tcp.push_back(std::move(*tcp));
    out.kept.push_back(kNone);
  }
  return out;
}

// A reload goes on with the listeners of addresses that stay: no query is lost and no connection is closed.
bool DnsServer::keep(const IpPort& at, size_t udp_payload_max, Sockets& out) const {
  const auto it = std::find(listening_.begin(), listening_.end(), at);
  const size_t i = size_t(it - listening_.begin());
  if (it == listening_.end() || udp_payload_max != config_.udp_payload_max || std::ranges::find(out.kept, i) != out.kept.end())
    return false;
  out.udp.emplace_back();
  out.tcp.emplace_back();
  out.kept.push_back(i);
  return true;
}

static constexpr auto kLetGoEvery = std::chrono::milliseconds(500);

// What waits for an upstream is answered by what asked for it.
void DnsServer::retire() {
  if (!responder_ || !responder_->is_waiting()) return;
  responder_->retire();
  retired_.push_back({std::move(index_), std::move(responder_)});
  let_go_->arm(kLetGoEvery);
}

void DnsServer::let_go() {
  std::erase_if(retired_, [](const Retired& r) { return !r.responder->is_waiting(); });
  if (!retired_.empty()) let_go_->arm(kLetGoEvery);
}

base::Result<void> DnsServer::reload(DnsConfig c) {
  EM_TRY(check(c));
  auto sockets = open(c);
  if (!sockets) {
    keep_for_successor(c.addresses.size());
    return tl::unexpected(sockets.error());
  }
  config_ = std::move(c);
  upstream_->reload(upstream_config(config_, cluster_upstreams_, is_early()));
  retire();
  build_zone();
  const size_t before = listening_.size();
  listen(std::move(*sockets));
  keep_for_successor(before);
  return {};
}

// Names go by place in the list: after a reload each leads to the socket that is there now, and those of before are closed.
void DnsServer::keep_for_successor(size_t before) {
  for (size_t i = 0; i < std::max(before, listening_.size()); i++) {
    store_.keep(fmt::format("dns-udp-{}", i), i < udp_.size() ? udp_[i]->fd() : -1);
    store_.keep(fmt::format("dns-tcp-{}", i), i < tcp_.size() ? tcp_[i]->fd() : -1);
  }
}

void DnsServer::listen(Sockets s) {
  auto udp = std::exchange(udp_, {});
  auto tcp = std::exchange(tcp_, {});
  auto listening = std::exchange(listening_, {});
  auto before = std::exchange(responder_, nullptr);  // read from no more once the listeners have the next
  if (config_.tap != tapped_) {
    tap_.reset();  // one file, one writer
    tap_ = QueryTap::make(config_.tap, metrics_);
    tapped_ = config_.tap;
  }
  if (config_.rate != rated_) {
    rate_ = config_.rate.per_second ? std::make_unique<RateLimit>(config_.rate, rng_.u64()) : nullptr;
    rated_ = config_.rate;
  }
  Responder::Hooks hooks{.on_service_query = hooks_.on_service_query,
                         .search_namespace = {},
                         .watch = &watch_,
                         .tap = tap_.get(),
                         .cookie_secret = cookie_secret_,
                         .local = local_.get(),
                         .rate = rate_.get()};
  hooks.tcp_idle = config_.tcp.idle;
  hooks.search_domains = config_.search_domains;
  if (config_.search_paths) hooks.search_namespace = hooks_.search_namespace;
  responder_ = std::make_unique<Responder>(loop_, metrics_, *index_, *upstream_, std::move(hooks), config_.udp_payload_max);
  responder_->set_routed(routed_.get());
  ask_early();
  for (size_t i = 0; i < s.udp.size(); i++) {
    if (const size_t k = s.kept[i]; k != kNone) {
      listening_.push_back(listening[k]);
      udp_.push_back(std::move(udp[k]));
      tcp_.push_back(std::move(tcp[k]));
      udp_.back()->serve_by(*responder_);
      tcp_.back()->serve_by(*responder_);
      continue;
    }
    listening_.push_back(base::local_address(s.udp[i].get()).value_or(IpPort{config_.addresses[i], config_.port}));
    udp_.push_back(std::make_unique<UdpListener>(loop_, std::move(s.udp[i]), *responder_, config_.addresses[i].is_any()));
    tcp_.push_back(std::make_unique<TcpListener>(loop_, std::move(s.tcp[i]), *responder_, connections_, config_.tcp));
  }
}

void DnsServer::stop_reading() {
  for (auto& u : udp_) u->stop_reading();
  for (auto& t : tcp_) t->stop_accepting();
}

void DnsServer::keep_cache() {
  const UpstreamConfig& u = config_.upstream;
  keeper_ = std::make_unique<CacheKeeper>(loop_, upstream_->cache(), metrics_, config_.cache_file, u.stale_max);
  keeper_->load();
}

void DnsServer::save_cache() { keeper_->write_now(); }

void DnsServer::leave_cache() { keeper_->stop(); }

// ---- the zone

void DnsServer::build_zone() {
  ZoneConfig z = zone_config(config_);
  builder_ = std::make_unique<ZoneBuilder>(z, hooks_.endpoint_addresses);
  index_ = std::make_unique<ZoneIndex>(z, rng_.u64(), hooks_.pod_exists);
  index_->apply(builder_->whole(table_));
  local_ = config_.local.empty() ? nullptr : std::move(LocalNames::make(config_.local, rng_.u64())).value_or(nullptr);
  show_sizes();
}

void DnsServer::set_table(base::kube::ServiceTablePtr table, const base::kube::ServiceDiff& diff) {
  bool first = !table_;
  const bool early = is_early();
  table_ = std::move(table);
  index_->apply(first ? builder_->whole(table_) : builder_->apply(table_, diff));
  show_sizes();
  if (early == is_early() || cluster_upstreams_.empty()) return;
  upstream_->reload(upstream_config(config_, cluster_upstreams_, is_early()));
  ask_early();
}

void DnsServer::endpoints_moved(const std::vector<base::kube::ObjectName>& ids) {
  if (!table_) return;
  index_->apply(builder_->again(ids));
  show_sizes();
}

static constexpr size_t kWildcardsMax = 64;  // each is looked at for every name outside

// A name that is none, or a wildcard too many, is left out: the others stand.
void DnsServer::set_routed_names(const std::vector<base::kube::HostName>& names) {
  LocalConfig c;
  c.host_ttl = config_.zone.ttl;
  for (auto& n : names) {
    const bool wild = n.host.starts_with("*.");
    const std::string name = wild ? n.host.substr(2) : n.host;
    if (!Name::from_text(name) || (wild && c.zones.size() == kWildcardsMax)) {
      EM_LOG(warn, "dns", "host name {} of a route or gateway is left out: {}", n.host,
             wild ? "there are too many with *" : "it is no domain name");
      continue;
    }
    if (wild) c.zones.push_back({name, config_.zone.ttl, true, {}});
    for (auto& a : n.addresses) {
      if (wild) c.zones.back().records.push_back({.name = "*", .type = a.is_v4() ? "A" : "AAAA", .data = {a.str()}});
      else c.hosts.push_back({a, {name}, false});
    }
  }
  auto next = LocalNames::make(c, rng_.u64());
  if (!next) {
    EM_LOG(warn, "dns", "host names of routes and gateways: {}: those of before stay", next.error().what);
    return;
  }
  responder_->set_routed(nullptr);
  routed_ = c.empty() ? nullptr : std::move(*next);
  responder_->set_routed(routed_.get());
}

void DnsServer::set_cluster_upstreams(std::vector<IpPort> at) {
  if (at == cluster_upstreams_) return;
  cluster_upstreams_ = std::move(at);
  if (config_.cluster_upstreams) upstream_->reload(upstream_config(config_, cluster_upstreams_, is_early()));
  ask_early();
}

bool DnsServer::is_early() const { return !table_ || !table_->synced(); }

void DnsServer::ask_early() {
  const bool known = is_early() && config_.cluster_upstreams && !cluster_upstreams_.empty();
  responder_->set_asked_early(known ? std::string(cluster_zone(config_).key()) : std::string());
}

void DnsServer::show_sizes() { names_.set(int64_t(index_->names())); }

std::vector<IpPort> DnsServer::listening() const { return listening_; }

}  // namespace dns
