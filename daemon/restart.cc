// How one daemon follows another: after a crash by the snapshot and what stands in the kernel, at an upgrade by a handover.
#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/wall_clock.h"
#include "daemon/daemon.h"

namespace edgemeshd {

using base::Result;
using namespace std::chrono_literals;

static constexpr auto kHouseEvery = 30s;
static constexpr auto kEndMin = 2s;     // queries that wait for an upstream
static constexpr auto kEndMax = 10min;  // connections in the proxy

// ---- the objects of the last run

bool Daemon::start_snapshot() {
  base::kube::SnapshotKeeper::Options o;
  o.path = config_.data_dir + "/objects.snapshot";
  o.now_s = [] { return uint64_t(base::wall_now().unix_seconds); };
  o.disk = &disk_;
  o.in_use = [this] { return discovery_->in_use(); };
  snapshot_ = std::make_unique<base::kube::SnapshotKeeper>(loop_, *builder_, metrics_, std::move(o));
  const std::string handed = predecessor_ ? predecessor_->objects() : "";
  const bool loaded = handed.empty() ? snapshot_->load() : snapshot_->load(handed, "the old process's objects");
  if (!loaded) return false;
  builder_->publish_now();
  if (!intercept_) return true;
  discovery_->flush();  // what stands in the kernel is replaced before the first query or connection is read
  for (const auto& name : snapshot_->in_use_then()) discovery_->interest(name);
  EM_LOG(info, "daemon", "{} services from the snapshot are served until the source is read", builder_->table()->size());
  return true;
}

// Times of the file go on exactly within one boot, so boots are told apart.
dns::CacheFileOptions Daemon::cache_file() {
  dns::CacheFileOptions o;
  o.path = config_.data_dir + "/dns-cache";
  o.disk = &disk_;
  o.wall_s = [] { return uint64_t(base::wall_now().unix_seconds); };
  o.boot = std::hash<std::string>()(base::read_file("/proc/sys/kernel/random/boot_id", 64).value_or(""));
  return o;
}

void Daemon::keep_house() {
  if (!handed_over_ && snapshot_ && discovery_->in_use() != in_use_) {
    in_use_ = discovery_->in_use();
    snapshot_->touch();
  }
  if (intercept_ && !std::exchange(peers_had_time_, loop_.now() - started_ >= kPeersComeBackWithin) && peers_had_time_)
    if (auto r = intercept_->forget_predecessor(); !r) EM_LOG(warn, "mesh", "what an earlier process left: {}", r.error().what);
  house_timer_->arm(kHouseEvery);
}

// ---- the new process

Result<void> Daemon::take_over() { return predecessor_ ? predecessor_->take_tunnel() : Result<void>(); }

// In the first turn: what start() has made is reading by then.
void Daemon::follow_up() {
  house_timer_ = loop_.timer([this] { keep_house(); });
  house_timer_->arm(kHouseEvery);
  if (const base::Duration pause = watchdog_pause(); pause > 0s) {
    watchdog_timer_ = loop_.timer([this, pause] {
      if (handed_over_) return;  // the successor's loop is what counts
      tell_watchdog();
      watchdog_timer_->arm(pause);
    });
    watchdog_timer_->arm(pause);
  }
  loop_.post([this] {
    tell_supervisor();
    if (predecessor_) predecessor_->ready();
    predecessor_.reset();
  });
}

// ---- the old process

Result<void> Daemon::hand_over() {
  if (handover_ || handed_over_ || drain_timer_) return base::fail(base::Code::exists, "this process is ending or handing over already");
  EM_TRY(base::conf::load_daemon_config(config_path_));  // the successor could not read it either
  Handover::Hooks h;
  h.on_tunnel_wanted = [this] { give_way(); };
  h.on_ready = [this] { end_when_idle(); };
  h.on_lost = [this](bool let_go, const std::string& why) {
    EM_LOG(error, "daemon", "handover: the successor is lost: {}{}", why, let_go ? ": this process gave the tunnel away and ends too" : ": this process goes on");
    loop_.defer_delete(std::move(handover_));
    if (let_go && on_handed_over_) on_handed_over_(false);
  };
  EM_TRY_ASSIGN(handover_, Handover::start(store_, snapshot_->bytes_now(), lock_.get(), loop_, std::move(h)));
  return {};
}

// From here on the kernel's tables, the device and the tunnel's sockets are the successor's. DNS and the proxy serve on with what
// is known, so that nothing waits for it.
void Daemon::give_way() {
  handed_over_ = true;
  source_.reset();
  if (dns_) dns_->leave_cache();
  links_.reset();
  closed_host_.reset();
  if (health_) health_->stop_watching();
  if (intercept_) intercept_->let_go();
  if (tunnel_) tunnel_->hand_over();
  device_.reset();
}

void Daemon::end_when_idle() {
  store_.forget();
  if (dns_) dns_->stop_reading();
  if (proxy_) proxy_->stop_accepting();
  if (socks_) socks_->stop_accepting();
  udp_relay_.reset();
  admin_->drain();
  EM_LOG(info, "daemon", "handover: the successor serves; {} connections of this process may end within {} s", carried(),
         std::chrono::seconds(kEndMax).count());
  const auto soonest = loop_.now() + kEndMin, latest = loop_.now() + kEndMax;
  drain_timer_ = loop_.timer([this, soonest, latest] {
    const bool busy = carried() && loop_.now() < latest;
    if (busy || loop_.now() < soonest) return drain_timer_->arm(100ms);
    if (on_handed_over_) on_handed_over_(true);
  });
  drain_timer_->arm(kEndMin);
}

}  // namespace edgemeshd
