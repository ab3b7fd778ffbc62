#include "tunnel/peer/peer.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kDark = 1s;
constexpr base::Duration kDarkJitter = 200ms;
constexpr base::Duration kPathless = 3s;
constexpr const char* kIdle = "idle";
constexpr base::Duration kLookAsleep = 500ms;
}  // namespace

PeerMachine::PeerMachine(std::string name, NodeContext& node, PeerEnv& env)
    : name_(std::move(name)),
      node_(node),
      env_(env),
      driver_(node.config.identity.name, name_, node,
              {[this](SignalKind k, base::ByteView b) { env_.signal(k, b); }, [this](bool client) { return make_handshake(client); },
               [this](const Handshake::Outcome& o) { on_outcome(o); }, [this](const base::Error& e) { on_handshake_failed(e); },
               [this](base::ByteView packet) { on_packet(packet); }}),
      keys_(node.config.rekey),
      control_(ControlChannel::Hooks{[this](base::ByteView b) {
                                       if (active_) send_sealed(*active_, PacketType::control, b);
                                     },
                                     [this](const ControlBody& b) { return on_request(b); }},
               node.rng),
      paths_(node.rng),
      punch_(goes_first(node.config.identity.name, name_), node.config.punch, *this, node.rng) {}

PeerMachine::~PeerMachine() {
  for (uint32_t i : keys_.clear()) drop_index(i);
  if (own_index_) node_.indices.give_back(own_index_, now_);
}

void PeerMachine::want(base::Instant now) {
  now_ = next_ = now;
  wanted_ = true;
  if (!denied_ && !keys_.has_current()) driver_.want(now);
}

void PeerMachine::on_signal(SignalKind kind, base::ByteView b, base::Instant now) {
  now_ = next_ = now;
  if (denied_) return;
  if (kind == SignalKind::call) driver_.on_call(b, now);
  if (kind == SignalKind::handshake) driver_.on_frame(b, now);
  if (kind == SignalKind::hint) paths_.check_all_proved(now);  // a hint only makes us look
}

std::unique_ptr<Handshake> PeerMachine::make_handshake(bool client) {
  if (own_index_) node_.indices.give_back(own_index_, now_);
  own_index_ = node_.indices.take(now_);
  const auto& c = node_.config;
  Handshake::Config h{client, c.identity.trust_domain, c.identity.name, name_, c.leaf, c.psks, {}, c.accept};
  h.hello = {node_.instance, own_index_, c.aead, may_go_direct() ? node_.candidates : std::vector<Candidate>{}, "", {}, {}, node_.nat};
  hello_revision_ = node_.candidates_revision;
  return std::make_unique<Handshake>(std::move(h), c.make_channel(client, name_));
}

void PeerMachine::on_outcome(const Handshake::Outcome& o) {
  uint32_t index = o.keys->local_index();
  if (index == own_index_) {  // told for the first time
    own_index_ = 0;
    next_index_ = index;
    next_hello_ = o.hello;
    next_secret_ = o.resume;
    rival_.reset();
    if (!contest(index, o)) take_identity(o.peer);
    if (auto given_up = keys_.add_next(o.keys, now_)) drop_index(*given_up);
    env_.add_receive_keys(o.keys);
  }
  if (o.confirmed) promote(index);
}

void PeerMachine::carry(base::ByteView packet, base::Instant now) {
  now_ = next_ = now;
  if (denied_ || driver_.stream() == 0) return;
  driver_.carry(packet, now);
  node_.carried_out.add();
}

// While it is not settled who the peer is, a process that may be the lesser one is not listened to.
void PeerMachine::on_packet(base::ByteView packet) {
  if (denied_ || rival_) return;
  node_.carried_in.add();
  env_.deliver(packet);
}

void PeerMachine::take_identity(const base::NodeIdentity& id) {
  identity_ = id;
  env_.on_identity(id);
}

void PeerMachine::on_handshake_failed(const base::Error& e) {
  const std::string trouble = e.code == base::Code::timeout ? env_.signal_trouble() : "";
  last_error_ = trouble.empty() ? e.what : e.what + " " + trouble;
  env_.log(base::LogLevel::warn, fmt::format("{}: handshake failed: {}", name_, last_error_));
  // What the failed attempt had put up as next is void; keys in use stay.
  if (next_hello_ && e.code != base::Code::timeout) {
    if (auto index = keys_.drop_next()) drop_index(*index);
    next_hello_.reset();
    rival_.reset();
  }
}

void PeerMachine::promote(uint32_t index) {
  if (rival_ && rival_->index == index) return void(rival_->has_keys = true);
  if (!keys_.promote(index, now_)) return;
  bool changed = !next_hello_ || peer_.instance != next_hello_->instance;
  if (next_hello_) {
    peer_ = std::move(*next_hello_);
    env_.on_secret(std::exchange(next_secret_, {}));
  }
  next_hello_.reset();
  has_closed_ = false;
  if (changed) told_revision_ = 0;
  if (changed) control_.reset({base::Code::unavailable, name_ + " was restarted"});
  last_error_.clear();
  on_new_current();
  env_.on_session(changed);
}

void PeerMachine::on_new_current() {
  if (up_since_ == base::Instant{}) up_since_ = now_;
  sent_before_ = env_.traffic().tx_packets;
  on_heard(now_, true);
  take_candidates(peer_.candidates, peer_.nat);
  for (Path& p : paths_.all())
    if (p.addr.is_relay() || p.state == PathState::valid) paths_.check_now(p, now_);
  start_round();
  current_since_ = now_;
  door_path_ = may_go_direct() ? env_.heard_at_door() : std::nullopt;
  door_check_ = now_;
  check_door_path();
  apply_route();
  sent_revision_ = hello_revision_;
  tell_candidates();  // what was learned while the handshake ran
  next_ = now_;
}

ControlBody PeerMachine::on_request(const ControlBody& body) {
  if (auto* c = std::get_if<CandidateList>(&body)) {
    if (c->revision < told_revision_) return Ack{};  // sent again after a newer one had come
    told_revision_ = c->revision;
    NatClass before = punch_.remote_nat();
    if (take_candidates(c->candidates, c->nat) || c->nat != before) start_round();
    return Ack{};
  }
  if (auto* p = std::get_if<PunchNow>(&body)) {
    on_punch(*p);
    return Ack{};
  }
  if (auto* c = std::get_if<Close>(&body)) {  // the peer goes away on purpose: no alarm, no hurry; keys stay until it is back
    wanted_ = false;
    told_to_let_go_ = c->reason == kIdle;
    has_closed_ = !told_to_let_go_;  // an idle peer lives
    return Ack{};
  }
  return env_.on_request(body);
}

void PeerMachine::deny(const std::string& why) {
  denied_ = true;
  last_error_ = why;
  driver_.give_up();
  control_.reset({base::Code::denied, why});
  for (uint32_t i : keys_.clear()) drop_index(i);
  next_hello_.reset();
  rival_.reset();
  active_.reset();
  unproved_.reset();
  unanswered_since_.reset();
  apply_route();
}

std::optional<base::Duration> PeerMachine::idle_for(base::Instant now) const {
  if (!keys_.has_current() || driver_.is_wanted() || !pings_.empty() || !env_.has_signal_route()) return std::nullopt;
  PeerTraffic t = env_.traffic();
  return now - std::max({up_since_, t.last_tx, t.last_rx});
}

void PeerMachine::let_go(bool tell, base::Instant now) {
  now_ = next_ = now;
  told_to_let_go_ = false;
  if (!keys_.has_current()) return;
  base::ByteVec goodbye = encode(ControlMessage{node_.rng.u64(), false, Close{kIdle}});
  for (int copies = tell && active_ ? 2 : 0; copies > 0; copies--) send_sealed(*active_, PacketType::control, goodbye);
  seen_rx_ = env_.traffic().rx_packets;
  keys_.retire(now);
  asleep_until_ = now + kPreviousKeysLife;
  wanted_ = false;
  up_since_ = {};
  control_.reset({base::Code::unavailable, "the session with " + name_ + " was let go: nothing passed"});
  active_.reset();
  unproved_.reset();
  door_path_.reset();
  unanswered_since_.reset();
  paths_.clear();
  apply_route();
  punch_.stop();
}

// The peer did not hear that the session is let go, and sent.
void PeerMachine::wake_if_heard() {
  if (!asleep_until_) return;
  bool heard = env_.traffic().rx_packets != seen_rx_;
  if (keys_.has_current() || heard || now_ >= *asleep_until_) asleep_until_.reset();
  if (heard && !keys_.has_current()) want(now_);
}

void PeerMachine::drop_index(uint32_t index) {
  env_.remove_receive_keys(index);
  node_.indices.give_back(index, now_);
}

void PeerMachine::request(ControlBody body, ControlChannel::Answer answer, base::Instant now) {
  now_ = next_ = now;
  if (!keys_.has_current())
    return answer(base::fail(base::Code::unavailable, "no session with {}{}", name_, last_error_.empty() ? "" : ": " + last_error_));
  control_.request(std::move(body), std::move(answer), now);
}

void PeerMachine::close(const std::string& reason) {
  if (is_up()) send_sealed(*active_, PacketType::control, encode(ControlMessage{node_.rng.u64(), false, Close{reason}}));
}

void PeerMachine::on_datagram(const PathAddr& from, base::ByteView packet, base::Instant now) {
  now_ = next_ = now;
  auto opened = keys_.open(packet);
  if (!opened) return node_.rejected.add();
  promote(opened->header.index);
  on_heard(now, is_active(from));
  if (!active_ && from.is_relay()) note_unproved(from);  // it came through: both ends are bound
  switch (opened->header.type) {
    case PacketType::check:
      return on_check(from, opened->plain, packet.size());
    case PacketType::check_ack:
      return on_check_ack(opened->plain);
    case PacketType::control:
      return control_.on_message(opened->plain);
    default:
      return;
  }
}

void PeerMachine::on_first_data(uint32_t index, base::Instant now) {
  now_ = next_ = now;
  promote(index);
  on_heard(now, true);
}

// What comes another way, as a CHECK over the relay does when the peer looks for a way round, is no answer of the path in use.
void PeerMachine::on_heard(base::Instant now, bool by_active) {
  last_heard_ = now;
  if (by_active) unanswered_since_.reset();
}

bool PeerMachine::is_active(const PathAddr& from) const {
  return !active_ || (from.remote == active_->remote && from.relay_channel == active_->relay_channel);
}

void PeerMachine::on_routes_changed(base::Instant now) {
  now_ = next_ = now;
  if (wanted_ && !denied_ && !is_up() && env_.has_signal_route()) driver_.want(now);
}

void PeerMachine::resume(base::Instant now) {
  now_ = next_ = now;
  if (!denied_ && (!keys_.has_current() || needs_handshake(now))) driver_.hurry(now);
}

void PeerMachine::call_again(base::Instant now) {
  now_ = next_ = now;
  if (!denied_ && !keys_.has_current()) driver_.try_once(now);
}

bool PeerMachine::is_dark(base::Instant now) const {
  return keys_.has_current() && unanswered_since_ && now - *unanswered_since_ >= kDark && !paths_.is_any_answering();
}

bool PeerMachine::is_rekey_due(base::Instant now) const { return keys_.should_rekey(now, env_.traffic().tx_packets - sent_before_); }

bool PeerMachine::needs_handshake(base::Instant now) const {
  if (denied_) return false;
  if (!keys_.has_current()) return wanted_;
  return is_dark(now) || is_rekey_due(now) || (!active_ && now - current_since_ >= kPathless);
}

// Where the handshake went its packets go, too; but neither may be punched towards as a candidate of the peer.
void PeerMachine::check_door_path() {
  if (active_ || !door_path_ || now_ < door_check_) return;
  base::Duration age = now_ - current_since_;
  if (age > kPathless) return door_path_.reset();
  if (Path* p = paths_.add(*door_path_, PathKind::prflx); p && !p->is_usable()) send_check(*p);
  door_check_ = now_ + std::max<base::Duration>(100ms, age);
}

void PeerMachine::rekey_if_due() {
  if (is_rekey_due(now_) && env_.has_signal_route()) driver_.want(now_);
}

void PeerMachine::restart_if_dark() {
  if (!is_dark(now_) || driver_.is_wanted() || !env_.has_signal_route()) return;
  driver_.want(now_ + base::Duration(int64_t(node_.rng.below(uint64_t(base::Duration(kDarkJitter).count())))));
}

void PeerMachine::tick(base::Instant now) {
  now_ = now;
  driver_.tick(now);
  for (uint32_t i : keys_.expire(now)) drop_index(i);
  settle_rival();
  wake_if_heard();
  if (keys_.has_current()) {
    poll_traffic();
    watch_silence();
    drive_punch();
    drive_paths();
    drive_mtu();
    check_door_path();
    control_.tick(now);
    rekey_if_due();
  }
  restart_if_dark();
  finish_pings(nullptr);
  apply_route();  // a handshake's stream opens and ends
  compute_deadline();
}

void PeerMachine::compute_deadline() {
  base::Instant t = now_ + 10s;
  auto earliest = [&](std::optional<base::Instant> x) {
    if (x) t = std::min(t, *x);
  };
  earliest(driver_.next_deadline());
  if (keys_.has_current()) {
    earliest(next_poll_);
    earliest(paths_.next_deadline());
    if (const Path* a = active_path()) earliest(a->mtu.next_deadline());
    earliest(punch_.next_deadline());
    if (!active_ && door_path_) earliest(door_check_);
    if (rival_) earliest(std::min(rival_->until, rival_->ask_at));
    earliest(control_.next_deadline());
  }
  for (const Ping& p : pings_) earliest(p.give_up);
  if (asleep_until_) earliest(now_ + kLookAsleep);
  next_ = std::max(t, now_ + 1ms);
}

}  // namespace tunnel
