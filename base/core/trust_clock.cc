#include "base/core/trust_clock.h"

#include <algorithm>
#include <charconv>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/wall_clock.h"

namespace base {

static constexpr int64_t kKeepEverySeconds = 3600;
static constexpr Duration kTryAgain = 30s;
static constexpr int64_t kBehindSeconds = 24 * 3600;  // less is nothing a certificate notices
static constexpr size_t kFileBytesMax = 64;

TrustClock::TrustClock(Options o, Metrics& metrics)
    : o_(std::move(o)), certain_{o_.built, o_.boot()},
      doubted_(metrics.gauge("edgemeshd_wall_clock_doubted", "1 while the machine's clock cannot be right and certificates are checked without it.")) {}

WallTime TrustClock::carried(const Reading& r) const {
  return {r.time.unix_seconds + std::chrono::duration_cast<std::chrono::seconds>(o_.boot() - r.at).count()};
}

WallTime TrustClock::now() const { return std::max(carried(certain_), carried(api_)); }

bool TrustClock::wall_is_plausible() const {
  const WallTime wall = o_.wall();
  return wall >= o_.built && wall <= own_not_after_;
}

WallTime TrustClock::starts_by() const { return wall_is_plausible() ? std::max(now(), o_.wall()) : now(); }

WallTime TrustClock::for_servers() const { return has_own_ ? now() : std::max(now(), o_.wall()); }

void TrustClock::raise(WallTime t) {
  t = std::min(t, own_not_after_);
  if (t > carried(certain_)) certain_ = {t, o_.boot()};
}

void TrustClock::own_certificate(WallTime not_before, WallTime not_after) {
  own_not_after_ = not_after;
  has_own_ = true;
  raise(not_before);
  if (o_.path.empty()) return;
  auto text = read_file(o_.path, kFileBytesMax);
  if (!text) return;  // a first start
  int64_t seconds = 0;
  if (std::from_chars(text->data(), text->data() + text->size(), seconds).ec != std::errc()) return;  // damaged: as good as none
  kept_ = {seconds};
  raise(kept_);
}

void TrustClock::signed_by_ca(WallTime t) { raise(t); }

void TrustClock::told_by_api_server(WallTime t) { api_ = {t, o_.boot()}; }

TrustClock::Wall TrustClock::judge_wall() const {
  const WallTime wall = o_.wall();
  if (wall.unix_seconds < now().unix_seconds - kBehindSeconds) return Wall::behind;
  return wall > std::max(own_not_after_, now()) ? Wall::ahead : Wall::believed;
}

void TrustClock::say(Wall w) const {
  const std::string wall = to_date(o_.wall()), trusted = to_date(now());
  if (w == Wall::behind)
    EM_LOG(warn, "time", "this machine's clock says {}, but it is {} at least: certificates are checked against the latter; set the clock", wall, trusted);
  else if (w == Wall::ahead)
    EM_LOG(warn, "time", "this machine's clock says {}, after the end of this node's certificate ({}): it is not believed, certificates are checked "
           "against {}; set the clock, or issue a new certificate if the clock is right", wall, to_date(own_not_after_), trusted);
  else
    EM_LOG(info, "time", "this machine's clock says {}: it can be right again", wall);
}

void TrustClock::look() {
  const Wall w = judge_wall();
  doubted_.set(w != Wall::believed);
  if (w != std::exchange(said_, w)) say(w);
  const bool due = now().unix_seconds >= kept_.unix_seconds + kKeepEverySeconds && kept_ < own_not_after_;
  if (due && o_.boot() >= next_try_) keep();
}

void TrustClock::keep() {
  if (o_.path.empty() || !has_own_) return;
  const WallTime t = std::min(now(), own_not_after_);
  if (t <= kept_) return;
  next_try_ = o_.boot() + kTryAgain;
  if (o_.disk->write(o_.path, fmt::format("{}\n", t.unix_seconds))) kept_ = t;
}

}  // namespace base
