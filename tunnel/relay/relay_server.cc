#include "tunnel/relay/relay_server.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "base/core/assert.h"
#include "tunnel/packet/packet.h"
#include "tunnel/relay/rate_limit.h"
#include "tunnel/relay/relay_token.h"
#include "tunnel/stun/stun.h"

namespace tunnel {
namespace {

constexpr base::Duration kOldSourceLife = std::chrono::seconds(2);
constexpr base::Duration kChallengeWindow = std::chrono::seconds(10);  // a CONFIRM may come in this window or the next
constexpr double kAsksPerSecond = 50, kAsksBurst = 100;                // STUN, and BIND and CONFIRM of strangers, per /24 or /56
constexpr double kEndAsksPerSecond = 4, kEndAsksBurst = 32;            // BIND and CONFIRM with a token of ours, per end of its channel
constexpr double kBurstSeconds = 0.05, kBurstBytesMin = 128 << 10;
constexpr uint32_t kChannelMask = 0xffffff;
constexpr size_t kRunDatagramsMax = 64, kRunBytesMax = 60'000;  // what one send with segmentation may carry

struct Side {
  std::string node;
  base::IpPort source, old_source;
  uint64_t generation = 0;  // 0: never bound
  base::Instant old_until{};
  TokenBucket asks;
  bool is_bound() const { return generation != 0; }
  bool sends_from(const base::IpPort& from, base::Instant now) const {
    return is_bound() && (from == source || (from == old_source && now < old_until));
  }
};

struct Channel {
  Side sides[2];
  uint32_t generation = 0;
  base::Instant expiry{};
};

struct Counters {
  explicit Counters(base::Metrics& m)
      : forwarded(m.counter("edgemeshd_relay_forwarded_bytes_total", "Bytes forwarded between bound ends of relay channels.")),
        bound(m.counter("edgemeshd_relay_bindings_total", "Relay bindings made or moved.")),
        stun(m.counter("edgemeshd_relay_stun_answers_total", "STUN requests answered.")), unbound(drop(m, "unbound")),
        budget(drop(m, "budget")), rate(drop(m, "rate")), refused(drop(m, "refused")), malformed(drop(m, "malformed")) {}
  static base::Counter& drop(base::Metrics& m, const char* reason) {
    return m.counter("edgemeshd_relay_dropped_packets_total", "Datagrams the relay role dropped, by reason.", {{"reason", reason}});
  }
  base::Counter &forwarded, &bound, &stun, &unbound, &budget, &rate, &refused, &malformed;
};

class RelayServerImpl final : public RelayServer {
 public:
  RelayServerImpl(Config c, base::Rng& rng, base::Metrics& m, Send send)
      : c_(std::move(c)), rng_(rng), count_(m), send_(std::move(send)), sealer_(RelaySealer::make(rng)),
        limit_(kAsksPerSecond, kAsksBurst, rng.u64()) {}

  std::pair<RelayGrant, RelayGrant> grant(const std::string& a, const std::string& b, base::Instant now) override {
    bool swapped = b < a;
    uint32_t number = channel_of(swapped ? b : a, swapped ? a : b, now);
    if (number == 0) return {};
    Channel& ch = channels_[number];
    ++ch.generation;
    ch.expiry = now + c_.grant_life;
    auto first = view(number, ch, 0), second = view(number, ch, 1);
    return swapped ? std::pair(second, first) : std::pair(first, second);
  }

  void revoke(const std::string& node) override {
    remove_if([&](const Channel& ch) { return ch.sides[0].node == node || ch.sides[1].node == node; });
    budgets_.erase(node);
  }

  void tick(base::Instant now) override {
    remove_if([&](const Channel& ch) { return ch.expiry <= now; });
    std::erase_if(budgets_, [&](auto& b) { return !has_channel(b.first); });
  }

  size_t channels() const override { return channels_.size(); }

  void on_datagrams(const base::IpPort& from, base::MutByteView all, size_t segment, base::Instant now) override {
    if (all.empty()) return count_.malformed.add();
    if (segment == 0 || segment > all.size()) segment = all.size();
    for (size_t at = 0; at < all.size();) {
      base::MutByteView run = all.subspan(at, run_bytes(all.subspan(at), segment));
      at += run.size();
      in_bytes_ = run.size();
      switch (classify(run.first(std::min(segment, run.size())))) {
        case Kind::relay_data: forward(from, run, segment, now); break;
        case Kind::relay_control: control(from, run, now); break;
        case Kind::stun: stun(from, run, now); break;
        default: count_.malformed.add();
      }
    }
  }

  std::optional<base::ByteVec> stun_answer(const base::IpPort& from, base::ByteView d, base::Instant now) override {
    auto m = parse_stun(d);
    if (!m || m->type != StunType::request) return count_.malformed.add(), std::nullopt;
    auto answer = make_stun_response(m->id, from, c_.stun_other_port);
    if (answer.size() > d.size()) return count_.malformed.add(), std::nullopt;
    if (!limit_.allow(from.ip, now)) return count_.rate.add(), std::nullopt;
    count_.stun.add();
    return answer;
  }

 private:
  void reply(const base::IpPort& to, base::ByteView b) { send(to, b, b.size()); }
  void send(const base::IpPort& to, base::ByteView b, size_t segment) {
    EM_ASSERT(b.size() <= in_bytes_);  // never more out than in
    in_bytes_ -= b.size();
    send_(to, b, std::min(segment, b.size()));
  }

  // One datagram; or as many as go the same way, which is said by the four bytes that RELAY DATA begins with.
  static size_t run_bytes(base::ByteView b, size_t segment) {
    size_t n = std::min(segment, b.size());
    if (n < kRelayHeaderBytes || classify(b.first(n)) != Kind::relay_data) return n;
    for (size_t datagrams = 1; n < b.size() && datagrams < kRunDatagramsMax; ++datagrams) {
      size_t next = std::min(segment, b.size() - n);
      if (next < kRelayHeaderBytes || n + next > kRunBytesMax || memcmp(&b[n], b.data(), kRelayHeaderBytes) != 0) break;
      n += next;
    }
    return n;
  }

  uint32_t channel_of(const std::string& a, const std::string& b, base::Instant now) {
    auto& known = by_pair_[{a, b}];
    if (known != 0 && channels_[known].expiry > now) return known;
    if (known != 0) channels_.erase(known);
    if (channels_.size() >= c_.channels_max) {
      by_pair_.erase({a, b});
      return 0;
    }
    do known = rng_.u32() & kChannelMask;
    while (known == 0 || channels_.contains(known));
    channels_[known].sides[0].node = a;
    channels_[known].sides[1].node = b;
    return known;
  }

  RelayGrant view(uint32_t number, const Channel& ch, uint8_t side) {
    RelayToken t{number, ch.generation, side, ch.expiry, relay_pair_id(ch.sides[0].node, ch.sides[1].node)};
    auto token = sealer_->seal(t);
    auto key = sealer_->bind_key(t);
    return {c_.name, c_.public_address, ch.sides[1 - side].node, number, ch.generation, {token.begin(), token.end()},
            {key.begin(), key.end()}, c_.grant_life};
  }

  void forward(const base::IpPort& from, base::ByteView run, size_t segment, base::Instant now) {
    auto frame = read_relay_frame(run.first(std::min(segment, run.size())));
    uint64_t datagrams = (run.size() + segment - 1) / segment;
    auto it = frame ? channels_.find(frame->channel) : channels_.end();
    if (it == channels_.end() || it->second.expiry <= now) return count_.unbound.add(datagrams);
    Channel& ch = it->second;
    int side = ch.sides[0].sends_from(from, now) ? 0 : ch.sides[1].sends_from(from, now) ? 1 : -1;
    if (side < 0 || !ch.sides[1 - side].is_bound()) return count_.unbound.add(datagrams);
    if (!has_budget(ch.sides[side].node, run.size(), now)) {
      if (datagrams == 1) return count_.budget.add();
      for (size_t at = 0; at < run.size(); at += segment)  // as many of them as it still has
        forward(from, run.subspan(at, std::min(segment, run.size() - at)), segment, now);
      return;
    }
    count_.forwarded.add(run.size());
    send(ch.sides[1 - side].source, run, segment);
  }

  bool has_budget(const std::string& node, size_t bytes, base::Instant now) {
    if (c_.bytes_per_s_per_node == 0) return true;
    double rate = double(c_.bytes_per_s_per_node);
    return budgets_[node].take(double(bytes), rate, std::max(rate * kBurstSeconds, kBurstBytesMin), now);
  }

  void stun(const base::IpPort& from, base::ByteView d, base::Instant now) {
    if (auto answer = stun_answer(from, d, now)) reply(from, *answer);
  }

  void control(const base::IpPort& from, base::ByteView d, base::Instant now) {
    auto m = parse_relay_message(d);
    if (!m || (m->kind != RelayKind::bind && m->kind != RelayKind::confirm)) return count_.malformed.add();
    auto token = sealer_->open(m->token);
    Channel* ch = token ? channel_of(*token, now) : nullptr;
    // Strangers share the budget of their network. An end of a channel has one of its own: a node with a thousand peers binds a
    // thousand channels from one address.
    bool in_budget = ch ? ch->sides[token->side].asks.take(1, kEndAsksPerSecond, kEndAsksBurst, now) : limit_.allow(from.ip, now);
    if (!in_budget) return count_.rate.add();
    // A stranger hears nothing but a challenge; only who brings it back from where he says he is hears why he is refused.
    if (m->kind == RelayKind::bind) return challenge(from, *m, now);
    if (!is_challenged(from, *m, now)) return count_.refused.add();
    if (!token || uint32_t(m->generation >> 32) != token->generation) return refuse(from, *m, RelayRefusal::unknown_token);
    if (!ch) return refuse(from, *m, RelayRefusal::expired);
    confirm(from, *m, *token, *ch, now);
  }

  Channel* channel_of(const RelayToken& t, base::Instant now) {
    auto it = channels_.find(t.channel);
    if (it == channels_.end() || t.expiry <= now) return nullptr;
    const auto& sides = it->second.sides;  // after a revocation the number may have gone to another pair
    return relay_pair_id(sides[0].node, sides[1].node) == t.pair ? &it->second : nullptr;
  }

  void refuse(const base::IpPort& to, const RelayMessage& m, RelayRefusal reason) {
    count_.refused.add();
    RelayMessage r;
    r.kind = RelayKind::refused;
    r.nonce = m.nonce;
    r.reason = reason;
    reply(to, write_relay_message(r));
  }

  static uint64_t window_of(base::Instant now) { return uint64_t(now.time_since_epoch() / kChallengeWindow); }

  void challenge(const base::IpPort& from, const RelayMessage& m, base::Instant now) {
    RelayMessage r;
    r.kind = RelayKind::challenge;
    r.nonce = m.nonce;
    r.challenge = sealer_->challenge(from, m.nonce, m.token, window_of(now));
    r.source = from;
    reply(from, write_relay_message(r));
  }

  bool is_challenged(const base::IpPort& from, const RelayMessage& m, base::Instant now) const {
    uint64_t w = window_of(now);
    return m.challenge == sealer_->challenge(from, m.nonce, m.token, w) || m.challenge == sealer_->challenge(from, m.nonce, m.token, w - 1);
  }

  void confirm(const base::IpPort& from, RelayMessage m, const RelayToken& t, Channel& ch, base::Instant now) {
    auto key = sealer_->bind_key(t);
    m.channel = t.channel;
    m.source = from;
    if (!is_equal_mac(m.mac, confirm_mac(key, m))) return count_.refused.add();
    Side& side = ch.sides[t.side];
    bool again = m.generation == side.generation && from == side.source;  // our CONFIRMED was lost
    if (!again && m.generation <= side.generation) return refuse(from, m, RelayRefusal::old_generation);
    if (!again) bind(side, from, m.generation, now);
    RelayMessage r;
    r.kind = RelayKind::confirmed;
    r.flags = ch.sides[1 - t.side].is_bound() ? kRelayPeerIsBound : 0;
    r.nonce = m.nonce;
    r.generation = m.generation;
    r.channel = t.channel;
    r.source = from;
    r.mac = confirmed_mac(key, r);
    reply(from, write_relay_message(r));
  }

  void bind(Side& side, const base::IpPort& from, uint64_t generation, base::Instant now) {
    if (side.is_bound() && side.source != from) {
      side.old_source = side.source;
      side.old_until = now + kOldSourceLife;
    }
    side.source = from;
    side.generation = generation;
    count_.bound.add();
  }

  bool has_channel(const std::string& node) const {
    return std::any_of(channels_.begin(), channels_.end(),
                       [&](auto& c) { return c.second.sides[0].node == node || c.second.sides[1].node == node; });
  }

  template <class F>
  void remove_if(F dead) {
    std::erase_if(channels_, [&](auto& c) {
      if (!dead(c.second)) return false;
      by_pair_.erase({c.second.sides[0].node, c.second.sides[1].node});
      return true;
    });
  }

  Config c_;
  base::Rng& rng_;
  Counters count_;
  Send send_;
  std::unique_ptr<RelaySealer> sealer_;
  SourceLimit limit_;
  std::unordered_map<uint32_t, Channel> channels_;
  std::map<std::pair<std::string, std::string>, uint32_t> by_pair_;
  std::map<std::string, TokenBucket> budgets_;
  size_t in_bytes_ = 0;  // what may still be answered to the datagram at hand
};

constexpr uint8_t kStreamSource = 0x01;  // first byte; the connection's number follows
constexpr size_t kStreamBytes = 6;

}  // namespace

base::IpPort stream_source(uint64_t connection) {
  uint8_t b[16] = {kStreamSource};
  for (size_t i = 0; i < kStreamBytes; i++) b[kStreamBytes - i] = uint8_t(connection >> 8 * i);
  return {base::IpAddr::v6(b), 1};
}

std::optional<uint64_t> stream_of(const base::IpPort& p) {
  if (!p.ip.is_v6() || p.ip.bytes()[0] != kStreamSource) return std::nullopt;
  uint64_t out = 0;
  for (size_t i = 1; i <= kStreamBytes; i++) out = out << 8 | p.ip.bytes()[i];
  return out;
}

std::unique_ptr<RelayServer> RelayServer::make(Config c, base::Rng& rng, base::Metrics& m, Send send) {
  return std::make_unique<RelayServerImpl>(std::move(c), rng, m, std::move(send));
}

}  // namespace tunnel
