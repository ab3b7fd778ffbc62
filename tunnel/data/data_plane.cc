#include "tunnel/data/data_plane.h"

#include <sys/uio.h>

#include <algorithm>
#include <unordered_map>

#include "base/core/log.h"
#include "tunnel/data/worker.h"
#include "tunnel/tun/tun_device.h"

namespace tunnel {
namespace {

constexpr base::Duration kWantedEvery = std::chrono::milliseconds(100);
constexpr int kSocketBufferBytes = 4 << 20;  // one of them may come to carry a session

class DataPlaneImpl final : public DataPlane {
 public:
  DataPlaneImpl(Config c, TunDevice tun, base::Loop& control, base::Metrics& m)
      : c_(std::move(c)), tun_(std::move(tun)), control_(control), counters_(m) {}

  ~DataPlaneImpl() override {
    gate_->close();
    workers_.clear();
  }

  base::Result<void> begin(DataPlaneHooks hooks, base::SocketStore& store) {
    hooks.on_wanted = [this, say = std::move(hooks.on_wanted)](PeerId id) {
      if (say && is_wanted_news(id)) say(id);
    };
    gate_ = std::make_shared<ControlGate>(control_, std::move(hooks));
    EM_TRY(open_ports(c_.listen, &store));
    for (size_t i = 0; i < ports_.size(); ++i) {
      EM_TRY_ASSIGN(auto loop, base::open_libevent_loop());
      workers_.push_back(std::make_unique<Worker>(Worker::Config{i, ports_.size(), tun_.fd(i), c_.own, {.udp = tun_.offloads().udp}}, std::move(loop), ports_[i], gate_, counters_));
    }
    std::vector<Worker*> all;
    for (auto& w : workers_) all.push_back(w.get());
    for (auto& w : workers_) EM_TRY(w->start(all));
    return {};
  }

  uint16_t port() const override { return ports_[0]->port(); }

  void set_peer(PeerId id, PeerRoute route) override {
    auto& traffic = peers_[id];
    if (!traffic) traffic = std::make_shared<PeerCounters>();
    auto by = sockets_.find(route.path.socket);
    for (auto& w : workers_) w->set_peer(id, route, traffic, by == sockets_.end() ? nullptr : by->second);
  }
  void remove_peer(PeerId id) override {
    peers_.erase(id);
    wanted_.erase(id);
    for (auto& w : workers_) w->remove_peer(id);
  }
  void add_receive_keys(PeerId id, DataKeysPtr keys) override {
    for (auto& w : workers_) w->add_receive_keys(id, keys);
  }
  void remove_receive_keys(uint32_t local_index) override {
    for (auto& w : workers_) w->remove_receive_keys(local_index);
  }
  base::Result<uint32_t> open_socket(bool v6, uint16_t port) override {
    if (sockets_.size() >= kSocketsMax) return base::fail(base::Code::limit, "tunnel: {} sockets for punching are open already", kSocketsMax);
    auto any = std::find_if(c_.listen.begin(), c_.listen.end(), [&](const auto& at) { return at.ip.is_v6() == v6; });
    if (any == c_.listen.end()) return base::fail(base::Code::unsupported, "tunnel: no IPv{} here", v6 ? 6 : 4);
    EM_TRY_ASSIGN(auto s, UdpPort::open({.listen = {{any->ip, port}}, .mark = c_.socket_mark, .gso = c_.gso, .id = ++last_socket_, .buffer_bytes = kSocketBufferBytes}, nullptr));
    sockets_[last_socket_] = s;
    workers_[last_socket_ % workers_.size()]->add_socket(s);
    return last_socket_;
  }
  void close_socket(uint32_t socket) override {
    if (sockets_.erase(socket) && socket < kFirstCarrier) workers_[socket % workers_.size()]->remove_socket(socket);
  }
  uint16_t socket_port(uint32_t socket) const override {
    auto it = sockets_.find(socket);
    return it == sockets_.end() ? 0 : it->second->port();
  }
  uint32_t open_carrier(RecordSink sink) override {
    sockets_[++last_carrier_] = UdpPort::through(std::move(sink), last_carrier_);
    return last_carrier_;
  }
  void carried(uint32_t carrier, const base::IpPort& relay, base::ByteView d) override {
    PathAddr from{relay, {}, 0, carrier};
    if (auto f = read_relay_frame(d)) {
      from.relay_channel = f->channel;
      d = f->packet;
    }
    Kind kind = classify(d);
    auto h = kind == Kind::sealed ? read_header(d) : std::nullopt;
    base::ByteVec bytes(d.begin(), d.end());
    if (h && h->type == PacketType::data) return workers_[h->index % workers_.size()]->take_data(from, std::move(bytes), 0);
    if (!h && kind != Kind::relay_control) return counters_.malformed.add();
    if (!gate_->control_packet(from, std::move(bytes))) counters_.backlog.add();
  }
  void send(const PathAddr& to, base::ByteView datagram, uint8_t ttl) override {
    auto by = sockets_.find(to.socket);
    if (to.socket && by == sockets_.end()) return counters_.send_failed.add();
    Endpoint e(to);
    frame_.resize(e.channel ? kRelayHeaderBytes : 0);
    if (e.channel) write_relay_header(frame_.data(), e.channel);
    frame_.insert(frame_.end(), datagram.begin(), datagram.end());
    if (int err = (to.socket ? by->second : ports_[0])->send(e, frame_, frame_.size(), 0, ttl)) {
      if (err == EMSGSIZE) return;  // a probe longer than the interface allows: no answer is its answer
      counters_.send_failed.add();
      EM_LOG(debug, "tunnel", "send to {}: {}", to.str(), std::generic_category().message(err));
    }
  }
  void deliver(PeerId id, base::ByteView packet) override { workers_[id % workers_.size()]->take_packet(id, {packet.begin(), packet.end()}); }
  void write_tun(base::ByteView packet) override {
    VnetHeader none;
    iovec parts[2] = {{&none, sizeof none}, {const_cast<uint8_t*>(packet.data()), packet.size()}};
    if (::writev(tun_.fd(0), parts, 2) < 0) counters_.tun_write.add();
  }
  PeerTraffic traffic(PeerId id) const override {
    auto it = peers_.find(id);
    return it == peers_.end() ? PeerTraffic{} : it->second->read();
  }
  base::Result<void> rebind(uint16_t port) override {
    auto listen = c_.listen;
    for (auto& at : listen) at.port = port;
    EM_TRY(open_ports(listen, nullptr));
    for (size_t i = 0; i < workers_.size(); ++i) workers_[i]->replace_port(ports_[i]);
    return {};
  }

 private:
  base::Result<void> open_ports(std::vector<base::IpPort> listen, base::SocketStore* store) {
    std::vector<std::shared_ptr<UdpPort>> ports;
    for (size_t i = 0; i < tun_.queues(); ++i) {
      EM_TRY_ASSIGN(auto p, UdpPort::open({listen, c_.socket_mark, i, tun_.queues(), c_.gso}, store));
      for (auto& at : listen) at.port = p->port();  // the others share what the first one got
      ports.push_back(std::move(p));
    }
    ports_ = std::move(ports);
    return {};
  }
  bool is_wanted_news(PeerId id) {  // each worker says it; once is enough
    auto& last = wanted_[id];
    if (last != base::Instant{} && control_.now() - last < kWantedEvery) return false;
    last = control_.now();
    return true;
  }

  Config c_;
  TunDevice tun_;
  base::Loop& control_;
  DataCounters counters_;
  std::shared_ptr<ControlGate> gate_;
  std::vector<std::shared_ptr<UdpPort>> ports_;  // one per worker
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unordered_map<uint32_t, std::shared_ptr<UdpPort>> sockets_;  // by id
  uint32_t last_socket_ = 0, last_carrier_ = kFirstCarrier - 1;
  std::unordered_map<PeerId, std::shared_ptr<PeerCounters>> peers_;
  std::unordered_map<PeerId, base::Instant> wanted_;
  base::ByteVec frame_;
};

}  // namespace

base::Result<std::unique_ptr<DataPlane>> DataPlane::start(Config c, DataPlaneHooks hooks, base::Loop& control, base::SocketStore& store,
                                                          base::Metrics& metrics) {
  EM_TRY_ASSIGN(TunDevice tun, TunDevice::open({.name = c.tun, .mtu = c.tun_mtu, .queues = std::max<size_t>(c.workers, 1)}, store));
  auto plane = std::make_unique<DataPlaneImpl>(std::move(c), std::move(tun), control, metrics);
  EM_TRY(plane->begin(std::move(hooks), store));
  return plane;
}

}  // namespace tunnel
