// Doors: peers of earlier sessions are found again over their last paths, with no relay and no source (door.h); and what is
// remembered for that (tunnel/path/known_peers.h). A peer that had no direct path is called by signalling: it goes on sending into
// the old session, and would notice only when that stays silent.
#include <algorithm>

#include "tunnel/peer/mesh_record.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kKnockAfterStart = 10min;  // at peers of an earlier process nobody asks for now
constexpr size_t kAtOnce = 8;                       // the peers met last; the others follow, so that not all answer together
constexpr base::Duration kNextPeer = 25ms;
constexpr size_t kAddressesMax = 8;
constexpr base::Duration kCallAfter = 100ms;        // over a relay: an answer to a knock is there by then, and costs nobody anything
}  // namespace

void MeshNode::knock_at_known() {
  size_t place = 0;
  for (const auto& name : known_peers_.by_age()) {
    index_doors(name);
    Record* r = meet(name, false);
    if (r) r->resume_at = loop_.now() + kNextPeer * (place < kAtOnce ? 0 : int64_t(place - kAtOnce + 1));
    place++;
  }
}

// From anybody: what belongs to no door costs a look-up and is not answered.
void MeshNode::on_door(const PathAddr& from, base::ByteView b) {
  auto p = read_door(b);
  auto it = p && config_.node.direct && !from.is_relay() ? door_ids_.find(p->id) : door_ids_.end();
  Record* r = it == door_ids_.end() ? nullptr : meet(it->second, false);
  if (!r || r->machine.is_denied()) return doors_.refused.add();
  if (r->door.on_datagram(from, b, loop_.now())) touch(*r);
}

void MeshNode::drive_door(Record& r) {
  base::Instant now = loop_.now();
  remember_paths(r);
  if (r.resume_at && now >= *r.resume_at + kKnockAfterStart) r.resume_at.reset();
  bool again = r.resume_at && now >= *r.resume_at && !r.machine.is_denied();
  bool wanted = config_.node.direct && (again || r.machine.needs_handshake(now));
  if (again && !r.called_again && now >= *r.resume_at + kCallAfter && signal_.has_route(r.machine.name())) {
    r.called_again = true;
    r.machine.call_again(now);
  }
  r.door.want(wanted, now);
  r.door.tick(now);
  if (!wanted && !r.door_sockets.empty() && !r.door.is_open(now)) close_door_sockets(r);
}

std::optional<base::Instant> MeshNode::door_deadline(const Record& r) const {
  if (auto t = r.door.next_deadline()) return t;
  if (!r.resume_at || r.called_again) return std::nullopt;
  for (base::Instant t : {*r.resume_at, *r.resume_at + kCallAfter})
    if (t > loop_.now()) return t;
  return std::nullopt;
}

std::vector<PathAddr> MeshNode::door_addresses(Record& r) {
  std::vector<PathAddr> out;
  auto add = [&](const base::IpPort& at, uint32_t socket) {
    bool own = std::any_of(hosts_.begin(), hosts_.end(), [&](const Candidate& c) { return c.at == at; });
    if (own || out.size() >= kAddressesMax || std::any_of(out.begin(), out.end(), [&](const PathAddr& p) { return p.remote == at; })) return;
    out.push_back({at, {}, 0, socket});
  };
  const KnownPeer* known = known_peers_.find(r.machine.name());
  if (!known) return out;
  for (const auto& p : known->paths)
    if (may_check(p.at, config_.node.rules)) add(p.at, socket_of(r, p));
  for (const auto& at : r.lan) add(at, 0);
  for (const auto& at : r.hint.advertise) add(at, 0);
  for (const auto& at : known->candidates)
    if (may_check(at, config_.node.rules)) add(at, 0);
  return out;
}

// By which of our sockets that path went: the NATs on it know its port. One of an earlier process is opened again.
uint32_t MeshNode::socket_of(Record& r, const KnownPath& p) {
  if (p.own_port == 0 || !data_) return 0;
  for (const Path& path : r.machine.paths())
    if (path.addr.socket && data_->socket_port(path.addr.socket) == p.own_port) return path.addr.socket;
  if (auto it = r.door_sockets.find(p.own_port); it != r.door_sockets.end()) return it->second;
  auto opened = data_->open_socket(p.at.ip.is_v6(), p.own_port);
  return opened ? r.door_sockets[p.own_port] = *opened : 0;
}

// Those no path goes by.
void MeshNode::close_door_sockets(Record& r) {
  std::erase_if(r.door_sockets, [&](const auto& e) {
    const auto& paths = r.machine.paths();
    bool used = std::any_of(paths.begin(), paths.end(), [&](const Path& p) { return p.addr.socket == e.second; });
    if (!used) r.close_socket(e.second);
    return !used;
  });
}

void MeshNode::remember(Record& r, const ResumeSecret& secret) {
  const auto& id = r.machine.identity();
  known_peers_.met(r.machine.name(), id ? id->spki_sha256 : base::Sha256{}, secret);
  index_doors(r.machine.name());
  r.confirmed.reset();
}

// The active path where it is a direct one, and what the peer offered besides.
void MeshNode::remember_paths(Record& r) {
  const auto& at = r.machine.active();
  if (!at || at->is_relay() || r.confirmed == at || !r.machine.has_session() || r.machine.is_failing(*at)) return;
  r.confirmed = at;
  known_peers_.confirm_path(r.machine.name(), {at->remote, at->socket && data_ ? data_->socket_port(at->socket) : uint16_t(0)});
  std::vector<base::IpPort> candidates;
  for (const Candidate& c : r.machine.remote_candidates()) candidates.push_back(c.at);
  known_peers_.set_candidates(r.machine.name(), std::move(candidates));
}

void MeshNode::forget_known(const std::string& name) {
  known_peers_.forget(name);
  index_doors(name);
}

// After a change of what is known of this peer; another one may have given way to it.
void MeshNode::index_doors(const std::string& name) {
  const KnownPeer* known = known_peers_.find(name);
  Record* r = find(name);
  for (auto it = door_ids_.begin(); it != door_ids_.end();) {
    bool stays = it->second != name && known_peers_.find(it->second);
    if (Record* other = stays || it->second == name ? nullptr : find(it->second)) other->door.set_secrets({});
    it = stays ? std::next(it) : door_ids_.erase(it);
  }
  if (r) r->door.set_secrets(known ? known->secrets : std::vector<ResumeSecret>{});
  if (!known) return;
  for (const auto& s : known->secrets) door_ids_[derive_door_keys(s).id] = name;
}

void MeshNode::tell_known() {
  if (!hooks_.on_known || known_peers_.revision() == known_told_) return;
  known_told_ = known_peers_.revision();
  hooks_.on_known(known_peers_);
}

bool MeshNode::is_known_denied(const std::string& name, const std::function<bool(const base::NodeIdentity&)>& is_denied) const {
  const KnownPeer* known = known_peers_.find(name);
  if (!known) return false;
  base::NodeIdentity id;
  id.trust_domain = config_.node.identity.trust_domain;
  id.name = name;
  id.spki_sha256 = known->spki;
  return is_denied(id);
}

}  // namespace tunnel
