// What the Puncher asks of the machine: sealed probes, sockets, PunchNow inside the session; and what the machine tells it.
#include <algorithm>

#include "tunnel/peer/peer.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kHopeful = 2s;   // a path just checked may yet answer
constexpr base::Duration kBusy = 60s;     // packets within: worth a birthday
}  // namespace

// No direct path works: look for one, or look again with what is new.
void PeerMachine::start_round() {
  const Path* a = active_path();
  if (!may_go_direct() || !keys_.has_current() || (a && !a->addr.is_relay() && a->is_usable())) return;
  punch_.want(now_);
  next_ = now_;
}

void PeerMachine::on_udp_back(base::Instant now) {
  now_ = next_ = now;
  start_round();
}

void PeerMachine::drive_punch() {
  if (!may_go_direct()) return;
  tell_candidates();
  punch_.tick(now_);
  if (!punch_.is_trying()) paths_.end_round(now_);
}

void PeerMachine::on_punch(const PunchNow& p) {
  if (!may_go_direct()) return;
  const Path* a = active_path();
  if (a && !a->addr.is_relay()) {  // the peer has lost what works here: does it?
    for (Path& path : paths_.all())
      if (&path == a) paths_.check_now(path, now_);
    if (p.rung == PunchRung::ask) return;
  }
  punch_.on_punch(p, now_);
}

bool PeerMachine::on_stun(uint32_t socket, const StunMessage& m, base::Instant now) {
  bool taken = punch_.on_stun(socket, m, now);
  if (taken) now_ = next_ = now;
  return taken;
}

void PeerMachine::send_probe(const PathAddr& to, uint8_t ttl) {
  if (!keys_.has_current()) return;
  if (Path* p = ttl == 0 ? paths_.find(to) : nullptr) {
    if (!p->is_usable()) send_check(*p);
    return;
  }
  base::ByteVec packet = keys_.seal(PacketType::check, encode(Check{node_.rng.u64() | 1, 0}));
  if (!packet.empty()) env_.send(to, packet, ttl);
}

void PeerMachine::send_stun(const PathAddr& to, const StunId& id) { env_.send(to, make_stun_request(id), 0); }
std::optional<uint32_t> PeerMachine::open_socket() { return env_.open_socket(); }
void PeerMachine::close_socket(uint32_t s) {
  std::vector<PathAddr> by;
  for (const Path& p : paths_.all())
    if (p.addr.socket == s) by.push_back(p.addr);
  for (const PathAddr& a : by) paths_.remove(a);
  env_.close_socket(s);
}
bool PeerMachine::is_socket_used(uint32_t s) const {
  if ((active_ && active_->socket == s) || (routed_path_ && routed_path_->socket == s)) return true;
  return std::any_of(paths_.all().begin(), paths_.all().end(), [&](const Path& p) {
    return p.addr.socket == s && (p.is_usable() || (p.state != PathState::dead && now_ - p.last_check < kHopeful));
  });
}
void PeerMachine::tell(PunchNow p, std::function<void(bool)> answered) {
  control_.request(std::move(p), [answered = std::move(answered)](const base::Result<ControlBody>& r) { answered(r.has_value()); }, now_);
}
bool PeerMachine::take_probe(base::Instant now) { return node_.probes.take(now); }
bool PeerMachine::take_birthday(bool take) {
  if (take && node_.has_birthday) return false;
  node_.has_birthday = take;
  return true;
}
bool PeerMachine::is_busy() const { return now_ - last_moving_ < kBusy; }
bool PeerMachine::has_path() const {
  const Path* a = active_path();
  return a && a->is_usable();
}
base::Duration PeerMachine::path_rtt() const {
  const Path* a = active_path();
  return a ? a->rtt : base::Duration(0);
}
NatClass PeerMachine::own_nat() const { return node_.nat; }
std::optional<base::IpPort> PeerMachine::own_outside() const { return node_.outside; }
std::vector<base::IpPort> PeerMachine::stun_servers() const { return node_.stun_servers; }
void PeerMachine::on_attempt(PunchRung rung, bool ok, base::Duration took) {
  attempts_.push_back({rung, ok, took});
  if (attempts_.size() > kAttemptsShown) attempts_.erase(attempts_.begin());
  node_.punched(rung, ok, node_.nat, punch_.remote_nat()).add();
}

void PeerMachine::on_birthday_skipped(BirthdaySkip why) { node_.birthday_skipped(why).add(); }

}  // namespace tunnel
