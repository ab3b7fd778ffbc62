#include "tunnel/path/path_mtu.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;

constexpr int kTries = 3;
constexpr uint16_t kGap = 8;  // closer is close enough
constexpr uint16_t kSizesPerRound = 8;
constexpr size_t kSentKept = 64;
constexpr base::Duration kProveEvery = 250ms, kRaiseAfter = 10min, kProofHolds = 60s;
constexpr uint16_t kCommon[] = {576, 1280, 1400, 1420, 1440, 1460, 1480, 1492, 1500, 4352, 8000, 9000};

base::Duration answer_wait(base::Duration rtt) {
  return rtt.count() ? std::clamp<base::Duration>(2 * rtt, 200ms, 1s) : base::Duration(400ms);
}
// Shorter: TCP sends what a black hole took again after 0.2, 0.6, 1.4 and 3 s. Three of these are over before 0.6 s of a transfer that
// begins, and long before 1.4 s of one that was proved a moment ago.
base::Duration proof_wait(base::Duration rtt) {
  return rtt.count() ? std::clamp<base::Duration>(2 * rtt, 120ms, 1s) : base::Duration(400ms);
}

}  // namespace

void PathMtu::set_link(size_t mtu, bool v6, base::Instant now) {
  auto limit = uint16_t(std::clamp<size_t>(mtu, kWireLeast, kWireMax));
  size_t headers = v6 ? kWireHeaders6 : kWireHeaders4;
  if (limit == limit_ && headers == headers_) return;
  limit_ = limit;
  headers_ = headers;
  wire_ = std::min(wire_, limit_);
  if (state_ != State::idle) search(now);
}

void PathMtu::activate(base::Instant now) {
  if (state_ == State::settled && proved_ && now - proof_ < kProofHolds) {
    proof_ = now - kProveEvery;  // in use at once, and proved again at once
    long_ = true;
    return;
  }
  wire_ = std::min(wire_, kWireSure);
  proved_ = false;
  search(now);
}

void PathMtu::search(base::Instant now) {
  state_ = State::searching;
  good_ = proved_ ? wire_ : 0;
  bad_ = uint16_t(limit_ + 1);
  misses_ = tries_ = 0;
  next_ = now;
  sizes_.clear();
  for (uint16_t s : kCommon)
    if (s > good_ && s < limit_) sizes_.push_back(s);
  if (limit_ > good_) sizes_.push_back(limit_);
}

void PathMtu::fill(uint16_t above, uint16_t below) {
  int gap = below - above, last = above;
  for (int i = 1; i <= kSizesPerRound; i++) {
    int s = above + gap * i / (kSizesPerRound + 1);
    if (s > last && s < below) sizes_.push_back(uint16_t(last = s));
  }
}

void PathMtu::settle(base::Instant now) {
  state_ = State::settled;
  sizes_.clear();
  failures_ = 0;
  raise_at_ = now + kRaiseAfter;
}

// What is left in sizes_ was not answered.
void PathMtu::end_round(base::Instant now) {
  if (!sizes_.empty()) bad_ = std::min(bad_, sizes_.front());
  tries_ = 0;
  if (good_ == 0) {  // nothing came through: whether the path works at all is for others to find out
    search(now);
    next_ = now + std::min<base::Duration>(1s * (1 << std::min(failures_++, 6)), 60s);
    return;
  }
  wire_ = good_;
  sizes_.clear();
  if (bad_ - good_ > kGap && good_ < limit_) fill(good_, bad_);
  if (sizes_.empty()) return settle(now);
  next_ = now;
}

void PathMtu::send(uint16_t size, std::vector<Probe>& out, base::Rng& rng) {
  out.push_back({rng.u64() | 1, size ? size - headers_ : 0});
  if (sent_.size() >= kSentKept) sent_.erase(sent_.begin());
  sent_.push_back({out.back().txid, size});
}

std::vector<PathMtu::Probe> PathMtu::tick(base::Instant now, base::Duration rtt, base::Rng& rng) {
  std::vector<Probe> out;
  if (auto at = prove_at(); at && now >= *at) {
    prove(now, out, rng);
    prove_next_ = now + proof_wait(rtt);
  }
  if (state_ == State::settled && now >= raise_at_) search(now);
  if (state_ != State::searching || now < next_) return out;
  std::erase_if(sizes_, [&](uint16_t s) { return s <= good_; });
  if (tries_ == kTries || sizes_.empty()) end_round(now);
  if (state_ != State::searching || now < next_) return out;
  for (uint16_t s : sizes_) send(s, out, rng);
  tries_++;
  next_ = now + answer_wait(rtt);
  return out;
}

// When the size in use has to be proved again: nothing to prove, or nothing that needs it, else never.
std::optional<base::Instant> PathMtu::prove_at() const {
  if (!proved_ || !(long_ || misses_)) return std::nullopt;
  return misses_ ? prove_next_ : proof_ + kProveEvery;
}

void PathMtu::prove(base::Instant now, std::vector<Probe>& out, base::Rng& rng) {
  if (misses_ >= kTries && witnessed_) {
    black_holes_++;
    wire_ = wire_ > kWireSure ? kWireSure : kWireLeast;
    proved_ = long_ = false;
    sent_.clear();  // what was answered before says nothing about now
    return search(now);
  }
  if (misses_ == 0) witnessed_ = false;
  for (int i = 0; i < (misses_ ? 2 : 1); i++) send(wire_, out, rng);
  if (misses_) send(0, out, rng);
  misses_ = std::min(misses_ + 1, kTries);
}

bool PathMtu::on_ack(uint64_t txid, base::Instant now) {
  auto it = std::find_if(sent_.begin(), sent_.end(), [&](const Sent& s) { return s.txid == txid; });
  if (it == sent_.end()) return false;
  uint16_t size = it->size;
  sent_.erase(it);
  if (size == 0) witnessed_ = true;
  if (state_ == State::searching && size > good_) {
    good_ = size;
    wire_ = std::max(wire_, size);
    proved_ = true;
    if (!sizes_.empty() && size >= sizes_.back()) next_ = now;
  }
  if (size < wire_) return true;
  proof_ = now;
  misses_ = 0;
  long_ = false;
  return true;
}

std::optional<base::Instant> PathMtu::next_deadline() const {
  if (state_ == State::idle) return std::nullopt;
  base::Instant t = state_ == State::searching ? next_ : raise_at_;
  if (auto at = prove_at()) t = std::min(t, *at);
  return t;
}

}  // namespace tunnel
