// Ladder: which rung is tried next, and when. The driving side of a pair (the one that goes first) asks it; the other
// follows. Sans-I/O.
//
//   both NATs easy        plain, fresh, plain, fresh
//   one of them hard      plain, predict twice (its ports go up in steps), birthday twice
//   both hard             plain
//
// Then a pause: a minute of short ones with plain alone, from 15 s on with all rungs: 15, 30 s, 1, 2, 5, 10 min for ever, +-20 %.
// News (a candidate, another network, a restarted peer) begin again at once.
#pragma once
#include <optional>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/punch/rules.h"
#include "tunnel/session/messages.h"

namespace tunnel {

class Ladder {
 public:
  Ladder(const PunchRules& rules, base::Rng& rng) : rules_(rules), rng_(rng) {}
  void start(base::Instant now);  // from the lowest rung, with short pauses again
  void stop();                    // a direct path works
  bool is_climbing() const { return due_.has_value(); }
  // The rung to try now; nullopt: not yet. birthday: whether this pair is worth one.
  std::optional<PunchRung> take(base::Instant now, const NatClass& mine, const NatClass& theirs, bool birthday);
  void failed(base::Instant now);  // the rung last taken
  std::optional<base::Instant> next_deadline() const { return is_trying_ ? std::nullopt : due_; }

 private:
  std::vector<PunchRung> rungs(const NatClass& mine, const NatClass& theirs, bool birthday) const;
  const PunchRules& rules_;
  base::Rng& rng_;
  std::optional<base::Instant> due_;
  bool is_trying_ = false;
  size_t step_ = 0, climbs_ = 0;
};

}  // namespace tunnel
