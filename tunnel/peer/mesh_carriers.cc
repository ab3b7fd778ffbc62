// Relays by TCP: where no UDP comes back from a relay that signalling reaches, its datagrams go over a connection of their own, until
// UDP works again. Judged and switched for each relay, with all channels bound at it.
//
//   by UDP --a binding unanswered for 700 ms, and the connection stands--> by TCP, all bind again
//            (a first one 300 ms, a renewed one 100 ms, at least 2 RTT, when no path to the peer answers)
//   by TCP --every 3 s a STUN request over UDP; answered--> by UDP, all bind again
// The connection is made when a path looks bad, and goes 30 s after it was last needed. A return to UDP that fails within a minute
// doubles the pause between the requests, up to 5 min.
#include <algorithm>

#include "tunnel/peer/mesh_record.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kSilence = 700ms, kSilenceAtStart = 300ms, kSilenceCutOff = 100ms;
constexpr base::Duration kProbePause = 3s, kProbePauseMax = 5min, kLasting = 1min;
constexpr base::Duration kKeptWarm = 30s;
}  // namespace

uint32_t MeshNode::socket_to(const std::string& relay) const {
  auto it = carriers_.find(relay);
  return it != carriers_.end() && it->second.in_use ? it->second.socket : 0;
}

const RelayInfo* MeshNode::relay_info(const std::string& relay) const {
  auto i = std::find_if(relays_.begin(), relays_.end(), [&](const RelayInfo& x) { return x.name == relay; });
  return i == relays_.end() ? nullptr : &*i;
}

// The connection is made before it is needed, since making it takes four round trips.
void MeshNode::warm_up(const std::string& relay) {
  const RelayInfo* i = relay_info(relay);
  if (!i || !i->takes_records) return;
  Carrier& c = carriers_[relay];
  c.wanted = true;
  c.udp = i->udp_address;
  c.warm_until = loop_.now() + kKeptWarm;
  follow_carrier(relay, c);
}

void MeshNode::watch_udp(Record& r, const std::string& relay, const RelayClient& client) {
  auto since = client.unanswered_since();
  if (!since || socket_to(relay) != 0) return;
  auto known = carriers_.find(relay);
  const RelayInfo* info = relay_info(relay);
  base::Duration rtt = info ? info->rtt : 0ms;
  base::Duration cut_off = std::max(client.is_bound() ? kSilenceCutOff : kSilenceAtStart, 2 * rtt);
  base::Duration bear = r.machine.is_cut_off() ? cut_off : kSilence;
  base::Instant from = known == carriers_.end() ? *since : std::max(*since, known->second.returned);
  if (loop_.now() - from < bear) return;
  warm_up(relay);
  known = carriers_.find(relay);
  if (known != carriers_.end() && known->second.socket != 0) switch_to(relay, known->second, true);
}

void MeshNode::follow_carriers() {
  for (auto& [relay, c] : carriers_) follow_carrier(relay, c);
  std::erase_if(carriers_, [this](const auto& e) { return !e.second.wanted && loop_.now() - e.second.returned > kLasting; });
}

void MeshNode::follow_carrier(const std::string& relay, Carrier& c) {
  if (c.wanted && !c.in_use && loop_.now() >= c.warm_until) c.wanted = false;
  signal_.want_records(relay, c.wanted);
  auto route = c.wanted ? signal_.records_to(relay) : Signal::RecordRoute{};
  if (route.id == c.connection) return;
  c.connection = route.id;
  if (c.socket != 0 && data_) data_->close_socket(c.socket);
  c.socket = route.id != 0 && data_ ? data_->open_carrier(std::move(route.send)) : 0;
  if (c.in_use && c.socket != 0) switch_to(relay, c, true);
}

void MeshNode::switch_to(const std::string& relay, Carrier& c, bool tcp) {
  base::Instant now = loop_.now();
  if (c.in_use != tcp) {
    EM_LOG(info, "tunnel", "relay {}: {}", relay, tcp ? "nothing comes back by UDP; datagrams go by TCP" : "UDP works again");
    (tcp ? to_tcp_ : to_udp_).add();
    carried_.add(tcp ? 1 : -1);
    c.probe_pause = c.returned != base::Instant{} && now - c.returned < kLasting ? std::min(c.probe_pause * 2, kProbePauseMax) : kProbePause;
  }
  c.in_use = tcp;
  c.next_probe = now + c.probe_pause;
  c.warm_until = now + kKeptWarm;
  if (!tcp) c.returned = now;
  for (auto& [name, r] : peers_) {
    auto channel = r->channels.find(relay);
    if (channel == r->channels.end()) continue;
    channel->second.rebound = now;
    channel->second.client->rebind(now);
    if (!tcp) r->machine.on_udp_back(now);
  }
  if (!tcp) ask_stun_now();
  touch();
}

void MeshNode::probe_udp() {
  base::Instant now = loop_.now();
  for (auto& [relay, c] : carriers_) {
    if (!c.in_use || now < c.next_probe || !data_) continue;
    c.next_probe = now + c.probe_pause;
    node_.rng.fill(c.probe);
    data_->send({c.udp, {}, 0}, make_stun_request(c.probe));
  }
}

bool MeshNode::on_udp_answer(const StunMessage& m) {
  for (auto& [relay, c] : carriers_) {
    if (!c.in_use || m.id != c.probe) continue;
    switch_to(relay, c, false);
    return true;
  }
  return false;
}

void MeshNode::on_record(const std::string& relay, base::ByteView b) {
  auto it = carriers_.find(relay);
  if (it != carriers_.end() && it->second.socket != 0 && data_) data_->carried(it->second.socket, it->second.udp, b);
}

std::optional<base::Instant> MeshNode::carriers_deadline() const {
  std::optional<base::Instant> out;
  for (const auto& [relay, c] : carriers_)
    if (c.in_use && (!out || c.next_probe < *out)) out = c.next_probe;
  return out;
}

}  // namespace tunnel
