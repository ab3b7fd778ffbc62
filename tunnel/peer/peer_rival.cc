// Two live processes with one certificate: a key was stolen, or a machine was copied. A handshake of another process of the peer waits
// until it is known whether the one before still answers. Mostly it was restarted and does not: kOlderAnswers later the new one has
// its session. If it does, it keeps the session, the new one gets none, and that is an alarm.
#include <algorithm>
#include <utility>

#include "tunnel/peer/peer.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kOlderAnswers = 300ms, kAskAgain = 100ms;  // or three round trips
constexpr base::Duration kTellAgain = 60s;
constexpr base::Duration kAlreadySilent = 400ms;
}  // namespace

// False: nothing speaks for the one before; the new one is taken at once.
bool PeerMachine::contest(uint32_t index, const Handshake::Outcome& o) {
  bool silent = unanswered_since_ && now_ - *unanswered_since_ >= kAlreadySilent;
  if (!keys_.has_current() || peer_.instance == o.hello.instance || has_closed_ || silent || !active_path()) return false;
  rival_ = Rival{index, now_ + std::max(kOlderAnswers, 3 * path_rtt()), now_, {}, false, o.peer};
  ask_older();
  return true;
}

void PeerMachine::ask_older() {
  const Path* p = active_path();
  if (!rival_ || !p || now_ < rival_->ask_at) return;
  rival_->ask_at = now_ + kAskAgain;
  rival_->asked.push_back(node_.rng.u64() | 1);  // no CHECK of the path's own: silence says nothing about the path
  send_sealed(p->addr, PacketType::check, encode(Check{rival_->asked.back(), p->id}));
}

// True: that was an answer of the process before, so it lives.
bool PeerMachine::is_older_alive(uint64_t txid) const {
  return rival_ && std::find(rival_->asked.begin(), rival_->asked.end(), txid) != rival_->asked.end();
}

void PeerMachine::refuse_rival() {
  rival_.reset();
  if (auto index = keys_.drop_next()) drop_index(*index);
  next_hello_.reset();
  node_.rivals.add();
  last_error_ = fmt::format(
      "two live processes hold the key of {}: the older keeps its session. If one of them is not yours, the key is stolen: "
      "edgemeshctl ca deny {}, then issue the node anew under another name",
      name_, name_);
  if (rival_told_ != base::Instant{} && now_ - rival_told_ < kTellAgain) return;
  rival_told_ = now_;
  env_.log(base::LogLevel::error, last_error_);
}

void PeerMachine::settle_rival() {
  ask_older();
  if (!rival_ || now_ < rival_->until) return;
  Rival won = *std::exchange(rival_, std::nullopt);
  take_identity(won.identity);
  if (won.has_keys) promote(won.index);
}

}  // namespace tunnel
