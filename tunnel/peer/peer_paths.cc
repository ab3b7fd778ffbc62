// The paths of one peer: which are checked when, which one carries the traffic, and how long silence is borne.
#include <algorithm>
#include <utility>

#include "tunnel/peer/peer.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kReportAfter = 250ms;
constexpr base::Duration kPollMoving = 100ms, kPollQuiet = 500ms;
constexpr base::Duration kPingGiveUp = 5s;
constexpr base::Duration kCheckAgain = 50ms;
constexpr int kTriesFair = 4;  // unanswered CHECKs that may be lost ones, or the peer not there yet
}  // namespace

const Path* PeerMachine::active_path() const {
  if (!active_) return nullptr;
  for (const Path& p : paths_.all())
    if (p.addr == *active_) return &p;
  return nullptr;
}

Path* PeerMachine::active_path() { return const_cast<Path*>(std::as_const(*this).active_path()); }

bool PeerMachine::is_cut_off() const { return keys_.has_current() && !paths_.is_any_answering(); }

bool PeerMachine::is_failing(const PathAddr& a) const {
  return is_hopeless(a) ||
         std::any_of(paths_.all().begin(), paths_.all().end(), [&](const Path& p) { return p.addr == a && p.state == PathState::suspect; });
}

bool PeerMachine::is_usable(const PathAddr& a) const {
  return std::any_of(paths_.all().begin(), paths_.all().end(), [&](const Path& p) { return p.addr == a && p.is_usable(); });
}

bool PeerMachine::is_hopeless(const PathAddr& a) const {
  for (const Path& p : paths_.all())
    if (p.addr == a) return p.state == PathState::dead || (p.state == PathState::checking && p.tries > kTriesFair);
  return false;
}

bool PeerMachine::is_direct() const {
  const Path* a = active_path();
  return a && !a->addr.is_relay() && a->is_usable();
}

void PeerMachine::send_sealed(const PathAddr& to, PacketType type, base::ByteView plain) {
  base::ByteVec packet = keys_.seal(type, plain);
  if (packet.empty()) return;
  last_sent_ = now_;
  env_.send(to, packet);
}

void PeerMachine::send_check(Path& p) {
  if (!keys_.has_current()) return;
  uint64_t txid = paths_.sent(p, now_);
  send_sealed(p.addr, PacketType::check, encode(Check{txid, p.id}));
  if (active_ && p.addr == *active_ && !unanswered_since_) unanswered_since_ = now_;
}

void PeerMachine::on_check(const PathAddr& from, base::ByteView plain, size_t size) {
  auto check = decode_check(plain);
  if (!check || (!from.is_relay() && !may_go_direct())) return;
  CheckAck ack = feedback();
  ack.txid = check->txid;
  ack.path = check->path;
  ack.observed = from.remote;
  ack.size = uint16_t(size);
  send_sealed(from, PacketType::check_ack, encode(ack));
  Path* p = paths_.add(from, from.is_relay() ? PathKind::relay : PathKind::prflx);
  if (p) paths_.used(*p, now_);
  // A path the peer can reach us on is worth proving from here at once; what was sent just before its packet came may have met a
  // NAT that was still closed.
  if (!p || p->state == PathState::valid) return;
  if (p->awaited.empty() || now_ - p->last_check >= kCheckAgain) return send_check(*p);
  if (!p->due) p->due = p->last_check + kCheckAgain;
}

void PeerMachine::on_check_ack(base::ByteView plain) {
  auto ack = decode_check_ack(plain);
  if (!ack || ack->txid == 0) return;
  if (is_older_alive(ack->txid)) refuse_rival();
  Path* p = paths_.on_ack(ack->txid, now_);
  if (!p) return on_mtu_ack(ack->txid);
  driver_.success();
  choose_path();
  if (!p->addr.is_relay()) {
    punch_.success(now_);
    if (!direct_after_ && up_since_ != base::Instant{}) direct_after_ = now_ - up_since_;
  }
  finish_pings(p);
}

CheckAck PeerMachine::feedback() const {
  CheckAck a;
  a.data_packets = env_.traffic().rx_packets;
  if (auto* w = keys_.control_window()) a.lanes.push_back({kControlLane, w->highest(), w->count()});
  return a;
}

void PeerMachine::send_report() {
  last_report_ = now_;
  reported_rx_ = seen_rx_;
  if (active_) send_sealed(*active_, PacketType::check_ack, encode(feedback()));
}

void PeerMachine::on_relay_path(const PathAddr& a, Binding binding, base::Instant now) {
  now_ = next_ = now;
  if (binding == Binding::none) {
    paths_.remove(a);
    if (unproved_ == a) unproved_.reset();
    return choose_path();
  }
  paths_.remove_if_relay(a.remote, a.relay_channel);
  if (Path* p = paths_.add(a, PathKind::relay)) {
    p->tries = 0;
    p->due = now;
  }
  choose_path();
  if (binding == Binding::both) note_unproved(a);
}

void PeerMachine::note_unproved(const PathAddr& a) {
  if (active_ || unproved_) return;
  unproved_ = a;
  apply_route();
}

void PeerMachine::doubt(const PathAddr& a, base::Instant now) {
  now_ = next_ = now;
  if (Path* p = paths_.find(a)) paths_.check_now(*p, now);
}

void PeerMachine::set_advertised(const std::vector<base::IpPort>& list, base::Instant now) {
  now_ = now;
  if (advertised_ == list) return;
  advertised_ = list;
  take_candidates(told_candidates_, punch_.remote_nat());
}

void PeerMachine::set_lan(const std::vector<base::IpPort>& list, base::Instant now) {
  now_ = next_ = now;
  lan_ = list;
  if (take_candidates(told_candidates_, punch_.remote_nat())) start_round();
}

// True: addresses are among them that were not known.
bool PeerMachine::take_candidates(std::vector<Candidate> list, const NatClass& nat) {
  told_candidates_ = std::move(list);
  std::vector<Candidate> all;
  for (const auto& a : advertised_) all.push_back({CandidateKind::advertised, a});
  for (const auto& a : lan_) all.push_back({CandidateKind::host, a});
  for (const auto& c : told_candidates_)
    if (may_check(c.at, node_.config.rules)) all.push_back(c);
  auto before = std::exchange(remote_candidates_, bounded(std::move(all)));
  bool news = std::any_of(remote_candidates_.begin(), remote_candidates_.end(),
                          [&](const Candidate& c) { return std::find(before.begin(), before.end(), c) == before.end(); });
  punch_.set_remote(remote_candidates_, nat);
  if (!may_go_direct()) return news;
  for (const auto& c : remote_candidates_) paths_.add({c.at, {}, 0}, path_kind(c.kind));
  return news;
}

void PeerMachine::on_own_candidates(base::Instant now) {
  now_ = next_ = now;
  if (!keys_.has_current() || !may_go_direct() || sent_revision_ == node_.candidates_revision) return;
  tell_candidates();
  for (Path& p : paths_.all())
    if (p.is_usable()) paths_.check_now(p, now);
  start_round();
}

// The own addresses, unless the peer has them: it cannot punch towards one it does not know.
void PeerMachine::tell_candidates() {
  if (!keys_.has_current() || !may_go_direct() || sent_revision_ == node_.candidates_revision) return;
  uint64_t revision = sent_revision_ = node_.candidates_revision;
  auto answer = [this, revision](const base::Result<ControlBody>& r) {
    if (!r && sent_revision_ == revision) sent_revision_ = 0;  // told again with the next round
  };
  control_.request(CandidateList{node_.candidates, revision, node_.nat}, answer, now_);
}

void PeerMachine::drive_paths() {
  for (Path* p : paths_.tick(now_)) send_check(*p);
  choose_path();
}

void PeerMachine::choose_path() {
  const Path* best = paths_.choose(active_);
  std::optional<PathAddr> to = best ? std::optional(best->addr) : std::nullopt;
  if (to == active_) return apply_route();
  if (!to) {  // keep sending where it last worked: nothing better is known
    if (active_path()) return;
  } else {
    if (active_) (to->is_relay() ? node_.moves_relay : node_.moves_direct).add();
    env_.log(base::LogLevel::info, fmt::format("{}: path {} -> {}", name_, active_ ? active_->str() : "none", to->str()));
  }
  bool left_direct = active_ && !active_->is_relay() && (!to || to->is_relay());
  active_ = to;
  last_move_ = now_;
  use_mtu_of_path();
  apply_route();
  if (active_) control_.repeat_now(now_);
  if (left_direct) start_round();
}

void PeerMachine::apply_route() {
  if (active_) unproved_.reset();
  const auto& to = active_ ? active_ : unproved_;
  DataKeysPtr keys = to ? keys_.current() : nullptr;
  uint64_t stream = keys || denied_ || rival_ ? 0 : driver_.stream();
  uint16_t mtu = routed_mtu();
  bool same_way = keys ? routed_path_ == to && routed_mtu_ == mtu : routed_stream_ == stream;
  if (keys == routed_keys_ && same_way) return;
  routed_keys_ = keys;
  routed_path_ = to;
  routed_mtu_ = mtu;
  routed_stream_ = stream;
  env_.set_route(keys, to.value_or(PathAddr{}), mtu, stream);
}

void PeerMachine::poll_traffic() {
  if (now_ < next_poll_) return;
  PeerTraffic t = env_.traffic();
  if (t.tx_packets != seen_tx_ || t.rx_packets != seen_rx_) {
    last_moving_ = now_;
    if (Path* a = active_path()) paths_.used(*a, std::max(t.last_tx, t.last_rx));
  }
  if (t.rx_packets != seen_rx_ && t.last_rx > last_heard_) on_heard(t.last_rx, is_active(t.last_rx_path));
  // The first packet out since the last one in starts the clock; the poll is late by at most its own interval.
  if (t.tx_packets != seen_tx_ && t.last_tx > last_heard_ && !unanswered_since_) unanswered_since_ = t.last_tx;
  if (Path* a = t.tx_long != std::exchange(seen_long_, t.tx_long) ? active_path() : nullptr) a->mtu.sent_long();
  seen_tx_ = t.tx_packets;
  seen_rx_ = t.rx_packets;
  bool silent = std::max(t.last_tx, last_sent_) + kReportAfter <= now_;
  if (seen_rx_ != reported_rx_ && silent && last_report_ + kReportAfter <= now_) send_report();
  if (!silent) reported_rx_ = seen_rx_;
  next_poll_ = now_ + (now_ - last_moving_ < 3s || unanswered_since_ ? kPollMoving : kPollQuiet);
}

void PeerMachine::watch_silence() {
  if (!unanswered_since_) return;
  const Path* a = active_path();
  base::Duration bear = std::max<base::Duration>(400ms, a ? 3 * a->rtt + 250ms : base::Duration(0));
  if (now_ - *unanswered_since_ < bear) return;
  for (Path& p : paths_.all())
    if (active_ && p.addr == *active_ && p.awaited.empty()) {
      paths_.check_now(p, now_);
      paths_.check_all_proved(now_);  // a way round is known, or known to be none, when this one is given up
    }
}

void PeerMachine::ping(std::function<void(base::Result<base::Duration>, std::string)> done, base::Instant now) {
  want(now);
  pings_.push_back({now, now + kPingGiveUp, 0, std::move(done)});
  for (Path& p : paths_.all())
    if (active_ && p.addr == *active_) paths_.check_now(p, now);
}

// Answered: this path just proved itself; pings wait for the active one. Null: only those that waited too long.
void PeerMachine::finish_pings(const Path* answered) {
  bool ok = answered && active_ && answered->addr == *active_;
  std::vector<Ping> over;
  for (auto it = pings_.begin(); it != pings_.end();) {
    bool take = ok || now_ >= it->give_up;
    if (take) over.push_back(std::move(*it));
    it = take ? pings_.erase(it) : it + 1;
  }
  for (Ping& p : over) {
    if (ok) p.done(answered->last_rtt, answered->addr.str());
    else
      p.done(base::fail(base::Code::timeout, "no answer from {} within 5 s{}", name_, last_error_.empty() ? "" : ": " + last_error_), "");
  }
}

}  // namespace tunnel
