// Who talks to whom. The order of start() is the order of a call's way: objects, tunnel (wiring_tunnel.cc), kernel and proxy
// (wiring_mesh.cc), DNS. Restarts are in restart.cc.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/wall_clock.h"
#include "daemon/daemon.h"

namespace edgemeshd {

using base::IpAddr;
using base::IpPort;
using base::Result;
using base::UniqueFd;
using base::conf::DaemonConfig;
using base::kube::ObjectName;
using namespace std::chrono_literals;

const char* const kVersion = EDGEMESH_VERSION;

static constexpr auto kDrainMax = 5s;
static constexpr size_t kManyServices = 256;  // in one table: more memory was needed for a moment than will be again

Daemon::Daemon(DaemonConfig config, std::string path, base::Loop& loop)
    : config_(std::move(config)),
      config_path_(std::move(path)),
      loop_(loop),
      started_(loop.now()),
      clock_({[this] { return loop_.now(); }, base::wall_now, base::build_day(), config_.data_dir + "/trusted-time", &disk_}, metrics_),
      pod_search_(config_.node_name) {}

Daemon::~Daemon() = default;

Result<std::unique_ptr<Daemon>> Daemon::start(DaemonConfig config, std::string config_path, base::Loop& loop) {
  std::unique_ptr<Daemon> d(new Daemon(std::move(config), std::move(config_path), loop));
  base::set_log_level(d->config_.log_level);
  d->store_.adopt_environment();
  d->predecessor_ = Predecessor::found(d->store_);
  EM_TRY(d->prepare_directories());
  Result<void> up = d->take_over();
  if (up) up = d->start_tunnel();
  if (up) up = d->start_intercept();
  if (up) up = d->start_proxy();
  if (up) up = d->start_relay();
  if (up) up = d->start_socks5();
  if (up) up = d->start_dns();
  if (up) up = d->start_admin();
  if (!up) {
    if (d->intercept_) d->intercept_->remove();
    return tl::unexpected(up.error());
  }
  d->make_discovery();
  d->watch_filters();
  d->start_source();
  d->store_.close_unclaimed();
  d->follow_up();
  EM_LOG(info, "daemon", "edgemeshd {} on node {} is up: objects from {}", kVersion, d->config_.node_name, base::kube::describe(d->config_.source));
  return d;
}

// ---- files

static Result<void> make_directory(const std::string& path, const char* key) {
  std::error_code ec;
  std::filesystem::create_directories(path, ec);
  if (ec) return base::fail(base::Code::io, "{}: {}: {}: create it, or set another {}", key, path, ec.message(), key);
  return {};
}

Result<void> Daemon::prepare_directories() {
  EM_TRY(make_directory(config_.data_dir, "dataDir"));
  EM_TRY(make_directory(config_.run_dir, "runDir"));
  if (predecessor_) {  // the lock goes with the open file
    lock_ = store_.take("lock");
    if (lock_) return {};
  }
  std::string path = config_.run_dir + "/edgemeshd.lock";
  lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return base::fail_errno(errno, path);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return base::fail(base::Code::exists, "{}: another edgemeshd runs with this runDir: stop it, or give this one its own runDir", path);
  return {};
}

// ---- objects

void Daemon::start_source() {
  builder_ = base::kube::make_service_table_builder(loop_);
  builder_->on_change([this](const base::kube::ServiceTablePtr& t, const base::kube::ServiceDiff& d) { on_table(t, d); });
  builder_->on_pod(
      [this](const base::kube::PackedObject& before, const base::kube::PackedObject& after) { pod_search_.changed(before, after); });
  builder_->on_hosts([this](const base::kube::PackedObject& before, const base::kube::PackedObject& after) {
    host_names_.changed(before, after);
    follow_routed_names();
  });
  source_ =
      base::kube::make_source(loop_, rng_, metrics_, config_.source, config_.node_name, config_.mesh.enabled ? kSocketMark : 0, clock_);
  follow_optional();
  if (!start_snapshot()) return source_->start(*snapshot_);
  loop_.post([this] {  // reading thousands of manifests takes a second: what the snapshot holds is served first
    if (source_) source_->start(*snapshot_);
  });
}

void Daemon::on_table(const base::kube::ServiceTablePtr& table, const base::kube::ServiceDiff& diff) {
  if (diff.nodes_changed) update_peers();
  exporter_->set_table(table, diff);
  if (intercept_) {  // before DNS, which asks it for the addresses of remote endpoints; and what a name leads to is there before the name
    discovery_->set_table(table, diff);
    discovery_->flush();
  }
  if (dns_) dns_->set_table(table, diff);
  follow_cluster_dns(&diff);
  host_names_.set_table(table, diff);
  follow_routed_names();
  if (diff.nodes_changed) headless_moved();
  if (diff.changed.size() + diff.removed.size() < kManyServices) return;
  if (!give_back_) give_back_ = loop_.timer([] { base::give_back_memory(); });
  give_back_->arm(500ms);  // once the kernel has it all
}

void Daemon::headless_moved() {
  std::vector<ObjectName> names;
  builder_->table()->each_id([&](const ObjectName& n, base::kube::Service::Kind k) {
    if (k == base::kube::Service::Kind::headless) names.push_back(n);
  });
  if (dns_ && !names.empty()) dns_->endpoints_moved(names);
}

// ---- DNS

static std::chrono::seconds whole_seconds(base::Duration d) { return std::chrono::duration_cast<std::chrono::seconds>(d); }

Result<void> Daemon::start_dns() {
  if (!config_.dns.enabled) return {};
  dns::DnsHooks hooks;
  hooks.on_service_query = [this](const ObjectName& name) {
    if (discovery_ && intercept_) discovery_->interest(name);
  };
  hooks.endpoint_addresses = [this](const base::kube::Service& s, const base::kube::Endpoint& e) {
    return discovery_ && intercept_ ? discovery_->addresses_for(s, e) : std::vector<IpAddr>{e.ip};
  };
  hooks.pod_exists = [this](std::string_view ns, const IpAddr& ip) { return pods_.exists(*builder_->table(), ns, ip); };
  hooks.search_namespace = [this](const IpAddr& client) { return pod_search_.namespace_of(client); };
  EM_TRY_ASSIGN(dns_, dns::DnsServer::start(loop_, store_, rng_, metrics_, dns_config(config_), std::move(hooks)));
  return {};
}

void Daemon::follow_optional() {
  pod_search_.choose(config_.dns.autopath);
  source_->follow_pods(config_.dns.enabled && config_.dns.autopath != base::conf::DnsAutopath::none);
  source_->follow_hosts(config_.dns.enabled && !config_.dns.routed_domains.empty());
}

// ---- admin

Result<void> Daemon::start_admin() {
  EM_TRY_ASSIGN(admin_, Admin::start(config_.admin.address, config_.admin.socket, admin_hooks(), loop_, store_, metrics_));
  return {};
}

AdminHooks Daemon::admin_hooks() {
  AdminHooks h;
  h.status = [this] { return status(); };
  h.table = [this] { return builder_->table(); };
  h.explain = [this](const ObjectName& n) { return explain(n); };
  h.peers = [this] { return tunnel_ ? tunnel_->peers() : std::vector<tunnel::PeerView>{}; };
  h.lan = [this] { return tunnel_ ? std::optional(tunnel_->lan()) : std::nullopt; };
  h.nat = [this] { return tunnel_ ? std::optional(tunnel_->nat()) : std::nullopt; };
  h.paths = [this] { return tunnel_ ? tunnel_->paths() : std::vector<tunnel::PathView>{}; };
  h.ping = [this](const std::string& node, auto done) {
    if (!tunnel_) return done(base::fail(base::Code::unavailable, "the tunnel is off: set tunnel.enabled"), "");
    tunnel_->ping(node, std::move(done));
  };
  if (dns_) {
    h.dns.lookup = [this](const std::string& name, const std::string& type, auto done) { dns_->lookup(name, type, std::move(done)); };
    h.dns.cache = [this](const std::string& under, size_t most) { return dns_->cache_view(under, most); };
    h.dns.upstreams = [this] { return DnsUpstreamsView{dns_->upstream().view(), dns_->upstream().in_flight()}; };
    h.dns.top = [this](size_t most) { return dns_->top(most); };
  }
  h.reload = [this] { return reload(); };
  h.handover = [this] { return hand_over(); };
  return h;
}

edgemesh::Explanation Daemon::explain(const ObjectName& name) const {
  auto x = discovery_->explain(name);
  if (closed_host_)
    for (const auto& p : closed_host_->paths()) x.note += (x.note.empty() ? "" : "; ") + p.text();
  return x;
}

StatusView Daemon::status() const {
  StatusView s;
  s.node = config_.node_name;
  s.version = kVersion;
  s.ready = builder_ && builder_->table()->synced();  // also from a snapshot: every service of it is served
  if (config_.mesh.enabled) s.modules.push_back("mesh");
  if (dns_) s.modules.push_back("dns");
  if (tunnel_) s.modules.push_back("tunnel");
  if (config_.tunnel.relay.enabled) s.modules.push_back("relay");
  if (tunnel_) s.overlay_ips = tunnel_->overlay_ips();
  s.services = builder_ ? builder_->table()->size() : 0;
  s.frontends = discovery_->frontends();
  s.exports = exporter_->size();
  s.pid = ::getpid();
  s.uptime_s = whole_seconds(loop_.now() - started_).count();
  if (source_) s.problems = source_->problems();
  if (builder_)
    for (auto& p : builder_->problems()) s.problems.push_back(p);
  if (closed_host_)
    for (const auto& p : closed_host_->paths()) s.problems.push_back(p.text());
  if (snapshot_)
    for (auto& p : snapshot_->problems()) s.problems.push_back(p);
  for (auto& p : disk_.problems()) s.problems.push_back(p);
  if (builder_ && !builder_->table()->synced()) s.problems.push_back("objects have not been read yet");
  return s;
}

// ---- change and end

Result<void> Daemon::reload() {
  EM_TRY_ASSIGN(DaemonConfig next, base::conf::load_daemon_config(config_path_));
  if (dns_) EM_TRY(dns_->reload(dns_config(next)));
  EM_TRY(reload_socks5());
  base::set_log_level(next.log_level);
  if (tunnel_) tunnel_->reload_deny_list();
  config_.dns = next.dns;
  follow_optional();
  if (dns_) dns_->set_routed_names(host_names_.list(config_.dns.routed_domains));
  config_.log_level = next.log_level;
  EM_LOG(info, "daemon", "{}: logLevel, dns, the deny list and the users of mesh.socks5 taken over; other settings take effect at the next start", config_path_);
  return {};
}

size_t Daemon::carried() const { return (proxy_ ? proxy_->connections() : 0) + (socks_ ? socks_->connections() : 0); }

void Daemon::drain(std::function<void()> done) {
  if (handed_over_) return done();  // nothing of the kernel's state is ours any more
  if (drain_timer_) return;
  handover_.reset();
  store_.forget();
  EM_LOG(info, "daemon", "stopping: {} proxied connections may end within {} s", carried(), kDrainMax.count());
  if (proxy_) proxy_->stop_accepting();
  if (socks_) socks_->stop_accepting();
  admin_->drain();
  auto deadline = loop_.now() + kDrainMax;
  drain_timer_ = loop_.timer([this, deadline, done] {
    if (carried() && loop_.now() < deadline) return drain_timer_->arm(50ms);
    if (closed_host_) closed_host_->remove();
    if (intercept_) intercept_->remove();
    if (snapshot_) snapshot_->write_now();  // a slow disk holds up the end, but nobody's calls and names
    if (dns_) dns_->save_cache();
    done();
  });
  drain_timer_->arm(0s);
}

}  // namespace edgemeshd
