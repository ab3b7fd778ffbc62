// Relays: grants and channels for each peer, the own address as relays see it, and frames from signalling.
#include <algorithm>

#include "tunnel/peer/mesh_record.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kGrantPause = 500ms, kGrantPauseMax = 5s;  // between requests for one peer at one relay, doubling
constexpr base::Duration kSearchPauseMax = 60s;   // the same while there is a channel, but the peer does not answer over it
constexpr base::Duration kGrantLetOther = 300ms;  // the side that did not begin the handshake asks later: one request is enough
constexpr base::Duration kSecondAfter = 5s;       // without a direct path: a channel at a second relay as well
constexpr base::Duration kRebindPause = 2s, kBindingSilence = 3s;
constexpr base::Duration kLeave = 2s;  // the relay takes what comes from the source before for that long
constexpr size_t kChannelsMax = 2;
using Binding = PeerMachine::Binding;

// A relay that was restarted cannot read the old grant and may not say so: silence, too, asks for another.
bool stands(const RelayClient& c, base::Instant now) {
  return !c.wants_grant(now) && !(c.unanswered_since() && now - *c.unanswered_since() > kBindingSilence);
}
}  // namespace

// Which relays can be asked now, the nearest first. Whoever uses one that was just lost looks at once whether it still carries.
void MeshNode::follow_relays() {
  std::vector<RelayInfo> now;
  for (auto& i : signal_.relays())
    if (i.connected) now.push_back(std::move(i));
  std::stable_sort(now.begin(), now.end(), [](const RelayInfo& a, const RelayInfo& b) { return a.rtt < b.rtt; });
  auto before = std::exchange(relays_, std::move(now));
  for (const auto& lost : before) {
    if (is_connected(lost.name)) continue;
    for (auto& [name, r] : peers_)
      if (auto c = r->channels.find(lost.name); c != r->channels.end() && c->second.announced)
        r->machine.doubt(*c->second.announced, loop_.now());
  }
}

bool MeshNode::is_connected(const std::string& relay) const {
  return std::any_of(relays_.begin(), relays_.end(), [&](const RelayInfo& i) { return i.name == relay; });
}

void MeshNode::on_frame(const std::string& from, SignalKind kind, base::ByteView b) {
  Record* r = kind == SignalKind::hint ? find(from) : meet(from, false);
  if (!r) return;
  if (kind == SignalKind::handshake) r->through_door = false;
  r->machine.on_signal(kind, b, loop_.now());
  drive_grants(*r);
  touch(*r);
}

void MeshNode::on_grant(RelayGrant g) {
  Record* r = meet(g.peer, false);
  if (!r || r->machine.is_denied() || !make_room(*r, g.relay)) return;
  auto& c = r->channels[g.relay];
  if (!c.client)
    c.client = std::make_unique<RelayClient>(node_.rng, [this, name = g.relay](const base::IpPort& at, base::ByteView b) {
      if (data_) data_->send({at, {}, 0, socket_to(name)}, b);
    });
  c.client->on_grant(std::move(g), loop_.now());
  touch(*r);
}

// The own end is bound, and the peer is not heard there: it may be bound at other relays.
bool MeshNode::is_deserted(const Record& r, const Channel& c) const { return c.announced && r.machine.is_hopeless(*c.announced); }

// For a channel at this relay: one that no longer stands gives way, or one that only this end holds. Else two nodes that came to hold
// different relays, one of them restarted while others were down, would refuse each other's for ever.
bool MeshNode::make_room(Record& r, const std::string& relay) {
  if (r.channels.contains(relay) || r.channels.size() < kChannelsMax) return true;
  auto dead = std::find_if(r.channels.begin(), r.channels.end(), [&](const auto& e) { return !stands(*e.second.client, loop_.now()); });
  if (dead == r.channels.end())
    dead = std::find_if(r.channels.begin(), r.channels.end(), [&](const auto& e) { return is_deserted(r, e.second); });
  if (dead == r.channels.end()) return false;
  if (dead->second.announced) r.machine.on_relay_path(*dead->second.announced, Binding::none, loop_.now());
  r.channels.erase(dead);
  return true;
}

// A channel is wanted while the peer is; a second one, at another relay, when it stays without a direct path: the death of one relay
// is no pause then. Asked from the nearest relay that has none yet. One over which the peer does not answer does not count.
void MeshNode::drive_grants(Record& r) {
  base::Instant now = loop_.now();
  r.grant_due.reset();
  if (r.machine.is_denied() || !(r.machine.is_connecting() || r.machine.has_session())) return;
  bool direct = r.machine.is_direct();
  if (direct) r.without_direct.reset();
  else if (!r.without_direct) r.without_direct = now;
  size_t enough = !direct && now - *r.without_direct >= kSecondAfter ? kChannelsMax : 1;
  auto standing = size_t(std::count_if(r.channels.begin(), r.channels.end(), [&](const auto& e) { return stands(*e.second.client, now); }));
  auto deserted = size_t(std::count_if(r.channels.begin(), r.channels.end(),
                                       [&](const auto& e) { return stands(*e.second.client, now) && is_deserted(r, e.second); }));
  if (standing - deserted >= enough) return;
  base::Duration pause_max = standing >= enough ? kSearchPauseMax : kGrantPauseMax;
  std::erase_if(r.asking, [&](const auto& e) { return !is_connected(e.first); });
  for (const auto& i : relays_) {
    auto known = r.channels.find(i.name);
    if (known != r.channels.end() && stands(*known->second.client, now)) continue;
    if (!ask_grant(r, i.name, pause_max)) return;
  }
}

// True: it was asked more than once and gave nothing: the peer may not be there.
bool MeshNode::ask_grant(Record& r, const std::string& relay, base::Duration pause_max) {
  base::Instant now = loop_.now();
  bool lets_other = !r.machine.is_caller() && (r.machine.is_answering() || !goes_first(config_.node.identity.name, r.machine.name()));
  auto& a = r.asking.try_emplace(relay, Record::Asking{lets_other ? now + kGrantLetOther : now, kGrantPause}).first->second;
  if (now >= a.next) {
    a.next = now + a.pause;
    a.pause = std::min(a.pause * 2, pause_max);
    signal_.request_grant(r.machine.name(), relay);
  }
  r.grant_due = r.grant_due ? std::min(*r.grant_due, a.next) : a.next;
  return a.pause > 2 * kGrantPause;
}

void MeshNode::ask_stun_now() {
  stun_.ask_all();
  wake();
}

// The path is another one or none. Only the carrier changed: the old way is kept for as long as the relay takes what comes by it.
void MeshNode::leave(Record& r, Channel& c, const std::optional<PathAddr>& path) {
  base::Instant now = loop_.now();
  if (c.leaving) r.machine.on_relay_path(c.leaving->first, Binding::none, now);
  c.leaving.reset();
  if (path && path->relay_channel == c.announced->relay_channel && path->remote == c.announced->remote)
    c.leaving.emplace(*c.announced, now + kLeave);
  else r.machine.on_relay_path(*c.announced, Binding::none, now);
}

std::optional<base::Instant> MeshNode::channel_deadline(const Channel& c) const {
  auto t = c.client->next_deadline();
  if (c.leaving && (!t || c.leaving->second < *t)) t = c.leaving->second;
  return t;
}

// Carries what the clients know over to the machine: a bound channel is a path.
void MeshNode::drive_channels(Record& r) {
  base::Instant now = loop_.now();
  for (auto& [relay, c] : r.channels) {
    if (auto t = c.client->next_deadline(); t && *t <= now) c.client->tick(now);
    // Checks over the channel go unanswered: perhaps our NAT gave us another address and the relay does not know.
    if (c.announced && r.machine.is_failing(*c.announced) && now - c.rebound >= kRebindPause) {
      c.rebound = now;
      c.client->rebind(now);
      warm_up(relay);
    }
    if (c.client->observed() != c.observed) {
      if (std::exchange(c.observed, c.client->observed())) ask_stun_now();
    }
    watch_udp(r, relay, *c.client);
    if (c.announced && r.machine.is_usable(*c.announced)) r.asking.erase(relay);
    if (c.client->is_bound() && !c.client->unanswered_since()) c.socket = socket_to(relay);
    std::optional<PathAddr> path = c.client->is_bound() ? std::optional(c.client->path()) : std::nullopt;
    if (path) path->socket = c.socket;
    if (c.leaving && (now >= c.leaving->second || c.leaving->first == path)) {
      if (c.leaving->first != path) r.machine.on_relay_path(c.leaving->first, Binding::none, now);
      c.leaving.reset();
    }
    if (path == c.announced) continue;
    if (c.announced) leave(r, c, path);
    if (path) r.machine.on_relay_path(*path, c.client->is_peer_bound() ? Binding::both : Binding::own, now);
    c.announced = path;
  }
}

void MeshNode::on_relay_control(const PathAddr& from, base::ByteView b) {
  for (auto& [name, r] : peers_)
    for (auto& [relay, c] : r->channels)
      if (c.client->on_datagram(from.remote, b, loop_.now())) {
        drive_channels(*r);
        return touch(*r);
      }
}

void MeshNode::drive_stun() {
  if (!config_.node.direct || !data_) return;
  std::vector<base::IpPort> servers = stun_servers_;
  for (const auto& i : relays_)
    if (std::find(servers.begin(), servers.end(), i.udp_address) == servers.end()) servers.push_back(i.udp_address);
  base::Instant now = loop_.now();
  bool lost = stun_.set_servers(std::move(servers));
  for (const auto& ask : stun_.tick(now)) data_->send({ask.server, {}, 0}, make_stun_request(ask.id));
  if (stun_.is_news(now) || lost) publish_candidates();
  if (auto ask = hairpin_.tick(now)) data_->send({ask->to, {}, 0}, make_stun_request(ask->id));
}

void MeshNode::on_stun(const PathAddr& from, base::ByteView b) {
  auto m = parse_stun(b);
  if (!m) return;
  if (from.socket == 0 && (hairpin_.on_message(*m) || on_udp_answer(*m))) return;
  if (from.socket == 0 && stun_.on_answer(from.remote, *m, loop_.now())) return publish_candidates();
  for (auto& [name, r] : peers_)
    if (r->machine.on_stun(from.socket, *m, loop_.now())) return touch(*r);
}

std::vector<base::IpPort> MeshNode::own_addresses() const {
  std::vector<base::IpPort> out;
  for (const auto& h : hosts_) out.push_back(h.at);
  return out;
}

NatView MeshNode::nat() const {
  NatView v;
  v.mapping = node_.nat.str();
  v.direct = config_.node.direct;
  for (const auto& a : stun_.mapped()) v.outside.push_back(a.str());
  for (const auto& a : stun_.answering()) v.servers.push_back(a.str());
  for (const auto& h : hosts_) v.hosts.push_back(h.at.str());
  if (hairpin_.works()) v.hairpin = *hairpin_.works() ? "yes" : "no";
  v.ipv6 = std::any_of(hosts_.begin(), hosts_.end(), [](const Candidate& h) { return h.at.ip.is_v6() && !h.at.ip.is_private(); });
  v.link_mtu = int(node_.link_mtu);
  for (const auto& i : signal_.relays()) v.relays.push_back({i.name, i.signal_address.str(), i.connected, i.connected ? "" : i.trouble});
  for (const auto& [relay, c] : carriers_)
    if (c.in_use && c.socket != 0) v.relays_by_tcp.push_back(relay);
  for (const auto& [name, r] : peers_)
    if (r->machine.is_up()) (r->machine.active()->is_relay() ? v.peers_relayed : v.peers_direct)++;
  return v;
}

void MeshNode::set_host_candidates(std::vector<Candidate> hosts) {
  if (hosts == hosts_) return;
  hosts_ = std::move(hosts);
  ask_stun_now();  // the address outside may be another now
  for (auto& [name, r] : peers_) {
    r->door.news(loop_.now());
    for (auto& [relay, c] : r->channels) c.client->rebind(loop_.now());
  }
  publish_candidates();
  touch();
}

void MeshNode::set_mapped(std::optional<base::IpPort> at) {
  if (at == mapped_) return;
  mapped_ = at;
  publish_candidates();
}

void MeshNode::publish_candidates() {
  std::vector<Candidate> all;
  for (const auto& a : config_.advertise) all.push_back({CandidateKind::advertised, a});
  if (mapped_ && !mapped_->ip.is_private() && may_check(*mapped_, config_.node.rules)) all.push_back({CandidateKind::advertised, *mapped_});
  for (const auto& at : stun_.mapped()) all.push_back({CandidateKind::srflx, at});
  all.insert(all.end(), hosts_.begin(), hosts_.end());
  all = bounded(std::move(all));
  NatClass nat = stun_.nat(own_addresses());
  if (node_.outside && stun_.outside() && node_.outside->ip != stun_.outside()->ip) node_.port_step = 0;  // another NAT
  if (nat.mapping == NatMapping::endpoint && nat.delta == 0) nat.delta = node_.port_step;
  node_.outside = stun_.outside();
  node_.stun_servers = stun_.answering();
  hairpin_.set_outside(nat.mapping == NatMapping::none ? std::nullopt : node_.outside, loop_.now());
  if (all == node_.candidates && nat == node_.nat) return;
  if (nat != node_.nat && nat.mapping != NatMapping::unknown)
    EM_LOG(info, "tunnel", "NAT of this node: {}{}", nat.str(), node_.outside ? ", seen at " + node_.outside->str() : "");
  node_.nat = nat;
  node_.candidates = std::move(all);
  node_.candidates_revision++;
  for (auto& [name, r] : peers_) {
    if (!r->machine.has_session()) continue;
    r->machine.on_own_candidates(loop_.now());
    touch(*r);
  }
}

}  // namespace tunnel
