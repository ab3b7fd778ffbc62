#include "tunnel/data/worker.h"

#include <algorithm>
#include <system_error>

#include "base/core/log.h"
#include "tunnel/data/worker_buffers.h"

namespace tunnel {
namespace {
constexpr size_t kOldPortsMax = 4;
constexpr base::Duration kOldPortLife = std::chrono::seconds(10);
}  // namespace

Worker::Worker(Config c, std::unique_ptr<base::Loop> loop, std::shared_ptr<UdpPort> port, std::shared_ptr<ControlGate> gate, DataCounters& count)
    : c_(std::move(c)), own_(c_.own), gate_(std::move(gate)), count_(count), loop_(std::move(loop)),
      tun_buffer_(new uint8_t[kTunBufferBytes]), coalescer_([this](iovec* parts, size_t n) { write_tun(parts, n); }, c_.join),
      buffers_(std::make_unique<ReceiveBuffers>()) {
  port_ = watch_port(std::move(port));
  retire_timer_ = loop_->timer([this] { retire_ports(); });
  held_timer_ = loop_->timer([this] { sweep_held(); });
  tun_watch_ = loop_->watch(c_.tun_fd, base::kFdRead, [this](base::FdEvents) { on_tun(); });
}

Worker::~Worker() {
  loop_->stop();
  if (thread_.joinable()) thread_.join();
  inbox_.drop_all();
}

base::Result<void> Worker::start(std::vector<Worker*> all) {
  all_ = std::move(all);
  try {
    thread_ = std::thread([this] { loop_->run(); });
  } catch (const std::system_error& e) {
    return base::fail(base::Code::limit, "tunnel: no thread for the data plane: {}: raise the limit of processes (TasksMax, RLIMIT_NPROC), or set fewer workers", e.what());
  }
  return {};
}

// Changes wait in the inbox. It is emptied by the loop, and before packets just read are looked at.
void Worker::change(std::function<void()> fn) {
  auto run = [this, fn = std::move(fn)] {
    flush_all();
    settle();
    last_receiver_ = admitted_.receiver = nullptr;
    fn();
  };
  if (inbox_.add(std::move(run))) loop_->post([this] { inbox_.run(); });
}

void Worker::set_peer(PeerId id, PeerRoute route, std::shared_ptr<PeerCounters> counters, std::shared_ptr<UdpPort> by) {
  change([=, this, r = std::move(route), n = std::move(counters), s = std::move(by)] { apply_peer(id, r, n, s); });
}

void Worker::remove_peer(PeerId id) {
  change([=, this] { apply_remove(id); });
}

void Worker::add_receive_keys(PeerId id, DataKeysPtr keys) {
  change([=, this, k = std::move(keys)] {
    auto r = std::make_unique<Receiver>();
    r->keys = k;
    r->peer = &peer_of(id);
    receivers_[k->local_index()] = std::move(r);
  });
}

void Worker::remove_receive_keys(uint32_t index) {
  change([=, this] { receivers_.erase(index); });
}

void Worker::replace_port(std::shared_ptr<UdpPort> port) {
  change([=, this, p = std::move(port)] {
    if (old_ports_.size() == kOldPortsMax) old_ports_.erase(old_ports_.begin());
    port_.until = loop_->now() + kOldPortLife;
    old_ports_.push_back(std::move(port_));
    port_ = watch_port(p);
    if (!retire_timer_->armed()) retire_timer_->arm(kOldPortLife);
  });
}

void Worker::add_socket(std::shared_ptr<UdpPort> socket) {
  change([=, this, s = std::move(socket)] { sockets_[s->id()] = watch_port(s); });
}

void Worker::remove_socket(uint32_t id) {
  change([=, this] { sockets_.erase(id); });
}

Worker::Port Worker::watch_port(std::shared_ptr<UdpPort> sockets) {
  Port p;
  for (bool v6 : {false, true})
    if (sockets->fd(v6) >= 0)
      p.watch[v6] = loop_->watch(sockets->fd(v6), base::kFdRead, [this, s = sockets, v6](base::FdEvents) { on_udp(*s, v6); });
  p.sockets = std::move(sockets);
  return p;
}

void Worker::retire_ports() {
  std::erase_if(old_ports_, [&](const Port& p) { return p.until <= loop_->now(); });
  if (!old_ports_.empty()) retire_timer_->arm(old_ports_.front().until - loop_->now());
}

Worker::Peer& Worker::peer_of(PeerId id) {
  auto& p = peers_[id];
  if (!p) {
    p = std::make_unique<Peer>();
    p->id = id;
    p->counters = std::make_shared<PeerCounters>();  // until set_peer brings the shared ones
  }
  return *p;
}

void Worker::apply_peer(PeerId id, PeerRoute route, std::shared_ptr<PeerCounters> counters, std::shared_ptr<UdpPort> by) {
  Peer& p = peer_of(id);
  for (const auto& c : p.route.inner) routes_.remove(c, &p);
  if (route.stream != p.route.stream) p.may_hand_over = route.stream ? std::max<size_t>(1, kHandedPacketsMax / c_.workers) : 0;
  p.route = std::move(route);
  p.counters = std::move(counters);
  p.sources = InnerFilter(p.route.inner);
  p.endpoint = Endpoint(p.route.path);
  p.by = std::move(by);
  p.lane = p.route.tx_keys ? lane_for(p.route.tx_keys) : nullptr;
  for (const auto& c : p.route.inner) routes_.set(c, &p);
  forget_dead_lanes();
  if (p.lane || p.may_hand_over) release_held(p);
}

void Worker::apply_remove(PeerId id) {
  auto it = peers_.find(id);
  if (it == peers_.end()) return;
  Peer* p = it->second.get();
  for (const auto& c : p->route.inner) routes_.remove(c, p);
  std::erase_if(receivers_, [&](auto& r) { return r.second->peer == p; });
  peers_.erase(it);
  forget_dead_lanes();
}

// A lane's counter lives as long as anybody holds its keys: keys set again go on counting where they stopped.
LaneCounter* Worker::lane_for(const DataKeysPtr& keys) {
  for (auto& l : lanes_)
    if (l->keys == keys) return &l->counter;
  uint8_t lane = worker_lane(c_.number);
  if (!EM_DOUBT(keys->claim_lane(lane))) return nullptr;  // somebody counted on it already: never seal with these
  return &lanes_.emplace_back(new LaneOfKeys{keys, LaneCounter(lane)})->counter;
}

void Worker::forget_dead_lanes() {
  std::erase_if(lanes_, [](auto& l) { return l->keys.use_count() == 1; });
}

}  // namespace tunnel
