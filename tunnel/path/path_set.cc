#include "tunnel/path/path_set.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

constexpr base::Duration kHopeless = 1s;  // after the last CHECK

base::Duration answer_wait(const Path& p) { return p.rtt.count() ? std::clamp<base::Duration>(2 * p.rtt, 200ms, 600ms) : base::Duration(400ms); }
constexpr base::Duration kFirstSilence = 1s;
constexpr int kMissesTelling =
    2;  // CHECKs lost after a silence: it was too long, even if the peer's reopen the way before this one is dead
constexpr base::Duration kFatalKept = 1h;  // the NAT may be another by then
constexpr base::Duration kDoubtKept = 5min;
base::Duration unproved_wait(const Path& p) { return std::min<base::Duration>(50ms * (1 << std::min(p.tries, 7)), 5s); }

int rank(const PathAddr& a) { return !a.is_relay() ? 0 : !a.is_carried() ? 1 : 2; }

bool is_better(const Path& a, const Path& than) {
  if (rank(a.addr) != rank(than.addr)) return rank(a.addr) < rank(than.addr);
  return a.rtt + 5ms < than.rtt && a.rtt * 10 < than.rtt * 8;
}

}  // namespace

base::Duration BindingLife::interval(base::Instant now) const {
  base::Duration next = std::min(std::max<base::Duration>(kFirstSilence, 2 * proved_), max_);
  return fatal_ && now - fatal_at_ < kFatalKept ? std::min(next, std::max<base::Duration>(*fatal_ / 2, kFirstSilence)) : next;
}

// A silence that was borne before says nothing the first time: the path ended for another reason. The second time it was borne by luck.
void BindingLife::died(base::Duration silence, base::Instant now) {
  if (silence < kFirstSilence) return;
  if (silence <= proved_ + proved_ / 8) {
    bool again = doubted_at_ && now - *doubted_at_ < kDoubtKept;
    doubted_at_ = now;
    if (!again) return;
    doubted_at_.reset();
    proved_ = silence / 2;
  }
  bool known = fatal_ && now - fatal_at_ < kFatalKept;
  fatal_ = known ? std::min(*fatal_, silence) : silence;
  fatal_at_ = now;
}

const char* to_string(PathKind k) {
  static constexpr const char* kNames[] = {"host", "srflx", "prflx", "advertised", "relay"};
  return kNames[size_t(k)];
}
const char* to_string(PathState s) {
  static constexpr const char* kNames[] = {"waiting", "checking", "valid", "suspect", "dead"};
  return kNames[size_t(s)];
}

Path* PathSet::find(const PathAddr& a) {
  auto it = std::find_if(paths_.begin(), paths_.end(), [&](const Path& p) { return p.addr.remote == a.remote && p.addr.relay_channel == a.relay_channel && p.addr.socket == a.socket; });
  return it == paths_.end() ? nullptr : &*it;
}

Path* PathSet::add(const PathAddr& a, PathKind kind) {
  if (Path* known = find(a)) return known;
  auto relays = size_t(std::count_if(paths_.begin(), paths_.end(), [](const Path& p) { return p.addr.is_relay(); }));
  bool full = a.is_relay() ? relays >= kRelayPathsMax : paths_.size() - relays >= kPathsMax - kRelayPathsMax;
  if (full && !make_room(a.is_relay())) return nullptr;
  Path& p = paths_.emplace_back();
  p.id = ++last_id_;
  p.addr = a;
  p.kind = kind;
  return &p;
}

bool PathSet::make_room(bool for_relay) {
  auto idle = [&](const Path& p) { return p.addr.is_relay() == for_relay && (p.state == PathState::dead || p.state == PathState::waiting); };
  auto it = std::find_if(paths_.begin(), paths_.end(), idle);
  if (it == paths_.end()) return false;
  paths_.erase(it);
  return true;
}

void PathSet::remove(const PathAddr& a) {
  std::erase_if(paths_, [&](const Path& p) { return p.addr.remote == a.remote && p.addr.relay_channel == a.relay_channel && p.addr.socket == a.socket; });
}

void PathSet::remove_if_relay(const base::IpPort& relay, uint32_t keep_channel) {
  std::erase_if(paths_, [&](const Path& p) { return p.addr.is_relay() && p.addr.remote == relay && p.addr.relay_channel != keep_channel; });
}

std::vector<Path*> PathSet::tick(base::Instant now) {
  std::vector<Path*> out;
  for (Path& p : paths_) {
    if (!p.due || now < *p.due) continue;
    on_due(p, now);
    if (p.due && now >= *p.due) out.push_back(&p);
  }
  return out;
}

void PathSet::on_due(Path& p, base::Instant now) {
  bool proved = p.state == PathState::valid || p.state == PathState::suspect;
  if (proved && !p.awaited.empty() && now - p.last_check >= answer_wait(p)) return on_miss(p, now);
  if (!proved || !p.awaited.empty() || !p.is_keepalive) return;
  // Whatever crossed it meanwhile kept it alive; but it is looked at itself every so often.
  base::Instant next =
      std::min(p.last_used + life_of(p).interval(now), p.last_ack + (p.addr.is_relay() ? kKeepaliveRelay : kKeepaliveDirect));
  if (next > now) p.due = next;
}

void PathSet::used(Path& p, base::Instant when) { p.last_used = std::max(p.last_used, when); }

void PathSet::on_miss(Path& p, base::Instant now) {
  if (++p.misses == kMissesTelling) life_of(p).died(p.silence, now);
  if (p.misses < kMissesDead) {
    p.state = PathState::suspect;
    if (p.misses == 1) check_all_proved(now);  // so that a way round is known to work when this one is given up
    return;
  }
  p.state = PathState::dead;
  p.awaited.clear();
  p.tries = 0;
  p.due = p.addr.is_relay() ? std::optional(now + 1s) : std::nullopt;
}

uint64_t PathSet::sent(Path& p, base::Instant now) {
  uint64_t txid = rng_.u64() | 1;
  if (p.awaited.empty()) p.silence = p.last_used == base::Instant{} ? base::Duration{0} : now - p.last_used;
  p.is_keepalive = false;
  p.last_used = now;
  p.awaited.push_back({txid, now});
  if (p.awaited.size() > 8) p.awaited.pop_front();
  p.last_check = now;
  bool proved = p.state == PathState::valid || p.state == PathState::suspect;
  if (proved) p.due = now + answer_wait(p);
  else p.due = p.addr.is_relay() ? std::optional(now + unproved_wait(p)) : std::nullopt;
  p.tries++;
  if (p.state == PathState::waiting) p.state = PathState::checking;
  return txid;
}

// Many addresses of one box may work after a birthday search; each would be kept alive for nothing.
bool PathSet::is_spare(const Path& p) const {
  if (p.kind != PathKind::prflx || p.state == PathState::valid || p.state == PathState::suspect) return false;
  return size_t(std::count_if(paths_.begin(), paths_.end(), [](const Path& o) { return !o.addr.is_relay() && o.is_usable(); })) >= kDirectProvedMax;
}

Path* PathSet::on_ack(uint64_t txid, base::Instant now) {
  for (Path& p : paths_) {
    auto it = std::find_if(p.awaited.begin(), p.awaited.end(), [&](const auto& s) { return s.txid == txid; });
    if (it == p.awaited.end()) continue;
    base::Duration sample = now - it->at;
    p.last_rtt = sample;
    p.rtt = p.rtt.count() ? (p.rtt * 7 + sample) / 8 : sample;
    if (p.state == PathState::valid && p.misses == 0) life_of(p).survived(p.silence);
    used(p, now);
    bool spare = is_spare(p);
    p.state = spare ? PathState::dead : PathState::valid;
    p.misses = p.tries = 0;
    p.last_ack = now;
    p.awaited.clear();
    p.is_keepalive = !spare;
    p.due = spare ? std::nullopt : std::optional(now + life_of(p).interval(now));
    return &p;
  }
  return nullptr;
}

void PathSet::check_now(Path& p, base::Instant now) {
  if (!p.awaited.empty() && now - p.last_check < 50ms) return;
  p.is_keepalive = false;
  if (!p.due || now < *p.due) p.due = now;
}

void PathSet::check_all_proved(base::Instant now) {
  for (Path& p : paths_)
    if (p.is_usable() && p.awaited.empty()) check_now(p, now);
}

void PathSet::end_round(base::Instant now) {
  for (Path& p : paths_)
    if (p.state == PathState::checking && !p.addr.is_relay() && now - p.last_check >= kHopeless) p.state = PathState::waiting;
  // An address learned from a CHECK that no longer works is not tried again: the peer will be heard from where it is now.
  std::erase_if(paths_, [](const Path& p) { return p.kind == PathKind::prflx && (p.state == PathState::dead || (p.state == PathState::waiting && p.tries > 0)); });
}

const Path* PathSet::choose(const std::optional<PathAddr>& active) const {
  const Path *best = nullptr, *used = nullptr;
  for (const Path& p : paths_) {
    if (!p.is_usable()) continue;
    if (active && p.addr == *active) used = &p;
    if (!best || is_better(p, *best)) best = &p;
  }
  return used && !(best != used && is_better(*best, *used)) ? used : best;
}

bool PathSet::is_any_answering() const {
  return std::any_of(paths_.begin(), paths_.end(), [](const Path& p) { return p.state == PathState::valid && p.misses == 0; });
}

std::optional<base::Instant> PathSet::next_deadline() const {
  std::optional<base::Instant> out;
  for (const Path& p : paths_)
    if (p.due && (!out || *p.due < *out)) out = p.due;
  return out;
}

}  // namespace tunnel
