#include "tunnel/relay/relay_client.h"

namespace tunnel {
namespace {
constexpr base::Duration kFirstPause = std::chrono::milliseconds(250), kPauseMax = std::chrono::seconds(4);
constexpr base::Duration kBoundWithoutAnswer = std::chrono::seconds(30);
constexpr int kConfirmsMax = 3;  // then from the start: our address may have changed, the challenge grown too old
}  // namespace

RelayClient::RelayClient(base::Rng& rng, Send send) : rng_(rng), send_(std::move(send)) {}

void RelayClient::on_grant(RelayGrant g, base::Instant now) {
  if (g.channel == 0 || g.token.size() != kRelayTokenBytes || g.bind_key.size() != kRelayBindKeyBytes) return;
  bool same = g.channel == grant_.channel && g.relay_address == grant_.relay_address;
  if (same && g.generation <= grant_.generation && state_ != State::refused) return;
  if (!same || state_ != State::bound) state_ = State::binding, peer_bound_ = false;
  grant_ = std::move(g);
  granted_at_ = now;
  bindings_ = 0;
  start(now);
}

void RelayClient::rebind(base::Instant now) {
  if (state_ == State::bound || state_ == State::binding) start(now);
}

void RelayClient::start(base::Instant now) {
  sending_ = {};
  sending_.kind = RelayKind::bind;
  sending_.nonce = rng_.u64();
  sending_.channel = grant_.channel;
  sending_.generation = uint64_t(grant_.generation) << 32 | ++bindings_;
  std::copy(grant_.token.begin(), grant_.token.end(), sending_.token.begin());
  pause_ = kFirstPause;
  tries_ = 0;
  if (!asked_at_) asked_at_ = now;
  transmit(now);
}

void RelayClient::transmit(base::Instant now) {
  deadline_ = now + pause_;
  pause_ = std::min(pause_ * 2, kPauseMax);
  ++tries_;
  send_(grant_.relay_address, write_relay_message(sending_));
}

void RelayClient::tick(base::Instant now) {
  if (state_ == State::bound && now >= confirmed_at_ + kBoundWithoutAnswer) state_ = State::binding, peer_bound_ = false;
  if (!deadline_ || now < *deadline_) return;
  if (now >= granted_at_ + grant_.valid) {
    state_ = State::refused;
    deadline_.reset();
    return;
  }
  if (!asked_at_ || (sending_.kind == RelayKind::confirm && tries_ >= kConfirmsMax)) start(now);
  else transmit(now);
}

bool RelayClient::on_datagram(const base::IpPort& from, base::ByteView d, base::Instant now) {
  if (!asked_at_ || from != grant_.relay_address) return false;
  auto m = parse_relay_message(d);
  if (!m || m->nonce != sending_.nonce) return false;
  if (m->kind == RelayKind::challenge) on_challenge(*m, now);
  else if (m->kind == RelayKind::confirmed) return on_confirmed(*m, now);
  else if (m->kind == RelayKind::refused) on_refused();
  else return false;
  return true;
}

void RelayClient::on_challenge(const RelayMessage& m, base::Instant now) {
  if (sending_.kind == RelayKind::confirm) return;  // the first challenge counts: what we send would be as good
  sending_.kind = RelayKind::confirm;
  sending_.challenge = m.challenge;
  sending_.source = m.source;
  sending_.mac = confirm_mac(grant_.bind_key, sending_);
  pause_ = kFirstPause;
  tries_ = 0;
  transmit(now);
}

void RelayClient::on_refused() {
  state_ = State::refused;
  peer_bound_ = false;
  asked_at_.reset();
  deadline_.reset();
}

bool RelayClient::on_confirmed(const RelayMessage& m, base::Instant now) {
  RelayMessage signed_part = m;
  signed_part.generation = sending_.generation;
  if (m.channel != grant_.channel || !is_equal_mac(m.mac, confirmed_mac(grant_.bind_key, signed_part))) return false;
  state_ = State::bound;
  confirmed_at_ = now;
  observed_ = m.source;
  peer_bound_ = m.flags & kRelayPeerIsBound;
  asked_at_.reset();
  deadline_ = now + interval_;
  return true;
}

bool RelayClient::wants_grant(base::Instant now) const {
  return state_ == State::idle || state_ == State::refused || now >= granted_at_ + base::Duration(grant_.valid) * 3 / 4;
}

}  // namespace tunnel
