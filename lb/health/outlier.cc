#include "lb/health/outlier.h"

#include <algorithm>

#include "base/core/limits.h"

namespace lb {

using base::Instant;
using State = Outlier::State;

const char* to_string(Sign s) {
  switch (s) {
    case Sign::refused:
      return "refused";
    case Sign::unreachable:
      return "unreachable";
    case Sign::unanswered:
      return "unanswered";
    case Sign::unhealthy:
      return "unhealthy";
  }
  return "?";
}

std::string Dialled::str() const { return at.str() + (proto == base::Proto::udp ? "/udp" : ""); }

Outlier* OutlierDetector::entry(const Addr& a, Instant now) {
  auto it = outliers_.find(a);
  if (it != outliers_.end()) return &it->second;
  if (outliers_.size() >= base::limits::kOutliersMax) return nullptr;
  Outlier& o = outliers_[a];
  o.since = now;
  return &o;
}

static std::string reason(const Outlier& o) {
  return o.detail.empty() ? to_string(o.sign) : fmt::format("{} ({})", to_string(o.sign), o.detail);
}

std::string words(const Outlier* o, Instant now) {
  if (!o || o->state == State::healthy) return "healthy";
  auto ago = std::chrono::duration_cast<std::chrono::seconds>(now - o->since).count();
  switch (o->state) {
    case State::suspected:
      return o->bad_probes ? fmt::format("suspected: {}, failed checks in a row: {}", reason(*o), o->bad_probes)
                           : fmt::format("suspected: {}, being checked", to_string(o->sign));
    case State::ejected:
      return fmt::format("ejected {} s ago: {}, {}", ago, reason(*o), o->confirmed ? "confirmed by a check" : "as clients saw it");
    default:
      return fmt::format("returning: {}/{} of its share", o->share, kFullShare);
  }
}

// ---- changes of state

void OutlierDetector::hold(const Addr& a, Outlier& o, Instant now) const {
  const base::Duration most = a.proto == base::Proto::udp ? kUncheckedMax : kEjectionMax;
  auto time = config_.ejection_time;
  for (uint32_t i = 1; i < o.ejections && time < most; i++) time *= 2;
  o.until = now + std::min<base::Duration>(time, most);
}

void OutlierDetector::eject(const Addr& a, Outlier& o, bool confirmed, Instant now) {
  o.state = State::ejected;
  o.confirmed = confirmed;
  o.share = 0;
  o.good_checks = o.bad_checks = 0;
  o.ejections++;
  o.since = now;
  hold(a, o, now);
  ejections_total_[size_t(o.sign)]++;
}

void OutlierDetector::recover(Outlier& o, Instant now) {
  o.state = o.bad_probes ? State::suspected : State::healthy;  // that stays for the next probe to say
  o.share = kFullShare;
  o.failures = 0;
  o.confirmed = false;
  o.check_at.reset();
  o.since = now;
  o.until = now + kForgetAfter;
}

void OutlierDetector::come_back(Outlier& o, Instant now) {
  o.state = State::returning;
  o.share = 1;
  o.failures = 0;
  o.confirmed = false;
  o.check_at.reset();
  o.since = now;
  o.until = now + kReturnStep;
}

// ---- evidence

bool OutlierDetector::failed(const Addr& a, Sign sign, Instant now) {
  Outlier* o = entry(a, now);
  if (!o || o->state == State::ejected) return false;  // connections from before the ejection still fail
  o->sign = sign;
  o->detail.clear();
  o->failures++;
  if (o->state == State::healthy) o->state = State::suspected, o->since = now;
  const bool checkable = a.proto == base::Proto::tcp;
  if (checkable && !o->check_at && !o->is_checking) o->check_at = now;
  if (checkable && o->failures < config_.failures_to_eject) return false;
  eject(a, *o, false, now);
  return true;
}

bool OutlierDetector::succeeded(const Addr& a, Instant now) {
  auto it = outliers_.find(a);
  if (it == outliers_.end()) return false;
  Outlier& o = it->second;
  o.failures = 0;
  if (o.state == State::suspected) recover(o, now);
  return false;  // one connection does not end an ejection: checks do
}

bool OutlierDetector::checked(const Addr& a, std::optional<Sign> failure, Instant now) {
  auto it = outliers_.find(a);
  if (it == outliers_.end()) return false;
  Outlier& o = it->second;
  o.is_checking = false;
  if (!failure) {
    o.failures = 0;
    if (o.state != State::ejected) {
      if (o.state == State::suspected) recover(o, now);
      return false;
    }
    if (watched_.contains(a)) return false;  // that it takes connections is not enough
    o.bad_checks = 0;
    if (++o.good_checks < std::min(o.ejections, 5u)) {
      o.check_at = now + kCheckEvery;
      return false;
    }
    come_back(o, now);
    return true;
  }
  o.sign = *failure;
  o.detail.clear();
  bool was_out = o.state == State::ejected, was_confirmed = o.confirmed;
  if (!was_out) eject(a, o, true, now);
  o.confirmed = true;
  o.good_checks = 0;
  if (watched_.contains(a)) o.check_at.reset();
  else o.check_at = now + std::min<base::Duration>(kCheckEvery * (1 + o.bad_checks++ / 10), kCheckEveryMax);
  return !was_out || !was_confirmed;
}

void OutlierDetector::unchecked(const Addr& a, Instant now) {
  auto it = outliers_.find(a);
  if (it == outliers_.end()) return;
  it->second.is_checking = false;
  it->second.check_at = now + kCheckEvery;
}

// ---- probes

void OutlierDetector::watch(const Addr& a, Thresholds t) {
  watched_[a] = t;
  if (auto it = outliers_.find(a); it != outliers_.end() && it->second.state == State::ejected) it->second.check_at.reset();
}

void OutlierDetector::unwatch(const Addr& a, Instant now) {
  watched_.erase(a);
  auto it = outliers_.find(a);
  if (it == outliers_.end()) return;
  Outlier& o = it->second;
  o.bad_probes = 0;
  const bool open = o.state == State::suspected || o.state == State::ejected;
  if (open && !o.check_at && !o.is_checking) o.check_at = now;
}

bool OutlierDetector::probed(const Addr& a, std::optional<Sign> failure, std::string detail, Instant now) {
  const auto rule = watched_.find(a);
  const auto known = outliers_.find(a);
  if (rule == watched_.end() || (!failure && known == outliers_.end())) return false;
  Outlier* o = failure ? entry(a, now) : &known->second;
  if (!o) return false;
  if (!failure) {
    o->bad_probes = 0;
    o->failures = 0;
    if (o->state == State::suspected) recover(*o, now);
    if (o->state != State::ejected || ++o->good_checks < std::max(rule->second.successes, std::min(o->ejections, 5u))) return false;
    come_back(*o, now);
    return true;
  }
  const bool was_out = o->state == State::ejected, was_sure = o->is_dead_for_sure();
  o->sign = *failure;
  o->detail = std::move(detail);
  o->good_checks = 0;
  const bool enough = ++o->bad_probes >= rule->second.failures;
  if (was_out) {
    o->confirmed |= enough;
    return o->is_dead_for_sure() != was_sure;
  }
  if (enough) {
    eject(a, *o, true, now);
    o->check_at.reset();
    return true;
  }
  if (o->state == State::healthy) o->state = State::suspected, o->since = now;
  return false;
}

// ---- time

std::vector<Dialled> OutlierDetector::take_checks(Instant now, size_t max) {
  std::vector<Addr> out;
  for (auto& [a, o] : outliers_) {
    if (out.size() >= max) break;
    if (o.is_checking || !o.check_at || *o.check_at > now) continue;
    o.is_checking = true;
    o.check_at.reset();
    out.push_back(a);
  }
  return out;
}

std::vector<Dialled> OutlierDetector::advance(Instant now) {
  std::vector<Addr> changed;
  for (auto it = outliers_.begin(); it != outliers_.end();) {
    Outlier& o = it->second;
    bool due = o.until <= now;
    if (o.state == State::ejected && due) {
      if (o.confirmed || o.bad_probes) hold(it->first, o, now);  // still dead by the last check, which is seconds old
      else come_back(o, now), changed.push_back(it->first);
    } else if (o.state == State::returning && due) {
      if (++o.share >= kFullShare) recover(o, now);
      else o.until = now + kReturnStep;
      changed.push_back(it->first);
    } else if (o.state == State::healthy && (due || o.ejections == 0) && !o.is_checking) {
      it = outliers_.erase(it);
      continue;
    }
    ++it;
  }
  return changed;
}

std::optional<Instant> OutlierDetector::next_deadline() const {
  std::optional<Instant> next;
  auto at = [&](Instant t) { next = next ? std::min(*next, t) : t; };
  for (const auto& [a, o] : outliers_) {
    if (o.check_at && !o.is_checking) at(*o.check_at);
    if (o.state != State::suspected) at(o.state == State::healthy && !o.ejections ? o.since : o.until);
  }
  return next;
}

// ---- asked

const Outlier* OutlierDetector::find(const Addr& a) const {
  auto it = outliers_.find(a);
  return it == outliers_.end() ? nullptr : &it->second;
}

size_t OutlierDetector::ejected() const {
  return size_t(std::ranges::count_if(outliers_, [](auto& x) { return x.second.state == State::ejected; }));
}

std::vector<Dialled> OutlierDetector::addresses() const {
  std::vector<Addr> out;
  for (auto& [a, o] : outliers_) out.push_back(a);
  return out;
}

std::vector<uint32_t> shares(std::span<const Outlier* const> all, uint32_t panic_percent) {
  std::vector<uint32_t> out(all.size(), kFullShare);
  size_t gone = 0;
  auto drop = [&](bool sure, size_t most) {
    for (size_t i = 0; i < all.size(); ++i)
      if (all[i] && all[i]->state == State::ejected && all[i]->is_dead_for_sure() == sure && gone < most) out[i] = 0, ++gone;
  };
  drop(true, all.size());
  drop(false, all.size() * panic_percent / 100);
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i] && all[i]->state == State::returning) out[i] = all[i]->share;
  uint32_t most = out.empty() ? 0 : *std::ranges::max_element(out);
  bool same = std::ranges::all_of(out, [&](uint32_t s) { return s == 0 || s == most; });
  if (most == 0) std::ranges::fill(out, 1u);
  else if (same)
    for (uint32_t& s : out) s = s ? 1 : 0;
  return out;
}

}  // namespace lb
