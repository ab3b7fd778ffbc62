#include "tunnel/sim/mesh_sim.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr uint16_t kPort = 20006;
constexpr base::Duration kSignalDelay = 20ms;
constexpr base::Duration kHeldAge = 1s;
constexpr size_t kHeldMax = 64;
}  // namespace

// ---- signalling

bool SimSignal::has_route(const std::string& node) const {
  auto it = sim_.nodes_.find(sim_.at_node(node));
  bool found = sim_.dialled_.contains({name_, node}) || sim_.dialled_.contains({node, name_});
  return (sim_.is_any_relay_alive() || sim_.direct_signal || found) && it != sim_.nodes_.end() && it->second.mesh;
}

void SimSignal::send(const std::string& to, SignalKind kind, base::ByteView b) {
  if (!has_route(to)) return;
  const std::string& certificate = sim_.nodes_.at(name_).spec.certificate;
  sim_.later(kSignalDelay, [&sim = sim_, from = certificate.empty() ? name_ : certificate, to = sim_.at_node(to), kind,
                            copy = base::ByteVec(b.begin(), b.end())] {
    auto& n = sim.nodes_.at(to);
    if (n.signal && n.signal->frame) n.signal->frame(from, kind, copy);
  });
}

std::vector<RelayInfo> SimSignal::relays() const {
  std::vector<RelayInfo> out;
  for (const auto& r : sim_.relays_) out.push_back({r->name, r->at, 10ms * int(out.size() + 1), r->server != nullptr, true});
  return out;
}

void SimSignal::request_grant(const std::string& peer, const std::string& relay) {
  auto at = std::find_if(sim_.relays_.begin(), sim_.relays_.end(), [&](const auto& r) { return r->name == relay; });
  if (at == sim_.relays_.end()) return;
  sim_.later(kSignalDelay, [&sim = sim_, me = name_, peer, r = at->get()] {
    if (!r->server || !sim.nodes_.contains(peer)) return;
    auto [a, b] = r->server->grant(me, peer, sim.loop.now());
    for (auto& [name, g] : {std::pair{me, a}, std::pair{peer, b}}) {
      auto& n = sim.nodes_.at(name);
      if (n.signal && n.signal->grant) n.signal->grant(g);
    }
  });
}

// A connection stands one delay after it was wanted; a dead relay ends it.
void SimSignal::want_records(const std::string& relay, bool wanted) {
  if (!wanted) streams_.erase(relay);
  if (!wanted || streams_.contains(relay)) return;
  streams_[relay] = 0;
  sim_.later(kSignalDelay, [&sim = sim_, name = name_, relay] {
    auto& n = sim.nodes_.at(name);
    if (!n.signal || !n.signal->streams_.contains(relay)) return;
    n.signal->streams_[relay] = ++sim.streams_;
    if (n.signal->routes) n.signal->routes();
  });
}

Signal::RecordRoute SimSignal::records_to(const std::string& relay) {
  auto it = streams_.find(relay);
  auto at = std::find_if(sim_.relays_.begin(), sim_.relays_.end(), [&](const auto& r) { return r->name == relay; });
  if (it == streams_.end() || it->second == 0 || at == sim_.relays_.end() || !(*at)->server) return {};
  return {it->second, [&sim = sim_, r = at->get(), id = it->second](base::ByteView b) {
            sim.later(kSignalDelay, [&sim, r, id, copy = base::ByteVec(b.begin(), b.end())]() mutable {
              if (r->server) r->server->on_datagram(stream_source(id), copy, sim.loop.now());
            });
          }};
}

// ---- data plane

SimDataPlane::SimDataPlane(MeshSim& sim, std::string name, base::SimHost& host, base::Loop& clock, uint16_t port)
    : sim_(sim),
      name_(std::move(name)),
      host_(host),
      clock_(clock),
      socket_(host.bind(port, [this](base::IpPort from, base::ByteView b) { on_datagram(0, from, b); })) {}

base::Result<uint32_t> SimDataPlane::open_socket(bool, uint16_t port) {
  if (port && std::any_of(sockets_.begin(), sockets_.end(), [&](const auto& s) { return s.second->port() == port; }))
    return base::fail(base::Code::exists, "port {} is in use", port);
  uint32_t id = ++last_socket_;
  sockets_[id] = host_.bind(port, [this, id](base::IpPort from, base::ByteView b) { on_datagram(id, from, b); });
  return id;
}

uint16_t SimDataPlane::socket_port(uint32_t socket) const {
  auto it = sockets_.find(socket);
  return it == sockets_.end() ? 0 : it->second->port();
}

void SimDataPlane::set_peer(PeerId id, PeerRoute r) {
  Peer& p = peers_[id];
  if (r.stream != p.route.stream) p.may_hand_over = r.stream ? kHandedPacketsMax : 0;
  if (p.route.name != r.name) by_name_[r.name] = id;
  p.route = std::move(r);
  clock_.post([this, alive = std::weak_ptr(alive_), id] {  // a worker's turn
    if (alive.expired()) return;
    auto it = peers_.find(id);
    if (it != peers_.end()) release(id, it->second);
  });
}

void SimDataPlane::release(PeerId id, Peer& p) {
  while (!p.held.empty() && (p.held.front().at + kHeldAge <= sim_.loop.now() || p.held.size() > kHeldMax)) {
    p.held.pop_front();
    sim_.lost++;
  }
  while (!p.held.empty() && (p.route.tx_keys || p.may_hand_over)) {
    std::string text = std::move(p.held.front().text);
    p.held.pop_front();
    if (p.route.tx_keys) {
      send_text(p, std::move(text));
      continue;
    }
    p.may_hand_over--;
    hooks_.on_held(id, base::ByteVec(text.begin(), text.end()));
    if (!peers_.contains(id)) return;
  }
}

void SimDataPlane::deliver(PeerId id, base::ByteView packet) {
  auto p = peers_.find(id);
  if (p != peers_.end()) sim_.delivered_inner(name_, p->second.route.name, packet);
}

LaneCounter& SimDataPlane::counter_of(const DataKeysPtr& keys) {
  auto it = counters_.find(keys);
  if (it != counters_.end()) return it->second;
  EM_ASSERT(keys->claim_lane(worker_lane(0)));
  return counters_.emplace(keys, LaneCounter(worker_lane(0))).first->second;
}

void SimDataPlane::remove_peer(PeerId id) {
  std::erase_if(by_name_, [&](const auto& e) { return e.second == id; });
  peers_.erase(id);
  std::erase_if(keys_, [&](const auto& k) { return k.second.peer == id; });
}

void SimDataPlane::add_receive_keys(PeerId id, DataKeysPtr keys) { keys_[keys->local_index()] = {keys, id, {}, false}; }

PeerTraffic SimDataPlane::traffic(PeerId id) const {
  auto it = peers_.find(id);
  return it == peers_.end() ? PeerTraffic{} : it->second.traffic;
}

uint32_t SimDataPlane::open_carrier(std::function<void(base::ByteView)> sink) {
  carriers_[++last_carrier_] = std::move(sink);
  return last_carrier_;
}

void SimDataPlane::carried(uint32_t carrier, const base::IpPort& relay, base::ByteView b) { on_datagram(carrier, relay, b); }

void SimDataPlane::send(const PathAddr& to, base::ByteView b, uint8_t ttl) {
  auto carrier = carriers_.find(to.socket);
  if (to.is_carried() && carrier == carriers_.end()) return;
  if (to.is_carried() && !to.is_relay()) return carrier->second(b);
  auto by = sockets_.find(to.socket);
  if (to.socket && !to.is_carried() && by == sockets_.end()) return;
  if (!to.is_relay()) return (to.socket ? by->second : socket_)->send(to.remote, b, ttl);
  base::ByteVec wrapped(kRelayHeaderBytes + b.size());
  write_relay_header(wrapped.data(), to.relay_channel);
  std::copy(b.begin(), b.end(), wrapped.begin() + kRelayHeaderBytes);
  if (to.is_carried()) return carrier->second(wrapped);
  socket_->send(to.remote, wrapped);
}

bool SimDataPlane::send_inner(const std::string& to) {
  auto known = by_name_.find(to);
  if (known == by_name_.end()) return false;
  PeerId id = known->second;
  Peer& p = peers_.at(id);
  p.held.push_back({fmt::format("{} {} {} {}", name_, to, ++sim_.numbers_, sim_.loop.now().time_since_epoch().count()), sim_.loop.now()});
  release(id, p);
  if (!p.held.empty()) hooks_.on_wanted(id);
  return true;
}

void SimDataPlane::send_text(Peer& p, std::string text) {
  if (sim_.full_size && text.size() < p.route.inner_mtu) text.resize(p.route.inner_mtu);
  base::ByteVec packet(kHeaderBytes + text.size() + kTagBytes);
  std::copy(text.begin(), text.end(), packet.begin() + kHeaderBytes);
  packet.resize(p.route.tx_keys->seal(PacketType::data, 0, counter_of(p.route.tx_keys).next(), packet.data(), text.size()));
  p.traffic.tx_packets++;
  p.traffic.tx_long += text.size() > kInnerMtuSure;
  (p.route.path.is_relay() ? p.traffic.tx_bytes_relay : p.traffic.tx_bytes_direct) += text.size();
  p.traffic.last_tx = clock_.now();
  send(p.route.path, packet);
}

void SimDataPlane::on_datagram(uint32_t socket, base::IpPort from, base::ByteView b) {
  PathAddr path{from, {}, 0, socket};
  if (auto frame = read_relay_frame(b)) {
    path.relay_channel = frame->channel;
    b = frame->packet;
  }
  if (classify(b) == Kind::sealed && b[0] == uint8_t(PacketType::data)) return on_data(path, b);
  base::ByteVec copy(b.begin(), b.end());
  hooks_.on_control(path, copy);
}

void SimDataPlane::on_data(const PathAddr& path, base::ByteView b) {
  auto h = read_header(b);
  auto it = h ? keys_.find(h->index) : keys_.end();
  if (it == keys_.end() || !it->second.window.is_fresh(h->sequence())) return;
  base::ByteVec copy(b.begin(), b.end());
  auto plain = it->second.keys->open(copy);
  if (!plain) return;
  it->second.window.commit(h->sequence());
  bool first = !std::exchange(it->second.used, true);
  auto p = peers_.find(it->second.peer);
  if (p == peers_.end()) return;
  p->second.traffic.rx_packets++;
  (path.is_relay() ? p->second.traffic.rx_bytes_relay : p->second.traffic.rx_bytes_direct) += plain->size();
  p->second.traffic.last_rx = clock_.now();
  p->second.traffic.last_rx_path = path;
  std::string sender = p->second.route.name;
  base::ByteVec text(plain->begin(), plain->end());
  if (first) hooks_.on_first_data(h->index);
  sim_.largest = std::max(sim_.largest, b.size());
  sim_.delivered_inner(name_, sender, text);
}

// ---- the mesh

MeshSim::MeshSim(uint64_t seed) : net(loop, seed), rng(seed ^ 0x9e3779b97f4a7c15) {
  relay_tick_ = loop.timer([this] {
    for (auto& r : relays_)
      if (r->server) r->server->tick(loop.now());
    relay_tick_->arm(1s);
  });
  relay_tick_->arm(1s);
  add_relay();
  pump_timer_ = loop.timer([this] { pump(); });
  pump_timer_->arm(100ms);
}

MeshSim::~MeshSim() {
  for (auto& [name, n] : nodes_) kill(name);
}

void MeshSim::add_relay() {
  auto r = std::make_unique<Relay>();
  r->name = relays_.empty() ? "relay" : fmt::format("relay-{}", relays_.size() + 1);
  r->at = {base::IpAddr::v4(0xcb007101u + uint32_t(relays_.size())), kPort};
  r->host = &net.host(r->name, r->at.ip);
  boot(*r);
  relays_.push_back(std::move(r));
}

void MeshSim::boot(Relay& r) {
  r.server = RelayServer::make({.name = r.name, .public_address = r.at}, rng, relay_metrics_,
                               [this, &r](const base::IpPort& to, base::ByteView b, size_t) { from_relay(r, to, b); });
  r.socket = r.host->bind(kPort, [this, &r](base::IpPort from, base::ByteView b) {
    base::ByteVec copy(b.begin(), b.end());
    if (r.server) r.server->on_datagram(from, copy, loop.now());
  });
}

void MeshSim::from_relay(Relay& r, const base::IpPort& to, base::ByteView b) {
  auto stream = stream_of(to);
  if (!stream) return r.socket->send(to, b);
  later(kSignalDelay, [this, relay = r.name, id = *stream, copy = base::ByteVec(b.begin(), b.end())] {
    for (auto& [name, n] : nodes_) {
      if (!n.signal || !n.signal->record) continue;
      auto s = n.signal->streams_.find(relay);
      if (s != n.signal->streams_.end() && s->second == id) n.signal->record(relay, copy);
    }
  });
}

void MeshSim::block_udp(const std::string& node, bool blocked) {
  base::SimHost* h = nodes_.at(node).host;
  auto set = [&](base::SimHost* other) {
    if (other == h) return;
    blocked ? net.partition(*h, *other) : net.heal(*h, *other);
  };
  for (auto& r : relays_) set(r->host);
  for (auto& [name, n] : nodes_) set(n.host);
}

void MeshSim::set_relay(bool alive, size_t which) {
  Relay& r = *relays_[which];
  if (alive == (r.server != nullptr)) return;
  r.socket.reset();
  r.server.reset();
  if (alive) boot(r);
  tell_routes();
}

bool MeshSim::is_any_relay_alive() const {
  return std::any_of(relays_.begin(), relays_.end(), [](const auto& r) { return r->server != nullptr; });
}

void MeshSim::tell_routes() {
  for (auto& [name, n] : nodes_)
    if (n.signal && n.signal->routes) n.signal->routes();
}

void MeshSim::add(const std::string& name, NodeSpec spec) {
  Node& n = nodes_[name];
  n.spec = std::move(spec);
  n.host = n.spec.nat ? &net.nat_host(name, n.spec.ip, *n.spec.nat) : &net.host(name, n.spec.ip);
  n.loop = std::make_unique<base::JumpingLoop>(loop);
  n.identity.trust_domain = "mesh.sim";
  n.identity.name = n.spec.certificate.empty() ? name : n.spec.certificate;
  n.identity.overlay_ips = {n.spec.overlay.value_or(base::IpAddr::v4(0x64400100u + uint32_t(nodes_.size())))};
}

void MeshSim::start(const std::string& name) {
  Node& n = nodes_.at(name);
  n.metrics = std::make_unique<base::Metrics>();
  n.signal = std::make_unique<SimSignal>(*this, name);
  MeshNode::Config c;
  c.node.identity = n.identity;
  c.node.leaf = sim_leaf(n.identity);
  c.node.direct = n.spec.direct;
  c.node.rekey = n.spec.rekey;
  c.node.session_idle = n.spec.idle;
  c.node.rules.refused = {*base::Cidr::parse("100.64.0.0/10")};
  c.node.make_channel = [this, id = n.identity](bool client, const std::string&) { return make_sim_channel(client, id, rng); };
  c.advertise = n.spec.advertise;
  MeshNode::Hooks hooks;
  hooks.on_export_request = [](const std::string&, const std::vector<base::IpAddr>&, const ExportRequest& r) -> base::Result<ExportGrant> {
    if (r.service == "none") return base::fail(base::Code::denied, "no such service");
    return ExportGrant{{*base::IpAddr::parse("100.64.1.1"), uint16_t(30000 + r.endpoint.port % 1000)}, 300s};
  };
  hooks.on_deny_list = [this, name](const std::string&, const std::string& text) {
    deny_lists[name] = text;
    later(0ms, [this, name, text] { mesh(name).spread_deny_list(std::stoull(text), text); });
  };
  hooks.on_known = [this, name](const KnownPeers& known) {
    base::ByteVec bytes = known.encode();
    disks[name].assign(bytes.begin(), bytes.end());  // without the room it was given to grow
  };
  if (auto known = KnownPeers::decode(disks[name])) c.known = std::move(*known);
  n.mesh = std::make_unique<MeshNode>(std::move(c), std::move(hooks), *n.loop, rng, *n.metrics, *n.signal);
  n.data = std::make_unique<SimDataPlane>(*this, name, *n.host, *n.loop, kPort);
  MeshNode* m = n.mesh.get();
  n.data->hooks_ = {[m](const PathAddr& from, base::ByteVec b) { m->on_control(from, b); },
                    [m](uint32_t i) { m->on_first_data(i); },
                    [m](PeerId id) { m->on_wanted(id); },
                    [m](PeerId id, base::ByteVec b) { m->on_held(id, b); },
                    {}};
  m->attach(n.data.get());
  if (n.spec.lan) start_lan(name);
  m->set_host_candidates({{CandidateKind::host, {n.host->ip(), kPort}}});
  std::vector<PeerHint> hints;
  for (const auto& [other, o] : nodes_)
    if (other != name && sources) hints.push_back({other, o.identity.overlay_ips, o.spec.advertise, {}, false});
  m->set_peers(std::move(hints));
  tell_routes();
}

void MeshSim::start_lan(const std::string& name) {
  Node& n = nodes_.at(name);
  const base::IpPort group{*base::IpAddr::parse("224.0.0.251"), 5353};
  LanDiscovery::Hooks hooks;
  hooks.send = [&n, group](int, base::ByteView b) { n.lan_socket->send(group, b); };
  hooks.is_peer = [this](LanTag t) {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& o) { return lan_tag({}, "mesh.sim", o.first) == t; });
  };
  hooks.on_found = [this, name, &n](LanTag t) {
    for (auto& [other, o] : nodes_) {
      if (lan_tag({}, "mesh.sim", other) != t) continue;
      auto at = n.lan->udp_at(t);
      at.empty() ? (void)dialled_.erase({name, other}) : (void)dialled_.insert({name, other});
      n.mesh->set_lan(other, at);
      if (n.signal->routes) n.signal->routes();
      if (o.signal && o.signal->routes) o.signal->routes();
    }
  };
  n.lan = std::make_unique<LanDiscovery>(LanDiscovery::Config{{lan_tag({}, "mesh.sim", name)}, kPort, kPort}, std::move(hooks), rng,
                                         *n.metrics);
  n.lan_socket = n.host->bind(5353, [this, &n](base::IpPort from, base::ByteView b) {
    if (n.lan) n.lan->on_datagram(1, from, b, loop.now());
  });
  tell_own_addresses(name);
  if (lan_tick_) return;
  lan_tick_ = loop.timer([this] { look_around(); });
  look_around();
}

void MeshSim::tell_own_addresses(const std::string& name) {
  Node& n = nodes_.at(name);
  base::IpAddr ip = n.host->ip();
  if (n.mesh) n.mesh->set_host_candidates({{CandidateKind::host, {ip, kPort}}});
  if (n.lan) n.lan->set_links({{1, "eth0", {ip}, {ip}, {*base::Cidr::parse(ip.str() + "/24")}}}, loop.now());
}

void MeshSim::look_around() {
  for (auto& [name, n] : nodes_) {
    if (!n.lan) continue;
    if (!n.mesh->missing().empty()) n.lan->look(loop.now());
    if (n.lan->next_deadline() <= loop.now()) n.lan->tick(loop.now());
  }
  lan_tick_->arm(10ms);
}

void MeshSim::kill(const std::string& name) {
  Node& n = nodes_.at(name);
  n.lan.reset();
  n.lan_socket.reset();
  std::erase_if(dialled_, [&](const auto& d) { return d.first == name; });
  if (n.mesh) n.mesh->attach(nullptr);  // kill -9: nothing is said to anybody
  n.data.reset();
  n.mesh.reset();
  n.signal.reset();
}

bool MeshSim::ends_clean() {
  for (auto& [name, n] : nodes_) kill(name);
  for (auto& r : relays_) {
    r->socket.reset();
    r->server.reset();
  }
  relay_tick_.reset();
  pump_timer_.reset();
  lan_tick_.reset();
  loop.run_for(1s);  // what is under way arrives nowhere
  flying_.clear();
  return loop.run_until_idle(0s);
}

void MeshSim::later(base::Duration d, std::function<void()> fn) {
  uint64_t id = ++flights_;
  auto t = loop.timer([this, id, f = std::move(fn)] {
    auto own = std::move(flying_[id]);
    flying_.erase(id);
    f();
  });
  t->arm(d);
  flying_[id] = std::move(t);
}

void MeshSim::talk(const std::string& a, const std::string& b) {
  talks_.insert({a, b});
  talks_.insert({b, a});
}

void MeshSim::pump() {
  for (const auto& [a, b] : talks_) {
    Node& n = nodes_.at(a);
    if (n.data && !n.data->send_inner(b)) lost++;
  }
  pump_timer_->arm(talk_every);
}

void MeshSim::delivered_inner(const std::string& at, const std::string& certified_sender, base::ByteView text) {
  char from[32], to[32];
  unsigned long long number = 0;
  long long sent = 0;
  std::string s(base::as_text(text));
  if (std::sscanf(s.c_str(), "%31s %31s %llu %lld", from, to, &number, &sent) != 4)
    return problems.push_back("a damaged packet came through");
  delivered++;
  if (from != certified_sender || to != at) {
    misattributed++;
    problems.push_back(fmt::format("{} got \"{}\" as if from {}", at, s, certified_sender));
  }
  if (!seen_.insert(number).second) {
    doubled++;
    problems.push_back(fmt::format("{} accepted packet {} twice", at, number));
  }
  auto& newest = last_sent_seen_[{from, to}];
  newest = std::max(newest, base::Instant(base::Duration(sent)));
}

bool MeshSim::met(const std::string& a, const std::string& b, base::Instant since) const {
  auto after = [&](const std::string& x, const std::string& y) {
    auto it = last_sent_seen_.find({x, y});
    return it != last_sent_seen_.end() && it->second >= since;
  };
  return after(a, b) && after(b, a);
}

PeerView MeshSim::view(const std::string& a, const std::string& b) const {
  const Node& n = nodes_.at(a);
  if (!n.mesh) return {};
  return n.mesh->peer(b);
}

std::string MeshSim::keys(const std::string& a, const std::string& b) const {
  const Node& n = nodes_.at(a);
  if (!n.data) return "none";
  for (const auto& [id, p] : n.data->peers_) {
    if (p.route.name != b) continue;
    std::string out = p.route.tx_keys ? fmt::format("to {:08x} from", p.route.tx_keys->peer_index()) : "to - from";
    for (const auto& [index, k] : n.data->keys_)
      if (k.peer == id) out += fmt::format(" {:08x}{}", index, k.used ? "" : "?");
    return out;
  }
  return "none";
}

bool MeshSim::is_direct(const std::string& a, const std::string& b) const {
  const Node& n = nodes_.at(a);
  return n.mesh && n.mesh->is_direct(b);
}

}  // namespace tunnel
