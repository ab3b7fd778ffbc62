#include "base/sim/sim_net.h"

#include <algorithm>

#include "base/core/assert.h"

namespace base {
namespace {

IpPort dependent_part(NatRule rule, const IpPort& remote) {
  if (rule == NatRule::endpoint) return remote;
  if (rule == NatRule::address) return {remote.ip, 0};
  return {};
}

constexpr Duration kPoisonLife = 30s;

void mix(uint64_t& h, uint64_t v) {
  h = (h ^ v) * 0x9e3779b97f4a7c15;
  h ^= h >> 29;
}

void mix(uint64_t& h, ByteView b) {
  mix(h, b.size());
  for (; b.size() >= 8; b = b.subspan(8)) mix(h, load_be64(b.data()));
  for (uint8_t x : b) mix(h, uint64_t(x));
}

void mix(uint64_t& h, const IpPort& p) {
  mix(h, p.ip.bytes());
  mix(h, uint64_t(p.port));
}

}  // namespace

// ---- sockets and hosts

SimSocket::SimSocket(SimHost& h, uint16_t port, std::function<void(IpPort, ByteView)> fn)
    : host_(h), port_(port), on_datagram_(std::make_shared<std::function<void(IpPort, ByteView)>>(std::move(fn))) {
  EM_ASSERT(host_.sockets_.emplace(port, this).second);
}

SimSocket::~SimSocket() { host_.sockets_.erase(port_); }

IpPort SimSocket::local() const { return {host_.ip(), port_}; }

void SimSocket::send(IpPort to, ByteView payload, uint8_t ttl) {
  for (auto& [ip, lan] : host_.addresses_)
    if (ip.family() == to.ip.family()) return host_.net_.send(host_, {ip, port_}, lan, to, payload, ttl);
  ++host_.net_.dropped_;
}

std::unique_ptr<SimSocket> SimHost::bind(uint16_t port, std::function<void(IpPort, ByteView)> fn) {
  while (port == 0) {
    uint16_t candidate = next_port_++;
    if (candidate >= 49152 && !sockets_.contains(candidate)) port = candidate;
  }
  return std::unique_ptr<SimSocket>(new SimSocket(*this, port, std::move(fn)));
}

void SimHost::add_public_address(IpAddr ip) { net_.attach(*this, nullptr, ip); }

void SimHost::leave() {
  for (auto& [ip, lan] : addresses_) net_.at_.erase({lan, ip});
  addresses_.clear();
}

void SimHost::move_to(IpAddr ip) {
  leave();
  net_.attach(*this, nullptr, ip);
}

void SimHost::move_behind(SimNat& lan, IpAddr ip) {
  leave();
  net_.attach(*this, &lan, ip);
}

// ---- NAT boxes

void SimNat::flush() {
  by_port_.clear();
  mappings_.clear();
  poison_.clear();
}

void SimNat::rebind(IpAddr public_ip) {
  flush();
  auto box = net_.boxes_.extract({front_, std::exchange(spec_.public_ip, public_ip)});
  box.key().second = public_ip;
  EM_ASSERT(net_.boxes_.insert(std::move(box)).inserted);
}

size_t SimNat::mappings() const {
  return size_t(std::count_if(mappings_.begin(), mappings_.end(),
                              [&](const auto& m) { return net_.loop_.now() - m.second.last_out <= spec_.timeout; }));
}

void SimNat::expire() {
  Instant now = net_.loop_.now();
  if (now <= none_before_) return;
  none_before_ = now + spec_.timeout;
  auto is_old = [&](const Mapping& m) { return now - m.last_out > spec_.timeout; };
  std::erase_if(by_port_, [&](const auto& m) { return is_old(*m.second); });
  std::erase_if(mappings_, [&](const auto& m) {
    if (is_old(m.second)) return true;
    none_before_ = std::min(none_before_, m.second.last_out + spec_.timeout);
    return false;
  });
}

uint16_t SimNat::choose_port(IpPort inside, IpPort remote) {
  auto taken = [&](uint16_t port) { return is_taken(port, inside, remote); };
  if (spec_.keep_port && !taken(inside.port)) return inside.port;
  if (spec_.port_step) {
    do last_port_ = uint16_t(std::max(1024, (last_port_ + spec_.port_step) & 0xffff));
    while (taken(last_port_));
    return last_port_;
  }
  for (;;)
    if (auto port = uint16_t(1024 + net_.rng_.below(65536 - 1024)); !taken(port)) return port;
}

bool SimNat::is_taken(uint16_t port, IpPort inside, IpPort remote) const {
  auto [from, to] = by_port_.equal_range(port);
  return is_poisoned(port, remote) || std::any_of(from, to, [&](const auto& m) {
           return !spec_.keep_port || m.second->inside != inside || m.second->contacted.contains(remote);
         });
}

bool SimNat::is_poisoned(uint16_t port, IpPort remote) const {
  auto it = poison_.find({port, remote});
  return it != poison_.end() && net_.loop_.now() - it->second < kPoisonLife;
}

IpPort SimNat::outbound(IpPort inside, IpPort remote) {
  expire();
  IpPort key = dependent_part(spec_.mapping, remote);
  auto m = mappings_.find({inside, key});
  uint16_t usual = m != mappings_.end() ? m->second.outside_port : inside.port;
  if (is_poisoned(usual, remote) && (m == mappings_.end() || !m->second.contacted.contains(remote)))
    m = mappings_.find({inside, key = remote});
  if (m == mappings_.end()) {
    uint16_t port = choose_port(inside, remote);
    m = mappings_.emplace(std::pair(inside, key), Mapping{inside, key, port, {}, {}}).first;
    by_port_.emplace(port, &m->second);
  }
  m->second.last_out = net_.loop_.now();
  m->second.contacted.insert(remote);
  return {spec_.public_ip, m->second.outside_port};
}

bool SimNat::admits(const Mapping& m, const IpPort& remote) const {
  if (spec_.filtering == NatRule::endpoint) return m.contacted.contains(remote);
  if (spec_.filtering == NatRule::independent) return !m.contacted.empty();
  auto it = m.contacted.lower_bound({remote.ip, 0});
  return it != m.contacted.end() && it->ip == remote.ip;
}

std::optional<IpPort> SimNat::inbound(uint16_t outside_port, IpPort remote) {
  expire();
  auto [from, to] = by_port_.equal_range(outside_port);
  for (auto m = from; m != to; ++m)
    if (admits(*m->second, remote)) return m->second->inside;
  if (spec_.poisonable) poison_[{outside_port, remote}] = net_.loop_.now();
  return std::nullopt;
}

// ---- the net

void SimNet::attach(SimHost& h, SimNat* lan, IpAddr ip) {
  EM_ASSERT(at_.emplace(Place{lan, ip}, &h).second);
  h.addresses_.push_back({ip, lan});
}

SimHost& SimNet::host(std::string name, IpAddr public_ip) {
  hosts_.push_back(std::unique_ptr<SimHost>(new SimHost(*this, std::move(name))));
  attach(*hosts_.back(), nullptr, public_ip);
  return *hosts_.back();
}

SimHost& SimNet::nat_host(std::string name, IpAddr private_ip, const NatSpec& spec) {
  SimNat& box = nat(spec);
  hosts_.push_back(std::unique_ptr<SimHost>(new SimHost(*this, std::move(name))));
  attach(*hosts_.back(), &box, private_ip);
  return *hosts_.back();
}

SimNat& SimNet::nat(const NatSpec& spec) {
  auto find = [&](const IpAddr& ip) {
    auto it = std::find_if(nats_.begin(), nats_.end(), [&](auto& n) { return n->spec_.public_ip == ip; });
    return it == nats_.end() ? nullptr : it->get();
  };
  if (SimNat* known = find(spec.public_ip)) return *known;
  SimNat* front = spec.behind ? find(*spec.behind) : nullptr;
  EM_ASSERT(!spec.behind || front);
  nats_.push_back(std::unique_ptr<SimNat>(new SimNat(*this, spec, front)));
  EM_ASSERT(boxes_.emplace(Place{front, spec.public_ip}, nats_.back().get()).second);
  return *nats_.back();
}

void SimNet::later(Duration d, Packet p, SimHost* to) {
  if (free_.empty()) {
    free_.push_back(flying_.size());
    flying_.emplace_back();
  }
  size_t slot = free_.back();
  free_.pop_back();
  flying_[slot] = {std::move(p), to};
  Flight f{loop_.now() + d, ++flown_, slot};
  bool is_next = flights_.empty() || flights_.top() > f;
  flights_.push(f);
  if (is_next) timer_->arm(d);
}

void SimNet::fly() {
  for (uint64_t last = flown_; !flights_.empty();) {
    Flight f = flights_.top();
    if (f.at > loop_.now() || f.order > last) break;
    flights_.pop();
    auto [p, to] = std::move(flying_[f.slot]);
    free_.push_back(f.slot);
    if (to) deliver(*to, p);
    else route(std::move(p));
  }
  if (!flights_.empty()) timer_->arm(flights_.top().at - loop_.now());
}

bool SimNet::lost(const LinkSpec& l, size_t payload, const IpPort& to) {
  size_t headers = to.ip.is_v4() ? 28 : 48;
  if (payload + headers <= l.mtu && !(l.loss > 0 && rng_.unit() < l.loss)) return false;
  ++dropped_;
  return true;
}

Duration SimNet::delay(const LinkSpec& l) {
  Duration d = l.latency;
  if (l.jitter > Duration{0}) d += Duration(int64_t(rng_.below(uint64_t(l.jitter.count()) + 1)));
  if (l.reorder > 0 && rng_.unit() < l.reorder) d += l.reorder_by;
  return d;
}

void SimNet::send(SimHost& h, IpPort from, SimNat* lan, IpPort to, ByteView payload, uint8_t ttl) {
  if (!h.up_) return void(++dropped_);
  const LinkSpec& l = h.link_;
  int copies = l.duplicate > 0 && rng_.unit() < l.duplicate ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (lost(l, payload.size(), to)) continue;
    later(delay(l), Packet{&h, lan, from, to, ttl, ByteVec(payload.begin(), payload.end())}, nullptr);
  }
}

// From its LAN outward through one NAT after another until somebody here has the address; then inward again.
void SimNet::route(Packet p) {
  const IpPort as_sent = p.from;
  if (filter_ && !filter_(as_sent, p.to, p.payload)) return void(++dropped_);
  if (p.to.ip.is_multicast()) {
    for (auto& [place, host] : at_)
      if (p.lan && place.first == p.lan && place.second.family() == p.to.ip.family() && host != p.sender) arrive(*host, p);
    return;
  }
  SimNat* last_out = nullptr;
  auto passes = [&p] { return p.ttl == 0 || --p.ttl > 0; };  // a router
  if (!p.lan && !passes()) return void(++dropped_);
  for (int hops = 0; hops < 16; ++hops) {
    if (auto it = at_.find({p.lan, p.to.ip}); it != at_.end()) return arrive(*it->second, std::move(p));
    if (auto found = boxes_.find({p.lan, p.to.ip}); found != boxes_.end()) {
      SimNat* box = found->second;
      if (box == last_out && !box->spec_.hairpin) break;
      auto inside = box->inbound(p.to.port, p.from);
      if (!inside || !passes()) break;
      p.to = *inside;
      p.lan = box;
    } else if (p.lan) {
      if (!passes()) break;
      p.from = p.lan->outbound(p.from, p.to);
      last_out = p.lan;
      p.lan = p.lan->front_;
      if (!p.lan && !passes()) break;
    } else {
      break;
    }
  }
  ++dropped_;
}

void SimNet::arrive(SimHost& h, Packet p) {
  if (blocked_.contains({p.sender, &h})) return void(++dropped_);
  const LinkSpec& l = h.link_;
  int copies = l.duplicate > 0 && rng_.unit() < l.duplicate ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (lost(l, p.payload.size(), p.to)) continue;
    later(delay(l), i + 1 < copies ? p : std::move(p), &h);
  }
}

void SimNet::deliver(SimHost& h, const Packet& p) {
  auto it = h.sockets_.find(p.to.port);
  bool here = p.to.ip.is_multicast() || std::any_of(h.addresses_.begin(), h.addresses_.end(), [&](auto& a) { return a.first == p.to.ip; });
  if (!h.up_ || !here || it == h.sockets_.end()) return void(++dropped_);
  ++delivered_;
  mix(trace_, uint64_t(loop_.now().time_since_epoch().count()));
  mix(trace_, as_bytes(h.name_));
  mix(trace_, p.from);
  mix(trace_, p.to);
  mix(trace_, p.payload);
  auto alive = it->second->on_datagram_;  // the callback may close its socket
  (*alive)(p.from, p.payload);
}

}  // namespace base
