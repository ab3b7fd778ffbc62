#include "edgemesh/health/health_monitor.h"

#include <linux/netfilter/nf_conntrack_tcp.h>

#include <tuple>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/net/conntrack.h"

namespace edgemesh {

using base::ConnectOutcome;
using base::IpPort;
using lb::Sign;
using namespace std::chrono_literals;

static constexpr uint32_t kPacketBytes = 128;      // of a SYN, or of the packet an ICMP error is about: the addresses and ports
static constexpr uint32_t kLookupsPerWindow = 64;  // one question to the kernel each
static constexpr auto kWindow = 100ms;
static constexpr auto kLookEvery = 1s;
static constexpr auto kListenEvery = 10s;
static constexpr auto kUdpLookEvery = 2s, kUneasyLookEvery = 1s;
static constexpr int kUdpLookShare = 50;  // of the loop's time: a host with a million flows is looked at less often
static constexpr base::Duration kUdpLookEveryMax = 30s;
static constexpr size_t kUdpFlowsMax = 2 * lb::SilentFlows::kAnsweredMax;

HealthMonitor::HealthMonitor(Config config, Hooks hooks, base::Loop& loop, base::Rng& rng, base::Metrics& metrics)
    : config_(config),
      hooks_(std::move(hooks)),
      loop_(loop),
      detector_(config.outliers),
      checks_(loop, config.socket_mark, config.check_timeout, [this](const IpPort& a, ConnectOutcome o) { on_checked(a, o); }),
      active_(loop, rng, metrics, config.socket_mark, active_hooks()),
      step_timer_(loop.timer([this] { step(); })),
      look_timer_(loop.timer([this] { look(); })),
      sweep_timer_(loop.timer([this] { sweep(); })),
      udp_timer_(loop.timer([this] { look_at_udp(); })),
      checks_total_(metrics.counter("edgemeshd_endpoint_checks_total", "Connects made to endpoints that were suspected or ejected.")),
      udp_looks_(metrics.counter("edgemeshd_udp_looks_total", "Looks through the kernel's flows for UDP endpoints that fell silent.")) {
  for (Sign s : lb::kSigns)
    ejections_[size_t(s)] =
        &metrics.counter("edgemeshd_endpoint_ejections_total", "Endpoints that were taken out of balancing, by what was noticed.",
                         {{"reason", lb::to_string(s)}});
  metrics.gauge_fn("edgemeshd_endpoints_ejected", "Endpoints that get no new connections for now.", {},
                   [this] { return int64_t(detector_.ejected()); });
}

void HealthMonitor::watch_kernel() {
  auto events =
      base::conntrack::UnansweredEvents::start(loop_, {[this](const base::conntrack::Entry& e) { on_end(e); }, [this] { look_soon(); }});
  if (events) events_ = std::move(*events);
  else EM_LOG(warn, "health", "{}: endpoints that refuse are noticed by the proxy only", events.error().what);

  if (hooks_.has_udp) udp_timer_->arm(kUdpLookEvery);
  auto heard = listen();
  if (heard) return;
  EM_LOG(warn, "health", "{}: endpoints that stay silent are noticed by looking through conntrack every second", heard.error().what);
  look_timer_->arm(kLookEvery);
}

base::Result<void> HealthMonitor::listen() {
  listen_at_ = loop_.now() + kListenEvery;
  EM_TRY_ASSIGN(auto log, base::PacketLog::start(loop_, config_.log_group, kPacketBytes,
                                                 {[this](base::ByteView p) { on_reported(p); }, [this] { look_soon(); }}));
  EM_TRY(hooks_.report_failures(config_.log_group));
  log_ = std::move(log);
  return {};
}

void HealthMonitor::stop_watching() {
  active_.stop();
  events_.reset();
  log_.reset();
  look_timer_->cancel();
  udp_timer_->cancel();
  listen_at_ = loop_.now() + std::chrono::hours(24);  // not again by ourselves
}

// ---- what the kernel tells

void HealthMonitor::on_end(const base::conntrack::Entry& e) {
  // Entries also end by time or by deletion, which says nothing about now.
  if (e.tcp_state.value_or(TCP_CONNTRACK_CLOSE) != TCP_CONNTRACK_CLOSE) return;
  suspect(e.orig.dst, e.reply.src, Sign::refused);
}

void HealthMonitor::on_reported(base::ByteView packet) {
  if (loop_.now() - window_ >= kWindow) window_ = loop_.now(), lookups_ = 0;
  if (++lookups_ > kLookupsPerWindow) return look_soon();
  if (auto syn = base::tcp_tuple(packet)) on_sent_again(*syn);
  else if (auto error = base::undelivered(packet)) on_undelivered(*error);
}

void HealthMonitor::on_sent_again(const base::conntrack::Tuple& syn) {
  auto e = base::conntrack::find(base::Proto::tcp, syn);
  if (e && !e->is_answered()) suspect(e->orig.dst, e->reply.src, Sign::unanswered);
}

// Only what an endpoint did not take: a client that is gone refuses late answers, too. An established connection's trouble is its own.
void HealthMonitor::on_undelivered(const base::Undelivered& u) {
  auto e = base::conntrack::find_by_reply(u.proto, {u.packet.dst, u.packet.src});
  if (!e || e->reply.src != u.packet.dst || !e->is_dnat()) return;
  if (u.proto == base::Proto::tcp && e->is_answered()) return;
  suspect(e->orig.dst, {e->reply.src, u.proto}, u.refused ? Sign::refused : Sign::unreachable);
}

void HealthMonitor::look_soon() {
  if (!look_timer_->armed()) look_timer_->arm(std::max<base::Duration>(kWindow, looked_ + kLookEvery - loop_.now()));
}

// Counts each endpoint once: SYNs that are only on their way are in there too.
void HealthMonitor::look() {
  looked_ = loop_.now();
  std::set<std::pair<IpPort, IpPort>> unanswered;
  for (auto f : {base::Family::v4, base::Family::v6}) {
    auto r = base::conntrack::each_unanswered_dnat(f, [&](const base::conntrack::Entry& e) {
      if (unanswered.size() < base::limits::kOutliersMax) unanswered.insert({e.orig.dst, e.reply.src});
    });
    if (!r) EM_LOG(debug, "health", "looking through conntrack: {}", r.error().what);
  }
  for (auto& [frontend, dialled] : unanswered) suspect(frontend, dialled, Sign::unanswered);
  // The group may be held by the daemon whose place we take: it ends soon.
  if (!log_ && loop_.now() >= listen_at_) std::ignore = listen();
  if (!log_) look_timer_->arm(kLookEvery);
}

std::vector<lb::Flow> HealthMonitor::udp_flows(bool answered, const std::set<IpPort>* frontends) const {
  std::vector<lb::Flow> out;
  for (auto f : {base::Family::v4, base::Family::v6}) {
    if (!hooks_.has_udp(f)) continue;
    auto r = base::conntrack::each_udp_dnat(f, answered, [&](const base::conntrack::Entry& e) {
      if (out.size() < kUdpFlowsMax && (!frontends || frontends->contains(e.orig.dst)))
        out.push_back({e.orig.src, e.orig.dst, e.reply.src});
    });
    if (!r) EM_LOG(debug, "health", "looking through conntrack: {}", r.error().what);
  }
  return out;
}

void HealthMonitor::look_at_udp() {
  if (std::exchange(udp_looked_, false)) {  // a turn later the loop's clock says how long the kernel walked through its flows
    const base::Duration took = loop_.now() - udp_began_;
    return udp_timer_->arm(
        std::clamp<base::Duration>(took * kUdpLookShare, silent_.is_uneasy() ? kUneasyLookEvery : kUdpLookEvery, kUdpLookEveryMax));
  }
  udp_looks_.add();
  udp_began_ = loop_.now();
  udp_looked_ = true;
  udp_timer_->arm(base::Duration(0));
  const auto frontends = silent_.look(udp_flows(false, nullptr));
  if (frontends.empty()) return;
  for (const auto& s : silent_.judge(udp_flows(true, &frontends))) suspect(s.frontend, {s.endpoint, base::Proto::udp}, Sign::unanswered);
}

void HealthMonitor::suspect(const IpPort& frontend, const lb::Dialled& dialled, Sign sign) {
  const lb::Outlier* known = detector_.find(dialled);
  if (known && known->state == lb::Outlier::State::ejected) return;
  if (!known && !hooks_.serves(frontend, dialled)) return;
  if (detector_.failed(dialled, sign, loop_.now())) changed(dialled);
  rearm();
}

// ---- the proxy and our own checks

void HealthMonitor::on_dialled(const lb::Dialled& to, std::optional<Sign> failure) {
  bool moved = failure ? detector_.failed(to, *failure, loop_.now()) : detector_.succeeded(to, loop_.now());
  if (moved) changed(to);
  if (!detector_.quiet()) rearm();
}

static std::optional<Sign> sign_of(ConnectOutcome o) {
  switch (o) {
    case ConnectOutcome::refused:
      return Sign::refused;
    case ConnectOutcome::unreachable:
      return Sign::unreachable;
    case ConnectOutcome::unanswered:
      return Sign::unanswered;
    default:
      return std::nullopt;
  }
}

void HealthMonitor::on_checked(const IpPort& to, ConnectOutcome outcome) {
  if (outcome == ConnectOutcome::local_trouble) detector_.unchecked(to, loop_.now());
  else if (detector_.checked(to, sign_of(outcome), loop_.now())) changed(to);
  rearm();
}

ActiveChecks::Hooks HealthMonitor::active_hooks() {
  return {.watch = [this](const IpPort& at, lb::OutlierDetector::Thresholds t) { detector_.watch(at, t); },
          .unwatch =
              [this](const IpPort& at) {
                detector_.unwatch(at, loop_.now());
                rearm();
              },
          .on_probed = [this](const IpPort& at, std::optional<Sign> failure,
                              std::string detail) { on_probed(at, failure, std::move(detail)); }};
}

void HealthMonitor::on_probed(const IpPort& at, std::optional<Sign> failure, std::string detail) {
  if (detector_.probed(at, failure, std::move(detail), loop_.now())) changed(at);
  if (!detector_.quiet()) rearm();
}

// ---- what follows

void HealthMonitor::changed(const lb::Dialled& to) {
  const lb::Outlier* o = detector_.find(to);
  for (Sign s : lb::kSigns) {
    base::Counter& c = *ejections_[size_t(s)];
    c.add(detector_.ejections_total(s) - c.value());
  }
  std::string services = hooks_.on_change(to);
  bool is_out = o && o->state == lb::Outlier::State::ejected, is_between = o && o->state == lb::Outlier::State::returning && o->share > 1;
  if (is_out) EM_LOG(warn, "health", "endpoint {} of {}: {}", to.str(), services, lb::words(o, loop_.now()));
  else if (!is_between) EM_LOG(info, "health", "endpoint {} of {}: {}", to.str(), services, lb::words(o, loop_.now()));
}

void HealthMonitor::step() {
  for (const lb::Dialled& a : detector_.advance(loop_.now())) changed(a);
  for (const lb::Dialled& a : detector_.take_checks(loop_.now(), checks_.free())) {
    checks_total_.add();
    checks_.start(a.at);
  }
  rearm();
}

void HealthMonitor::rearm() {
  auto next = detector_.next_deadline();
  if (!next) return step_timer_->cancel();
  // With all checks under way the next one waits for an end, which comes here too.
  auto least = checks_.free() ? base::Duration(0) : base::Duration(kWindow);
  step_timer_->arm(std::max<base::Duration>(least, *next - loop_.now()));
  if (!sweep_timer_->armed()) sweep_timer_->arm(config_.sweep_every);
}

void HealthMonitor::sweep() {
  auto all = detector_.addresses();
  std::set<lb::Dialled> known(all.begin(), all.end());
  std::set<lb::Dialled> keep = hooks_.still_dialled(known);
  for (const lb::Dialled& a : all)
    if (!keep.count(a)) detector_.forget(a);
  if (!detector_.quiet()) sweep_timer_->arm(config_.sweep_every);
}

}  // namespace edgemesh
