#include "tunnel/peer/door.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kFirstPause = 100ms, kPauseMax = 15s;
constexpr double kKnocksPerSecond = 50, kKnocksBurst = 100;
constexpr double kAnswersPerSecond = 5, kAnswersBurst = 8;
}  // namespace

DoorHouse::DoorHouse(base::Rng& r, base::Metrics& m)
    : rng(r), number(r.u64() | 1),
      knocked(m.counter("edgemeshd_tunnel_knocks_total", "Datagrams sent to last known addresses of peers that had no path.")),
      opened(m.counter("edgemeshd_tunnel_doors_opened_total", "Peers without a path that answered at a last known address.")),
      refused(m.counter("edgemeshd_tunnel_door_refused_total", "Handshake datagrams that were forged, repeated or of unknown peers.")) {}

Door::Door(bool client, DoorHouse& house, Hooks hooks) : client_(client), house_(house), hooks_(std::move(hooks)) {}

void Door::set_secrets(const std::vector<ResumeSecret>& secrets) {
  keys_.clear();
  for (const auto& s : secrets) keys_.push_back(derive_door_keys(s));
}

const DoorKeys* Door::keys_of(uint64_t id) const {
  auto it = std::find_if(keys_.begin(), keys_.end(), [&](const DoorKeys& k) { return k.id == id; });
  return it == keys_.end() ? nullptr : &*it;
}

// ---- out

void Door::want(bool wanted, base::Instant now) {
  if (wanted == wanted_) return;
  wanted_ = wanted;
  next_knock_.reset();
  if (wanted_) news(now);
}

void Door::news(base::Instant now) {
  if (!wanted_) return;
  pause_ = kFirstPause;
  round_ = 0;
  next_knock_ = now;
}

void Door::tick(base::Instant now) {
  if (!next_knock_ || now < *next_knock_) return;
  if (is_open(now)) {
    next_knock_ = proved_ + kOpenFor;
    return;
  }
  knock(now);
  next_knock_ = now + base::Duration(int64_t(double(pause_.count()) * (0.9 + 0.2 * house_.rng.unit())));
  pause_ = std::min<base::Duration>(pause_ * 2, kPauseMax);
}

// Mostly under the newest secret, every other time under an older one: the peer may have died before it wrote the newest.
void Door::knock(base::Instant now) {
  if (keys_.empty()) return;
  size_t which = round_ % 2 == 0 || keys_.size() == 1 ? 0 : 1 + round_ / 2 % (keys_.size() - 1);
  round_++;
  for (const PathAddr& to : hooks_.addresses()) {
    if (!house_.knocks.take(1, kKnocksPerSecond, kKnocksBurst, now)) return;
    house_.knocked.add();
    emit(keys_[which], DoorKind::knock, 0, {}, to);
  }
}

void Door::emit(const DoorKeys& k, DoorKind kind, uint64_t receiver, base::ByteView payload, const PathAddr& to) {
  hooks_.send(to, make_door({kind, k.id, house_.number, receiver, ++counter_, payload}, own_key(k)));
}

void Door::send(SignalKind kind, base::ByteView frame, base::Instant now) {
  const DoorKeys* k = keys_of(speaks_);
  if (!k) k = keys_.empty() ? nullptr : &keys_[0];
  if (!k || !is_open(now) || frame.empty() || frame.size() > kDoorFrameMax || kind == SignalKind::hint) return;
  emit(*k, kind == SignalKind::call ? DoorKind::call : DoorKind::frame, peer_.number, frame, *address_);
}

std::optional<base::Instant> Door::next_deadline() const { return next_knock_; }

// ---- in

// A counter is taken once, and only when it is less than 64 behind the highest.
bool Door::Heard::take(uint32_t counter) {
  if (counter > highest) {
    uint32_t step = counter - highest;
    seen = step < 64 ? seen << step | 1 : 1;
    highest = counter;
    return true;
  }
  uint32_t behind = highest - counter;
  if (behind >= 64 || (seen >> behind & 1)) return false;
  seen |= uint64_t(1) << behind;
  return true;
}

bool Door::is_retired(uint64_t number) const { return std::find(retired_.begin(), retired_.end(), number) != retired_.end(); }

bool Door::on_datagram(const PathAddr& from, base::ByteView b, base::Instant now) {
  auto p = read_door(b);
  const DoorKeys* k = p ? keys_of(p->id) : nullptr;
  if (!k || !is_authentic(b, peer_key(*k)) || is_retired(p->sender)) return house_.refused.add(), false;
  if (p->receiver != house_.number) return answer(*k, *p, from, now), true;
  if (!take_fresh(*p)) return house_.refused.add(), false;
  prove(*k, *p, from, now);
  if (p->kind == DoorKind::call) hooks_.on_frame(SignalKind::call, p->payload);
  if (p->kind == DoorKind::frame) hooks_.on_frame(SignalKind::handshake, p->payload);
  return true;
}

// It knows nothing of this process, or is an old one. Tells where we are now, to whoever of the peer's processes sent it.
void Door::answer(const DoorKeys& k, const DoorPacket& p, const PathAddr& to, base::Instant now) {
  Heard* known = p.sender == peer_.number ? &peer_ : nullptr;
  for (Heard& h : knockers_)
    if (h.number == p.sender) known = &h;
  if (!known) {
    known = &knockers_[knocker_++ % knockers_.size()];
    *known = {p.sender, 0, 0};
  }
  if (p.kind == DoorKind::welcome || !known->take(p.counter) || !answers_.take(1, kAnswersPerSecond, kAnswersBurst, now)) return house_.refused.add();
  emit(k, DoorKind::welcome, p.sender, {}, to);
}

bool Door::take_fresh(const DoorPacket& p) {
  if (p.sender != peer_.number) {
    if (peer_.number) retired_[retirements_++ % retired_.size()] = peer_.number;
    peer_ = {p.sender, 0, 0};
    for (Heard& h : knockers_)
      if (h.number == p.sender) peer_ = std::exchange(h, {});  // its knocks stay used
  }
  return peer_.take(p.counter);
}

void Door::prove(const DoorKeys& k, const DoorPacket& p, const PathAddr& from, base::Instant now) {
  bool was_open = is_open(now);
  // Several addresses may answer one knock: the first is the nearest, and a handshake keeps to the one it goes on at.
  if (!was_open || p.kind != DoorKind::welcome) address_ = from;
  speaks_ = k.id;
  proved_ = now;
  if (was_open) return;
  house_.opened.add();
  hooks_.on_open();
}

}  // namespace tunnel
