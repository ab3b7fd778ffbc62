#include "edgemesh/health/active_checks.h"

#include "base/core/limits.h"
#include "base/core/log.h"

namespace edgemesh {

using base::IpPort;

static constexpr const char* kTotal = "edgemeshd_active_checks_total";
static constexpr const char* kTotalHelp = "Configured checks of endpoints, by what came of them.";

ActiveChecks::ActiveChecks(base::Loop& loop, base::Rng& rng, base::Metrics& m, uint32_t mark, Hooks hooks)
    : loop_(loop),
      rng_(rng),
      mark_(mark),
      hooks_(std::move(hooks)),
      take_over_timer_(loop.timer([this] { take_over(); })),
      step_timer_(loop.timer([this] { step(); })),
      good_(m.counter(kTotal, kTotalHelp, {{"result", "good"}})),
      bad_(m.counter(kTotal, kTotalHelp, {{"result", "failed"}})),
      void_(m.counter(kTotal, kTotalHelp, {{"result", "told_nothing"}})) {
  m.gauge_fn("edgemeshd_active_check_endpoints", "Endpoints that configured checks ask.", {}, [this] { return int64_t(probed_.size()); });
  m.gauge_fn("edgemeshd_active_check_endpoints_left_out", "Endpoints beyond the bound of configured checks.", {},
             [this] { return int64_t(left_out_); });
}

void ActiveChecks::stop() {
  stopped_ = true;
  targets_.clear();
  probed_.clear();
  due_.clear();
  take_over_timer_->cancel();
  step_timer_->cancel();
}

// ---- who is probed

void ActiveChecks::set_targets(const std::string& service, std::vector<ProbeTarget> list) {
  if (stopped_) return;
  auto at = targets_.find(service);
  if (at == targets_.end() ? list.empty() : at->second == list) return;
  if (list.empty()) targets_.erase(at);
  else targets_[service] = std::move(list);
  if (!take_over_timer_->armed()) take_over_timer_->arm(base::Duration(0));  // many services change in one turn
}

void ActiveChecks::take_over() {
  std::map<IpPort, std::shared_ptr<const ProbeSpec>> want;
  const size_t left_out_before = std::exchange(left_out_, 0);
  for (const auto& [service, list] : targets_)
    for (const ProbeTarget& t : list) {
      if (want.size() < base::limits::kProbedEndpointsMax) want.try_emplace(t.at, t.spec);
      else if (!want.contains(t.at)) ++left_out_;
    }
  if (left_out_ && !left_out_before)
    EM_LOG(warn, "health", "mesh.health.checks name more than {} endpoints: {} are not checked; name fewer services",
           base::limits::kProbedEndpointsMax, left_out_);
  for (auto it = probed_.begin(); it != probed_.end();) {
    auto gone = it++;
    if (!want.contains(gone->first)) drop(gone);
  }
  for (auto& [at, spec] : want) {
    auto [it, fresh] = probed_.try_emplace(at);
    if (!fresh && *it->second.spec == *spec) continue;
    if (!fresh) drop(it), it = probed_.try_emplace(at).first;
    it->second.spec = spec;
    hooks_.watch(at, spec->thresholds);
    schedule(at, it->second, loop_.now() + base::Duration(int64_t(rng_.below(uint64_t(spec->interval.count())))));
  }
  rearm();
}

void ActiveChecks::drop(std::map<IpPort, Probed>::iterator it) {
  const IpPort at = it->first;
  due_.erase({it->second.next, at});
  under_way_ -= it->second.probe != nullptr;
  probed_.erase(it);
  hooks_.unwatch(at);
}

// ---- when

void ActiveChecks::schedule(const IpPort& at, Probed& p, base::Instant when) {
  p.next = when;
  due_.insert({when, at});
}

void ActiveChecks::rearm() {
  if (due_.empty() || under_way_ >= base::limits::kProbesMax) return step_timer_->cancel();  // an end comes here again
  step_timer_->arm(std::max<base::Duration>(base::Duration(0), due_.begin()->first - loop_.now()));
}

void ActiveChecks::step() {
  const base::Instant now = loop_.now();
  while (under_way_ < base::limits::kProbesMax && !due_.empty() && due_.begin()->first <= now) {
    const IpPort at = due_.begin()->second;
    due_.erase(due_.begin());
    Probed& p = probed_.at(at);
    ++under_way_;
    p.probe = start_probe(loop_, mark_, at, *p.spec, [this, at, now](ProbeOutcome o) { on_done(at, now, std::move(o)); });
  }
  rearm();
}

void ActiveChecks::on_done(const IpPort& at, base::Instant began, ProbeOutcome o) {
  Probed& p = probed_.at(at);
  const std::unique_ptr<Probe> ended = std::move(p.probe);
  --under_way_;
  const base::Duration pace =
      p.spec->interval - p.spec->interval / 10 + base::Duration(int64_t(rng_.below(uint64_t(p.spec->interval.count()) / 5 + 1)));
  schedule(at, p, std::max(loop_.now(), began + pace));
  rearm();
  switch (o.kind) {
    case ProbeOutcome::Kind::told_nothing:
      return void_.add();
    case ProbeOutcome::Kind::well:
      good_.add();
      return hooks_.on_probed(at, std::nullopt, "");
    case ProbeOutcome::Kind::failed:
      bad_.add();
      return hooks_.on_probed(at, o.sign, std::move(o.detail));
  }
}

}  // namespace edgemesh
