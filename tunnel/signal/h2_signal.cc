#include "tunnel/signal/h2_signal.h"

#include <set>

#include "base/core/log.h"
#include "base/net/socket.h"
#include "tunnel/signal/places.h"
#include "tunnel/signal/proxy_connect.h"

namespace tunnel {
namespace {

using base::ByteVec;
using base::ByteView;
using base::IpPort;

constexpr size_t kRelaysMax = 3;
constexpr size_t kConnsPerNodeMax = 3;
constexpr size_t kRecordsUnderWay = 16 << 10;  // given to the stream; the rest waits where the oldest can be dropped
constexpr base::Duration kFirstTry = std::chrono::seconds(2);  // for TCP to a relay that has another port to try
constexpr base::Duration kRecordAgeMin = std::chrono::milliseconds(100), kRecordLook = std::chrono::milliseconds(20);
constexpr size_t kHalfOpenMax = 64;
constexpr size_t kToldMax = 8;
constexpr size_t kHeldFramesMax = 16;
constexpr size_t kHeldBytesMax = 64 << 10;
constexpr base::Duration kHeldAgeMax = std::chrono::seconds(10);
// Shorter than the first repeat of whoever sends: a node that has just come up is found by it.
constexpr base::Duration kUnreachableFor = std::chrono::milliseconds(300);

class Impl final : public H2Signal {
 public:
  Impl(Config c, base::Loop& loop, base::Rng& rng, base::Metrics& m, base::UniqueFd listener)
      : c_(std::move(c)), loop_(loop), rng_(rng), counters_(m),
        changed_(loop.timer([this] { if (on_routes_) on_routes_(); })), look_(loop.timer([this] { feed_all(); })), local_(loop.timer([this] { deliver_local_grants(); })) {
    me_ = c_.tls->own().name;
    serves_ = c_.serve_relay && c_.tls->own().has_role(base::kRelayRole);
    if (c_.serve_relay && !serves_)
      EM_LOG(warn, "signal", "this node's certificate has no role relay; it does not relay. Issue it again: edgemeshctl ca issue --renew --role relay");
    if (listener) listen(std::move(listener));
  }

  void listen(base::UniqueFd fd) override {
    listeners_.push_back(std::make_unique<base::Listener>(loop_, std::move(fd), [this](base::UniqueFd c) { on_accept(std::move(c)); }));
  }

  void want_records(const std::string& relay, bool wanted) override {
    std::string key = "records " + relay;
    auto known = places_.find(key);
    if (!wanted && known != places_.end()) {
      uint64_t conn = known->second->conn;
      places_.erase(known);
      close_conn(conn, "no longer needed");
    }
    Conn* c = relay_named(relay);
    if (!wanted || known != places_.end() || !c) return;
    Place& p = add_place(key, relay, {c->remote}, false);
    p.is_for_records = true;
    dial(p);
  }

  RecordRoute records_to(const std::string& relay) override {
    auto p = places_.find("records " + relay);
    const Conn* c = p == places_.end() ? nullptr : ready_conn(p->second->conn);
    if (!c || !c->records) return {};
    // Data threads call it; they end before the loop does.
    auto send = [this, alive = std::weak_ptr(alive_), id = c->id, queue = c->records](ByteView b) {
      if (queue->push(b)) loop_.post([this, alive, id] { if (!alive.expired()) feed(id); });
    };
    return {c->id, std::move(send)};
  }

  void on_record(std::function<void(const std::string&, ByteView)> f) override { on_record_ = std::move(f); }
  void set_record_taker(std::function<void(uint64_t, const std::string&, ByteView)> f) override { record_taker_ = std::move(f); }

  void send_record(uint64_t id, ByteView b) override {
    auto it = conns_.find(id);
    if (it == conns_.end() || !it->second->records) return;
    if (it->second->records->push(b)) feed(id);
  }

  bool has_route(const std::string& node) const override {
    return direct_to(node) || relay_for(node) || addresses_.contains(node);
  }

  std::string trouble(const std::string& node) const override {
    if (direct_to(node) || relay_for(node)) return {};
    std::string out;
    for (auto& [key, p] : places_)
      if (!p->trouble.empty() && (p->is_relay || p->name == node)) out += (out.empty() ? "" : "; ") + p->trouble;
    return out;
  }

  void send(const std::string& to, SignalKind kind, ByteView payload) override {
    if (payload.size() > base::limits::kSignalMessageBytesMax) return counters_.dropped.add();
    Message m;
    auto* f = m.mutable_frame();
    f->set_from(me_);
    f->set_to(to);
    f->set_kind(uint32_t(kind));
    f->set_payload(payload.data(), payload.size());
    if (Conn* c = direct_to(to)) return transmit(*c, m);
    bool dialling = dial_peer(to);
    if (Conn* c = relay_for(to)) return transmit(*c, m);
    dialling ? hold(to, std::move(m)) : counters_.dropped.add();
  }

  void on_frame(std::function<void(const std::string&, SignalKind, ByteView)> f) override { on_frame_ = std::move(f); }
  void on_routes_changed(std::function<void()> f) override { on_routes_ = std::move(f); }
  void on_grant(std::function<void(RelayGrant)> f) override { on_grant_ = std::move(f); }

  std::vector<RelayInfo> relays() const override {
    std::vector<RelayInfo> out;
    for (auto& [key, p] : places_) {
      if (!p->is_relay) continue;
      const Conn* c = ready_conn(p->conn);
      RelayInfo i{p->name, p->addresses[0], {}, false, false, p->addresses[0], p->trouble};
      if (c) i = {c->peer, relay_udp_of(*c), c->conn->rtt(), true, c->conn->hello().takes_records(), c->remote, ""};
      out.push_back(std::move(i));
    }
    return out;
  }

  void request_grant(const std::string& peer, const std::string& relay) override {
    if (Conn* c = relay.empty() ? relay_for(peer) : relay_named(relay)) {
      Message m;
      m.mutable_grant_request()->set_peer(peer);
      return transmit(*c, m);
    }
    if (serves_) grant_pair(me_, peer);
  }

  void set_relays(std::vector<RelayTarget> targets) override {
    if (targets.size() > kRelaysMax) targets.resize(kRelaysMax);
    std::set<std::string> keep;
    for (auto& t : targets) {
      if (t.name == me_) continue;
      std::string key = "relay " + t.name + " " + t.address.str();
      keep.insert(key);
      if (!places_.contains(key)) dial(add_place(key, t.name, ways_to(t.address), true));
    }
    auto is_relay_still = [&](const Place& p) {
      return std::any_of(targets.begin(), targets.end(), [&](const RelayTarget& t) { return t.name == p.name || t.address.ip == p.addresses[0].ip; });
    };
    std::erase_if(places_, [&](auto& e) {
      bool stays = e.second->is_for_records ? is_relay_still(*e.second) : !e.second->is_relay || keep.contains(e.first);
      if (stays) return false;
      close_conn(e.second->conn, "no longer a relay of this node");
      return true;
    });
  }

  void set_addresses(std::map<std::string, std::vector<IpPort>> a) override {
    a.erase(me_);
    std::erase_if(a, [](auto& e) { return e.second.empty(); });
    addresses_ = std::move(a);
    auto is_peer = [](const Place& p) { return !p.is_relay && !p.is_for_records; };
    std::erase_if(places_, [&](auto& e) { return is_peer(*e.second) && !addresses_.contains(e.second->name); });
    for (auto& [key, p] : places_) {
      if (!is_peer(*p) || p->addresses == addresses_[p->name]) continue;
      p->addresses = addresses_[p->name];
      p->next_address = 0;
      p->backoff.reset();
      if (p->conn == 0 && p->retry->armed()) p->retry->arm(base::Duration{0});  // where it is now: not when the old place is due
    }
    routes_changed();
  }

  void set_granter(std::function<std::pair<RelayGrant, RelayGrant>(const std::string&, const std::string&)> f) override { granter_ = std::move(f); }
  void set_tls(std::shared_ptr<TlsIdentity> t) override { c_.tls = std::move(t); }

  void recheck() override {
    for (auto& [id, c] : conns_)
      if (c->conn->ready() && c_.tls->is_denied(c->conn->identity())) c->conn->close("the node is on the deny list");
  }

  size_t connections() const override {
    size_t n = 0;
    for (auto& [id, c] : conns_) n += c->conn->ready();
    return n;
  }

 private:
  struct Counters {
    explicit Counters(base::Metrics& m)
        : sent(frames(m, "sent")), received(frames(m, "received")), forwarded(frames(m, "forwarded")), dropped(frames(m, "dropped")),
          refused(frames(m, "refused")), records_sent(records(m, "sent")), records_received(records(m, "received")), records_lost(records(m, "dropped")), opened(m.counter("edgemeshd_signal_connections_total", "Signalling connections that became ready.")),
          ready(m.gauge("edgemeshd_signal_connections", "Signalling connections that are ready.")) {}
    static base::Counter& frames(base::Metrics& m, const char* event) {
      return m.counter("edgemeshd_signal_frames_total", "Signalling frames by what became of them.", {{"event", event}});
    }
    static base::Counter& records(base::Metrics& m, const char* event) {
      return m.counter("edgemeshd_signal_records_total", "Tunnel datagrams over TCP, where UDP does not pass, by what became of them.", {{"event", event}});
    }
    base::Counter &sent, &received, &forwarded, &dropped, &refused, &records_sent, &records_received, &records_lost, &opened;
    base::Gauge& ready;
  };

  // ---- connections -------------------------------------------------------------------------------------------------------
  Message hello(bool for_records) const {
    Message m;
    auto* h = m.mutable_hello();
    h->set_node(me_);
    h->set_instance(c_.instance);
    h->set_relay(serves_);
    if (serves_) h->set_relay_udp(c_.relay_udp.str());
    h->set_takes_records(serves_);
    h->set_is_for_records(for_records);
    return m;
  }

  void on_accept(base::UniqueFd fd) {
    size_t half_open = conns_.size() - connections();
    if (half_open >= kHalfOpenMax || conns_.size() >= base::limits::kPeersMax) return;  // closed at once; it comes back
    auto from = base::peer_address(fd.get());
    add_conn(base::TlsRole::server, base::make_stream(loop_, std::move(fd), SignalConn::kStreamLimits), from ? *from : IpPort{}, false);
  }

  Conn& add_conn(base::TlsRole role, std::unique_ptr<base::Stream> below, const IpPort& remote, bool for_records) {
    base::set_tcp_nodelay(below->fd());
    auto c = std::make_unique<Conn>();
    c->id = ++last_id_;
    c->remote = remote;
    c->dialled = role == base::TlsRole::client;
    Conn* raw = c.get();
    c->conn = std::make_unique<SignalConn>(loop_, rng_, role, std::move(below), *c_.tls, hello(for_records), c_.timing,
                                           SignalConn::Events{.on_ready = [this, raw] { on_ready(*raw); },
                                                              .on_message = [this, raw](const Message& m) { on_message(*raw, m); },
                                                              .on_closed = [this, id = c->id](const std::string& why) { on_closed(id, why); },
                                                              .on_room = [this, id = c->id] { feed(id); }});
    conns_[c->id] = std::move(c);
    return *raw;
  }

  void on_ready(Conn& c) {
    c.peer = c.conn->identity().name;
    c.is_relay = c.conn->hello().relay() && c.conn->identity().has_role(base::kRelayRole);
    Place* p = place_of(c.id);
    bool for_records = p ? p->is_for_records : c.conn->hello().is_for_records();
    if (for_records && !p && !serves_) return c.conn->close("this node does not relay");
    if (for_records) open_records(c);
    if (c.peer == me_) return c.conn->close("this is a connection to ourselves");
    if (p && !p->name.empty() && p->name != c.peer)
      return c.conn->close(fmt::format("{} answered where {} was expected; correct the address", c.peer, p->name));
    if (p && p->is_relay && !c.is_relay) return c.conn->close(fmt::format("node {} does not relay; remove it from the relays or give it the role", c.peer));
    counters_.opened.add();
    counters_.ready.set(int64_t(connections()));
    EM_LOG(info, "signal", "{} {} ({}) is connected{}", c.is_relay ? "relay" : "node", c.peer, c.remote.str(), c.records ? " for records" : "");
    close_surplus(c);
    if (p) {
      p->ready_since = loop_.now();
      p->tries = 0;
      p->next_address--;  // what works is tried first
      p->trouble.clear();
      p->told.clear();
      flush_held(*p, c);
    }
    routes_changed();
  }

  // A node that comes back has left dead connections behind: the oldest go.
  void close_surplus(const Conn& newest) {
    std::vector<Conn*> of_peer;
    for (auto& [id, c] : conns_)
      if (c->peer == newest.peer && !c->records == !newest.records && c->conn->ready()) of_peer.push_back(c.get());
    for (size_t i = 0; i + kConnsPerNodeMax < of_peer.size(); i++) of_peer[i]->conn->close("replaced by a newer connection");
  }

  void on_closed(uint64_t id, const std::string& why) {
    auto it = conns_.find(id);
    if (it == conns_.end()) return;
    std::shared_ptr<Conn> dead(std::move(it->second));
    conns_.erase(it);
    loop_.post([dead] {});  // this call comes from inside it
    bool was_ready = !dead->peer.empty();
    std::string at = dead->remote.str() + ": ";
    std::string_view reason = why;
    if (reason.starts_with(at)) reason.remove_prefix(at.size());
    Place* p = place_of(id);
    log_end(p, fmt::format("{}connection {}: {}", at, was_ready ? "to " + dead->peer + " ended" : "failed", reason));
    counters_.ready.set(int64_t(connections()));
    if (p) {
      if (!was_ready && (p->trouble.empty() || dead->remote == p->addresses[0])) p->trouble = at + std::string(reason);
      lost(*p);
    }
    if (was_ready) routes_changed();
  }

  static void log_end(Place* p, const std::string& text) {
    bool is_news = !p || !p->told.contains(text);
    if (p && p->told.size() < kToldMax) p->told.insert(text);
    if (is_news) EM_LOG(info, "signal", "{}", text);
    else EM_LOG(debug, "signal", "{}", text);
  }

  // ---- records -----------------------------------------------------------------------------------------------------------
  void open_records(Conn& c) {
    c.records = std::make_shared<RecordQueue>();
    c.is_relay = false;  // for signalling
    base::set_tcp_unsent_max(c.conn->fd(), kRecordsUnderWay);
  }

  void feed(uint64_t id) {
    auto it = conns_.find(id);
    if (it == conns_.end() || !it->second->records) return;
    Conn& c = *it->second;
    base::Duration age = std::max(kRecordAgeMin, c.conn->rtt());
    c.records->look(loop_.now(), age);
    while (c.conn->queued() < kRecordsUnderWay) {
      auto record = c.records->pop(loop_.now(), age);
      if (!record) break;
      Message m;
      m.set_record(record->data(), record->size());
      (c.conn->send(m) ? counters_.records_sent : counters_.records_lost).add();
    }
    counters_.records_lost.add(c.records->take_lost());
    if (c.records->bytes() > 0 && !look_->armed()) look_->arm(kRecordLook);
  }

  void feed_all() {
    std::vector<uint64_t> ids;
    for (auto& [id, c] : conns_)
      if (c->records) ids.push_back(id);
    for (uint64_t id : ids) feed(id);
  }

  void on_record_message(Conn& c, ByteView b) {
    if (b.size() > RecordQueue::kRecordBytesMax) return counters_.records_lost.add();
    counters_.records_received.add();
    if (c.dialled && on_record_) on_record_(c.peer, b);
    if (!c.dialled && record_taker_) record_taker_(c.id, c.peer, b);
  }

  void close_conn(uint64_t id, const char* why) {
    auto it = conns_.find(id);
    if (it != conns_.end()) it->second->conn->close(why);
  }

  // ---- places ------------------------------------------------------------------------------------------------------------
  Place& add_place(const std::string& key, const std::string& name, std::vector<IpPort> addresses, bool is_relay) {
    auto p = std::make_unique<Place>(Place{name, std::move(addresses), is_relay, false, 0, 0, 0, {}, Backoff(c_.backoff_min, is_relay ? c_.relay_backoff_max : c_.backoff_max), nullptr, {}, 0, {}});
    Place* raw = p.get();
    p->retry = loop_.timer([this, raw] { dial(*raw); });
    places_[key] = std::move(p);
    return *raw;
  }

  void dial(Place& p) {
    if (p.conn != 0) return;
    if (!p.is_relay && !p.is_for_records && p.held.empty()) return;  // nothing to say to this peer any more
    p.tries++;
    IpPort to = p.addresses[p.next_address++ % p.addresses.size()];
    bool by_proxy = c_.proxy && (p.is_relay || p.is_for_records);
    base::Duration within = p.addresses.size() > 1 ? std::min(kFirstTry, c_.timing.handshake) : c_.timing.handshake;
    auto stream = base::connect_tcp(loop_, by_proxy ? *c_.proxy : to, within, {.mark = c_.socket_mark}, SignalConn::kStreamLimits);
    if (!stream) {
      EM_LOG(info, "signal", "{}", stream.error().what);
      p.trouble = stream.error().what;
      return dial_again(p);
    }
    if (by_proxy) *stream = through_proxy(loop_, std::move(*stream), to);
    p.conn = add_conn(base::TlsRole::client, std::move(*stream), to, p.is_for_records).id;
  }

  // A relay's other port is tried at once; the back-off is between rounds.
  void dial_again(Place& p) {
    bool at_once = p.is_relay && p.tries % p.addresses.size() != 0;
    p.retry->arm(at_once ? base::Duration{0} : p.backoff.step(rng_));
  }

  std::vector<IpPort> ways_to(const IpPort& relay) const {
    if (c_.relay_fallback_port == 0 || relay.port == c_.relay_fallback_port) return {relay};
    return {relay, {relay.ip, c_.relay_fallback_port}};
  }

  void lost(Place& p) {
    p.conn = 0;
    // A connection that held for a while ends the back-off; one that is refused each time after the handshake does not.
    if (p.ready_since != base::Instant{} && loop_.now() - p.ready_since > c_.backoff_min) p.backoff.reset();
    p.ready_since = {};
    dial_again(p);
  }

  Place* place_of(uint64_t conn) {
    for (auto& [key, p] : places_)
      if (p->conn == conn) return p.get();
    return nullptr;
  }

  bool dial_peer(const std::string& node) {
    auto a = addresses_.find(node);
    if (a == addresses_.end()) return false;
    std::string key = "node " + node;
    auto it = places_.find(key);
    Place& p = it != places_.end() ? *it->second : add_place(key, node, a->second, false);
    if (p.conn == 0 && !p.retry->armed()) p.retry->arm(base::Duration{0});
    return true;
  }

  void hold(const std::string& node, Message m) {
    Place& p = *places_.at("node " + node);
    size_t n = m.frame().payload().size();
    if (p.held.size() == kHeldFramesMax || p.held_bytes + n > kHeldBytesMax) return counters_.dropped.add();
    p.held_bytes += n;
    p.held.emplace_back(loop_.now(), std::move(m));
  }

  void flush_held(Place& p, Conn& c) {
    for (auto& [when, m] : p.held) loop_.now() - when < kHeldAgeMax ? transmit(c, m) : counters_.dropped.add();
    p.held.clear();
    p.held_bytes = 0;
  }

  // ---- routes ------------------------------------------------------------------------------------------------------------
  const Conn* ready_conn(uint64_t id) const {
    auto it = conns_.find(id);
    return it != conns_.end() && it->second->conn->ready() ? it->second.get() : nullptr;
  }

  Conn* direct_to(const std::string& node) const {  // the newest
    for (auto it = conns_.rbegin(); it != conns_.rend(); ++it)
      if (it->second->peer == node && !it->second->records && it->second->conn->ready()) return it->second.get();
    return nullptr;
  }

  Conn* relay_for(const std::string& node) const {  // the nearest that did not just say it lacks the node
    Conn* best = nullptr;
    for (auto& [id, c] : conns_) {
      if (!c->is_relay || !c->dialled || !c->conn->ready()) continue;
      auto u = c->unreachable.find(node);
      if (u != c->unreachable.end() && loop_.now() - u->second < kUnreachableFor) continue;
      if (!best || c->conn->rtt() < best->conn->rtt()) best = c.get();
    }
    return best;
  }

  Conn* relay_named(const std::string& name) const {
    for (auto& [id, c] : conns_)
      if (c->is_relay && c->dialled && c->conn->ready() && c->peer == name) return c.get();
    return nullptr;
  }

  void routes_changed() { changed_->arm(base::Duration{0}); }

  void transmit(Conn& c, const Message& m) { (c.conn->send(m) ? counters_.sent : counters_.dropped).add(); }

  // ---- messages ----------------------------------------------------------------------------------------------------------
  void on_message(Conn& c, const Message& m) {
    if (c.records) {
      if (m.what_case() == Message::kRecord) on_record_message(c, base::as_bytes(m.record()));
      return;
    }
    switch (m.what_case()) {
      case Message::kFrame: return on_frame_message(c, m);
      case Message::kGrantRequest: return on_grant_request(c, m.grant_request().peer());
      case Message::kGrant: return on_grant_message(c, m.grant());
      case Message::kUnreachable: return on_unreachable(c, m.unreachable().node());
      default: return;  // a later version's message
    }
  }

  void on_frame_message(Conn& c, const Message& m) {
    auto& f = m.frame();
    bool own_word = f.from() == c.peer;
    if (!own_word && !(c.is_relay && c.dialled && f.to() == me_)) {
      counters_.refused.add();
      EM_LOG(warn, "signal", "node {} ({}) sent a frame in the name of another node; connection closed", c.peer, c.remote.str());
      return c.conn->close("a frame in the name of another node");
    }
    if (f.to() == me_) {
      counters_.received.add();
      if (on_frame_ && f.kind() >= 1 && f.kind() <= 3) on_frame_(f.from(), SignalKind(f.kind()), base::as_bytes(f.payload()));
      return;
    }
    if (!serves_) return counters_.refused.add();
    Conn* to = direct_to(f.to());
    if (!to) return say_unreachable(c, f.to());
    (to->conn->send(m) ? counters_.forwarded : counters_.dropped).add();
  }

  void say_unreachable(Conn& c, const std::string& node) {
    Message m;
    m.mutable_unreachable()->set_node(node);
    transmit(c, m);
  }

  void on_unreachable(Conn& c, const std::string& node) {
    if (!c.is_relay || c.unreachable.size() > base::limits::kPeersMax) return;
    c.unreachable[node] = loop_.now();
    routes_changed();
  }

  void on_grant_request(Conn& c, const std::string& peer) {
    if (!serves_ || !granter_ || peer == c.peer) return counters_.refused.add();
    if (peer != me_ && !direct_to(peer)) return say_unreachable(c, peer);
    grant_pair(c.peer, peer);
  }

  void grant_pair(const std::string& a, const std::string& b) {
    if (!granter_ || (b != me_ && !direct_to(b))) return;
    auto [for_a, for_b] = granter_(a, b);
    give(a, std::move(for_a));
    give(b, std::move(for_b));
  }

  void give(const std::string& node, RelayGrant g) {
    if (node == me_) {
      local_grants_.push_back(std::move(g));
      return local_->arm(base::Duration{0});
    }
    Message m;
    auto* out = m.mutable_grant();
    out->set_relay(g.relay);
    out->set_relay_address(g.relay_address.str());
    out->set_peer(g.peer);
    out->set_channel(g.channel);
    out->set_generation(g.generation);
    out->set_token(g.token.data(), g.token.size());
    out->set_bind_key(g.bind_key.data(), g.bind_key.size());
    out->set_valid_seconds(uint32_t(g.valid.count()));
    if (Conn* c = direct_to(node)) transmit(*c, m);
    base::secure_zero(g.bind_key.data(), g.bind_key.size());
  }

  void deliver_local_grants() {
    auto grants = std::exchange(local_grants_, {});
    for (auto& g : grants)
      if (on_grant_) on_grant_(std::move(g));
  }

  void on_grant_message(Conn& c, const edgemesh::signal::v1::Grant& g) {
    auto address = IpPort::parse(g.relay_address());
    // Only a relay we chose may grant, and only for itself.
    if (!c.is_relay || !c.dialled || g.relay() != c.peer || !address || g.bind_key().size() != 32 || g.token().size() > 1024)
      return counters_.refused.add();
    if (address->ip.is_any()) address->ip = c.remote.ip;
    RelayGrant out{g.relay(), *address, g.peer(), g.channel(), g.generation(), bytes_of(g.token()), bytes_of(g.bind_key()),
                   std::chrono::seconds(g.valid_seconds())};
    if (on_grant_) on_grant_(std::move(out));
  }

  static ByteVec bytes_of(const std::string& s) { return {s.begin(), s.end()}; }

  IpPort relay_udp_of(const Conn& c) const {
    IpPort p = IpPort::parse(c.conn->hello().relay_udp()).value_or(IpPort{});
    if (p.ip.is_any()) p.ip = c.remote.ip;
    return p;
  }

  Config c_;
  base::Loop& loop_;
  base::Rng& rng_;
  Counters counters_;
  std::string me_;
  bool serves_ = false;
  uint64_t last_id_ = 0;
  std::map<std::string, std::vector<IpPort>> addresses_;
  std::function<void(const std::string&, SignalKind, ByteView)> on_frame_;
  std::function<void()> on_routes_;
  std::function<void(RelayGrant)> on_grant_;
  std::function<void(const std::string&, ByteView)> on_record_;
  std::function<void(uint64_t, const std::string&, ByteView)> record_taker_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::function<std::pair<RelayGrant, RelayGrant>(const std::string&, const std::string&)> granter_;
  std::vector<RelayGrant> local_grants_;
  std::map<uint64_t, std::unique_ptr<Conn>> conns_;  // by age
  std::map<std::string, std::unique_ptr<Place>> places_;
  std::unique_ptr<base::Timer> changed_, look_, local_;
  std::vector<std::unique_ptr<base::Listener>> listeners_;  // none: this node only dials
};

}  // namespace

std::unique_ptr<H2Signal> H2Signal::make(Config c, base::Loop& loop, base::Rng& rng, base::Metrics& m, base::UniqueFd listener) {
  return std::make_unique<Impl>(std::move(c), loop, rng, m, std::move(listener));
}

}  // namespace tunnel
