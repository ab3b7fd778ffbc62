#include "tunnel/peer/mesh_node.h"

#include <algorithm>

#include "tunnel/peer/mesh_record.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kHousekeeping = 1s, kLookAtSilence = 50ms, kLookAtIdle = 30s;
constexpr base::Duration kStrangerLife = 60s;  // a record made for a node nobody hinted at, without a session

base::Gauge& sessions(base::Metrics& m, const char* path) {
  return m.gauge("edgemeshd_tunnel_sessions", "Sessions with peers that can be used, by kind of path.", {{"path", path}});
}
base::Counter& bytes(base::Metrics& m, const char* path, const char* direction) {
  return m.counter("edgemeshd_tunnel_path_bytes_total", "Bytes of inner packets by the kind of path they took.",
                   {{"path", path}, {"direction", direction}});
}
base::Counter& moves(base::Metrics& m, const char* to) {
  return m.counter("edgemeshd_tunnel_relay_moves_total", "Times a relay's datagrams were moved to TCP or back to UDP.", {{"to", to}});
}
}  // namespace

MeshNode::MeshNode(Config c, Hooks h, base::Loop& loop, base::Rng& rng, base::Metrics& metrics, Signal& signal)
    : config_(std::move(c)),
      hooks_(std::move(h)),
      loop_(loop),
      signal_(signal),
      node_(config_.node, rng, metrics),
      doors_(rng, metrics),
      known_peers_(std::move(config_.known)),
      known_told_(known_peers_.revision()),
      sent_direct_(bytes(metrics, "direct", "sent")),
      sent_relay_(bytes(metrics, "relay", "sent")),
      received_direct_(bytes(metrics, "direct", "received")),
      received_relay_(bytes(metrics, "relay", "received")),
      sessions_direct_(sessions(metrics, "direct")),
      sessions_relay_(sessions(metrics, "relay")),
      known_(metrics.gauge("edgemeshd_tunnel_peers", "Nodes known to the tunnel.")),
      least_mtu_(metrics.gauge("edgemeshd_tunnel_inner_mtu_bytes",
                               "The smallest MTU that pods are shown of a way to a peer; 0 without sessions.")),
      timer_(loop.timer([this] { on_timer(); })),
      stun_(rng),
      hairpin_(rng),
      carried_(metrics.gauge("edgemeshd_tunnel_relays_by_tcp", "Relays that are reached over TCP, because UDP does not pass.")),
      to_tcp_(moves(metrics, "tcp")),
      to_udp_(moves(metrics, "udp")) {
  signal_.on_frame([this](const std::string& from, SignalKind kind, base::ByteView b) { on_frame(from, kind, b); });
  signal_.on_grant([this](RelayGrant g) { on_grant(std::move(g)); });
  signal_.on_record([this](const std::string& relay, base::ByteView b) { on_record(relay, b); });
  signal_.on_routes_changed([this] {
    follow_relays();
    for (auto& [name, r] : peers_) r->machine.on_routes_changed(loop_.now());
    touch();
  });
  knock_at_known();
  timer_->arm(base::Duration{0});
}

MeshNode::~MeshNode() {
  signal_.on_frame({});
  signal_.on_grant({});
  signal_.on_routes_changed({});
  signal_.on_record({});
}

void MeshNode::Record::on_session(bool instance_changed) {
  base::Instant now = mesh.loop_.now();
  if (instance_changed) exports.peer_restarted(now);
  resumed = through_door;
  resume_at.reset();
  asking.clear();  // it is there: what was asked for in vain may be given now
  exports.on_up(now);
  deny.offer();
  mesh.settle_routes();
  tell_up();
}

void MeshNode::Record::tell_up() {
  if (conflict || told_up) return;
  told_up = true;
  if (mesh.hooks_.on_peer) mesh.hooks_.on_peer(machine.name(), true, certified());
}

MeshNode::Record* MeshNode::find(const std::string& name) {
  auto it = peers_.find(name);
  return it == peers_.end() ? nullptr : it->second.get();
}

MeshNode::Record* MeshNode::meet(const std::string& name, bool hinted) {
  if (Record* known = find(name)) return known;
  if (name == config_.node.identity.name || !base::is_valid_node_name(name) || peers_.size() >= base::limits::kPeersMax) return nullptr;
  auto r = std::make_unique<Record>(*this, ++last_id_, name);
  r->hint.name = name;
  r->hinted = hinted;
  r->born = loop_.now();
  by_id_[r->id] = r.get();
  turns_.insert({r->turn, r->id});
  if (const KnownPeer* known = known_peers_.find(name)) r->door.set_secrets(known->secrets);
  Record* out = r.get();
  peers_[name] = std::move(r);
  return out;
}

void MeshNode::forget(Record& r) {
  count_bytes(r);
  r.exports.peer_forgot(loop_.now());
  if (r.told_up && hooks_.on_peer) hooks_.on_peer(r.machine.name(), false, r.certified());
  if (data_) data_->remove_peer(r.id);
  by_id_.erase(r.id);
  turns_.erase({r.turn, r.id});
  peers_.erase(std::string(r.machine.name()));
}

void MeshNode::set_peers(std::vector<PeerHint> hints) {
  std::map<std::string, PeerHint> wanted;
  for (auto& h : hints) wanted[h.name] = std::move(h);
  std::vector<Record*> gone;
  for (auto& [name, r] : peers_)
    if (r->hinted && !wanted.contains(name)) gone.push_back(r.get());
  for (Record* r : gone) {
    r->hinted = false;  // absence is not revocation: a session goes on, new ones end with kStrangerLife
    r->born = loop_.now();
    r->hint = PeerHint{};
    r->hint.name = r->machine.name();
    r->machine.set_advertised({}, loop_.now());
  }
  for (auto& [name, h] : wanted) {
    Record* r = meet(name, true);
    if (!r) continue;
    r->hinted = true;
    r->machine.set_advertised(h.advertise, loop_.now());
    r->hint = std::move(h);
  }
  settle_routes();
  touch();
}

void MeshNode::set_lan(const std::string& peer, const std::vector<base::IpPort>& udp) {
  Record* r = udp.empty() || !known_peers_.find(peer) ? find(peer) : meet(peer, false);
  if (!r || !config_.node.direct) return;
  std::vector<base::IpPort> usable;
  for (const auto& at : udp)
    if (may_check(at, config_.node.rules)) usable.push_back(at);
  if (usable == r->lan) return;
  r->lan = std::move(usable);
  r->machine.set_lan(r->lan, loop_.now());
  r->door.news(loop_.now());
  touch(*r);
}

std::set<std::string> MeshNode::names() const {
  std::set<std::string> out;
  for (const auto& [name, r] : peers_) out.insert(name);
  for (auto& name : known_peers_.by_age()) out.insert(std::move(name));
  return out;
}

std::set<std::string> MeshNode::missing() const {
  std::set<std::string> out;
  for (const auto& [name, r] : peers_)
    if (!r->machine.is_denied() && (r->machine.needs_handshake(loop_.now()) || (r->machine.is_wanted() && !r->machine.has_session())))
      out.insert(name);
  return out;
}

void MeshNode::renew(const base::NodeIdentity& id, const Digest& leaf, decltype(NodeContext::Config::make_channel) make_channel) {
  node_.config.identity = config_.node.identity = id;
  node_.config.leaf = leaf;
  node_.config.make_channel = std::move(make_channel);
}

void MeshNode::connect(const std::string& peer) {
  if (Record* r = meet(peer, false)) {
    r->machine.want(loop_.now());
    drive_grants(*r);
    touch(*r);
  }
}

void MeshNode::request_export(const std::string& peer, ExportRequest what, ExportLedger::Callback done) {
  Record* r = find(peer);
  if (!r) return done(base::fail(base::Code::not_found, "node {} is not known: is there a MeshNode of that name?", peer));
  if (r->machine.is_denied()) return done(base::fail(base::Code::denied, "{}", r->machine.last_error()));
  connect(peer);
  r->exports.ask(what, std::move(done), loop_.now());
  touch(*r);
}

void MeshNode::release_export(const std::string& peer, const ExportRequest& what) {
  Record* r = find(peer);
  if (!r) return;
  r->exports.release(what);
  touch(*r);
}

void MeshNode::withdraw_export(const std::string& peer, const ExportRequest& what) {
  Record* r = find(peer);
  if (!r) return;
  r->exports.withdraw(what);
  touch(*r);
}

void MeshNode::ping(const std::string& peer, std::function<void(base::Result<std::chrono::nanoseconds>, std::string)> done) {
  Record* r = find(peer);
  if (!r) return done(base::fail(base::Code::not_found, "node {} is not known: is there a MeshNode of that name?", peer), "");
  r->machine.ping(std::move(done), loop_.now());
  drive_grants(*r);
  touch(*r);
}

void MeshNode::on_control(const PathAddr& from, base::ByteView b) {
  switch (classify(b)) {
    case Kind::sealed: {
      auto h = read_header(b);
      auto it = h ? by_index_.find(h->index) : by_index_.end();
      if (it == by_index_.end()) return node_.rejected.add();
      it->second->machine.on_datagram(from, b, loop_.now());
      return touch(*it->second);
    }
    case Kind::stun:
      on_stun(from, b);
      return wake();
    case Kind::handshake:
      return on_door(from, b);
    case Kind::relay_control:
      return on_relay_control(from, b);
    default:
      return;
  }
}

void MeshNode::on_first_data(uint32_t index) {
  auto it = by_index_.find(index);
  if (it == by_index_.end()) return;
  it->second->machine.on_first_data(index, loop_.now());
  touch(*it->second);
}

void MeshNode::on_held(PeerId id, base::ByteView packet) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return;
  it->second->machine.carry(packet, loop_.now());
  touch(*it->second);
}

void MeshNode::on_wanted(PeerId id) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return;
  it->second->machine.want(loop_.now());
  drive_grants(*it->second);
  touch(*it->second);
}

void MeshNode::recheck_denied(const std::function<bool(const base::NodeIdentity&)>& is_denied,
                              const std::function<bool(const std::string&)>& is_name_denied) {
  for (auto& [name, r] : peers_) {
    const auto& id = r->machine.identity();
    bool denied = is_name_denied(name) || (id && is_denied(*id)) || is_known_denied(name, is_denied);
    if (denied == r->machine.is_denied()) continue;
    if (!denied) {
      r->machine.allow();
      continue;
    }
    EM_LOG(warn, "tunnel", "{} is on the deny list: its session, exports and channels end", name);
    r->exports.peer_forgot(loop_.now());
    r->machine.deny(name + " is on the deny list");
    r->channels.clear();
    forget_known(name);
    if (std::exchange(r->told_up, false) && hooks_.on_peer) hooks_.on_peer(name, false, r->certified());
  }
  tell_known();
  settle_routes();
  touch();
}

void MeshNode::spread_deny_list(uint64_t number, const std::string& text) {
  deny_ = std::make_shared<DenyGossip::Held>(DenyGossip::Held{number, text});
  bool is_relay = config_.node.identity.has_role(base::kRelayRole);
  for (auto& [name, r] : peers_) {
    r->deny.hold(deny_);
    if (r->machine.is_denied()) continue;
    if (r->machine.has_session()) r->deny.offer();
    else if (r->hint.relay || (is_relay && r->hinted && signal_.has_route(name))) connect(name);
  }
  touch();
}

void MeshNode::close_all(const std::string& reason) {
  for (auto& [name, r] : peers_) r->machine.close(reason);
}

void MeshNode::touch() {
  all_due_ = true;
  wake();
}

void MeshNode::touch(Record& r) {
  set_turn(r, {});
  wake();
}

void MeshNode::set_turn(Record& r, base::Instant t) {
  if (r.turn == t) return;
  auto node = turns_.extract({std::exchange(r.turn, t), r.id});
  node.value().first = t;
  turns_.insert(std::move(node));
}

void MeshNode::wake() { timer_->arm(base::Duration{0}); }

void MeshNode::on_timer() {
  base::Instant now = loop_.now(), next = now + kHousekeeping;
  std::vector<Record*> strangers;
  if (now >= looked_around_ + kHousekeeping) {
    looked_around_ = now;
    follow_relays();
    update_gauges();
  }
  follow_carriers();
  std::vector<PeerId> due;
  bool all = std::exchange(all_due_, false);
  for (auto it = turns_.begin(); it != turns_.end() && (all || it->first <= now); ++it) due.push_back(it->second);
  for (PeerId id : due) {
    Record& r = *by_id_.at(id);
    serve(r);
    if (!r.hinted && !r.machine.has_session() && !r.resume_at && !r.exports.has_interest() && now - r.born > kStrangerLife)
      strangers.push_back(&r);
  }
  for (Record* r : strangers) forget(*r);
  drive_stun();
  probe_udp();
  tell_known();
  if (!turns_.empty()) next = all_due_ ? now : std::min(next, turns_.begin()->first);
  if (auto t = carriers_deadline()) next = std::min(next, std::max(*t, now + 1ms));
  if (auto t = config_.node.direct ? stun_.next_deadline() : std::nullopt) next = std::min(next, std::max(*t, now + 1ms));
  if (auto t = hairpin_.next_deadline()) next = std::min(next, std::max(*t, now + 1ms));
  timer_->arm(next - now);
}

// All that is due for one peer; and when it is its turn again. Nodes know hundreds and talk to tens: the others cost a look.
void MeshNode::serve(Record& r) {
  base::Instant now = loop_.now();
  drive_grants(r);
  drive_channels(r);
  r.exports.tick(now);
  if (r.exports.has_interest()) r.machine.want(now);
  drive_door(r);
  let_go_if_idle(r);
  if (r.machine.next_deadline() <= now) r.machine.tick(now);
  count_bytes(r);
  base::Instant turn = now + (r.machine.has_session() || r.machine.is_connecting() ? kHousekeeping : kLookAtIdle);
  auto earliest = [&](std::optional<base::Instant> t) {
    if (t) turn = std::min(turn, std::max(*t, now + 1ms));
  };
  earliest(r.machine.next_deadline());
  earliest(door_deadline(r));
  earliest(r.exports.next_deadline());
  earliest(r.grant_due);
  for (auto& [relay, c] : r.channels) {
    earliest(channel_deadline(c));
    if (c.client->unanswered_since()) earliest(now + kLookAtSilence);  // watch_udp judges it
  }
  set_turn(r, turn);
}

// Neither packets nor exports: what a session costs, its keys, paths and bindings at relays and NATs, is for nothing.
void MeshNode::let_go_if_idle(Record& r) {
  base::Instant now = loop_.now();
  bool may = config_.node.session_idle.count() > 0 && !r.exports.has_interest() && r.exports.granted() == 0;
  auto idle = may ? r.machine.idle_for(now) : std::nullopt;  // asks the data plane: last
  bool own = idle && *idle >= config_.node.session_idle;
  bool told = r.machine.is_told_to_let_go();
  if (!own && !told) return;
  r.machine.let_go(!told, now);
  r.channels.clear();
  r.asking.clear();
  r.without_direct.reset();
  node_.slept.add();
}

void MeshNode::update_gauges() {
  int64_t direct = 0, relay = 0, mtu = 0;
  for (const auto& [name, r] : peers_) {
    if (!r->machine.is_up()) continue;
    (r->machine.active()->is_relay() ? relay : direct)++;
    mtu = mtu ? std::min<int64_t>(mtu, r->machine.inner_mtu()) : r->machine.inner_mtu();
  }
  sessions_direct_.set(direct);
  least_mtu_.set(mtu);
  sessions_relay_.set(relay);
  known_.set(int64_t(peers_.size()));
}

void MeshNode::count_bytes(Record& r) {
  PeerTraffic t = r.traffic(), before = std::exchange(r.counted, t);
  sent_direct_.add(t.tx_bytes_direct - before.tx_bytes_direct);
  sent_relay_.add(t.tx_bytes_relay - before.tx_bytes_relay);
  received_direct_.add(t.rx_bytes_direct - before.rx_bytes_direct);
  received_relay_.add(t.rx_bytes_relay - before.rx_bytes_relay);
}

std::vector<PeerView> MeshNode::peers() const {
  std::vector<PeerView> out;
  for (const auto& [name, r] : peers_) out.push_back(view(*r));
  return out;
}

PeerView MeshNode::peer(const std::string& name) const {
  auto it = peers_.find(name);
  return it == peers_.end() ? PeerView{} : view(*it->second);
}

bool MeshNode::is_direct(const std::string& peer) const {
  auto it = peers_.find(peer);
  return it != peers_.end() && it->second->machine.is_up() && !it->second->machine.active()->is_relay();
}

PeerView MeshNode::view(const Record& r) const {
  const PeerMachine& m = r.machine;
  PeerView v;
  v.name = m.name();
  v.state = m.is_denied() ? "denied" : m.is_up() ? "up" : m.is_connecting() || m.has_session() ? "connecting" : "idle";
  v.network = m.network();
  v.overlay_ips = m.identity() ? m.identity()->overlay_ips : r.hint.overlay_ips;
  v.last_error = m.last_error();
  v.nat = m.remote_nat().str();
  if (m.rung() && m.active() && !m.active()->is_relay()) v.rung = to_string(*m.rung());
  if (m.direct_after()) v.direct_after_ms = m.direct_after()->count() / 1'000'000;
  for (const auto& a : m.attempts()) v.attempts.push_back({to_string(a.rung), a.ok, a.took.count() / 1'000'000});
  for (const Path& p : m.paths())
    if (m.active() && p.addr == *m.active()) v.rtt_us = p.rtt.count() / 1000;
  if (m.is_up()) {
    v.direct = !m.active()->is_relay();
    v.mtu = m.inner_mtu();
    v.resumed = r.resumed && v.direct;
    v.path = m.active()->str();
    v.rtt = fmt::format("{:.1f}ms", double(v.rtt_us) / 1000);
    v.since_s = std::chrono::duration_cast<std::chrono::seconds>(loop_.now() - m.since()).count();
    for (const auto& [relay, c] : r.channels)
      if (m.active()->is_relay() && c.announced == m.active()) v.relay = relay;
  }
  PeerTraffic t = r.traffic();
  v.tx_direct = t.tx_bytes_direct;
  v.tx_relay = t.tx_bytes_relay;
  v.rx_direct = t.rx_bytes_direct;
  v.rx_relay = t.rx_bytes_relay;
  return v;
}

std::vector<PathView> MeshNode::paths() const {
  std::vector<PathView> out;
  for (const auto& [name, r] : peers_)
    for (const Path& p : r->machine.paths())
      out.push_back({name, p.addr.str(), to_string(p.kind), to_string(p.state), r->machine.active() && p.addr == *r->machine.active(),
                     r->resumed && p.addr == r->door.address(), p.rtt.count() / 1000, p.mtu.is_settled() ? p.mtu.wire() : 0});
  return out;
}

}  // namespace tunnel
