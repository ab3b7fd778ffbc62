#include "tunnel/punch/ladder.h"

#include <algorithm>
#include <iterator>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
// Short at first: whoever has just begun to talk over a relay gains most, and a plain attempt is a handful of small packets.
constexpr base::Duration kPauses[] = {3s, 3s, 4s, 4s, 5s, 5s, 5s, 8s, 15s, 30s, 60s, 120s, 300s, 600s};
constexpr base::Duration kAllRungsFrom = 15s;
base::Duration pause_before(size_t climb) { return climb == 0 ? base::Duration{0} : kPauses[std::min(climb - 1, std::size(kPauses) - 1)]; }
}  // namespace

void Ladder::start(base::Instant now) {
  due_ = now;
  is_trying_ = false;
  step_ = climbs_ = 0;
}

void Ladder::stop() {
  due_.reset();
  is_trying_ = false;
}

std::vector<PunchRung> Ladder::rungs(const NatClass& mine, const NatClass& theirs, bool birthday) const {
  using R = PunchRung;
  std::vector<R> out;
  bool hard = mine.is_hard() || theirs.is_hard();
  const NatClass& hard_one = mine.is_hard() ? mine : theirs;
  if (!hard) out = {R::plain, R::fresh, R::plain, R::fresh};
  else if (mine.is_hard() && theirs.is_hard()) out = {R::plain};
  else if (hard_one.delta) out = {R::plain, R::predict, R::predict, R::birthday, R::birthday};
  else out = {R::plain, R::birthday, R::birthday};
  bool short_pause = climbs_ != 0 && pause_before(climbs_) < kAllRungsFrom;
  auto off = [&](R r) {
    switch (r) {
      case R::plain: return !rules_.plain;
      case R::fresh: return !rules_.fresh || short_pause;
      case R::predict: return !rules_.predict || short_pause;
      default: return !rules_.birthday || short_pause || !birthday;
    }
  };
  std::erase_if(out, off);
  return out;
}

std::optional<PunchRung> Ladder::take(base::Instant now, const NatClass& mine, const NatClass& theirs, bool birthday) {
  if (!due_ || is_trying_ || now < *due_) return std::nullopt;
  auto list = rungs(mine, theirs, birthday);
  if (step_ < list.size()) {
    is_trying_ = true;
    return list[step_];
  }
  step_ = 0;
  base::Duration pause = pause_before(++climbs_);
  due_ = now + base::Duration(int64_t(double(pause.count()) * (0.8 + 0.4 * rng_.unit())));
  return std::nullopt;
}

void Ladder::failed(base::Instant now) {
  if (!is_trying_) return;
  is_trying_ = false;
  step_++;
  due_ = now;
}

}  // namespace tunnel
