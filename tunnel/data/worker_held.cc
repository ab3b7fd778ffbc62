// Packets of a peer without keys: they wait a second at most, or go with its handshake where that takes them; and packets that came
// with one.
#include "base/core/limits.h"
#include "tunnel/data/worker_buffers.h"

namespace tunnel {
namespace {
constexpr base::Duration kHeldAgeMax = std::chrono::seconds(1), kWantedEvery = std::chrono::milliseconds(100);
}  // namespace

void Worker::hold(Peer& p, const VnetHeader& v, base::ByteView packet) {
  Now now = loop_->now();
  drop_held_before(p, now - kHeldAgeMax);
  if (hand_over(p, packet.size())) return;
  Held h{base::ByteVec(kVnetBytes + packet.size()), now};
  memcpy(h.bytes.data(), &v, kVnetBytes);
  memcpy(h.bytes.data() + kVnetBytes, packet.data(), packet.size());
  p.held_bytes += h.bytes.size();
  p.held.push_back(std::move(h));
  while (p.held_bytes > base::limits::kQueuedBytesPerPeerMax) {  // head drop: what is new is worth more
    p.held_bytes -= p.held.front().bytes.size();
    p.held.pop_front();
    count_.queue_full.add();
  }
  if (!held_timer_->armed()) held_timer_->arm(kHeldAgeMax);
  if (p.wanted_at != Now{} && now - p.wanted_at < kWantedEvery) return;
  p.wanted_at = now;
  gate_->wanted(p.id);
}

void Worker::drop_held_before(Peer& p, Now limit) {
  while (!p.held.empty() && p.held.front().at <= limit) {
    p.held_bytes -= p.held.front().bytes.size();
    p.held.pop_front();
    count_.queue_full.add();
  }
}

void Worker::release_held(Peer& p) {
  drop_held_before(p, loop_->now() - kHeldAgeMax);
  auto held = std::exchange(p.held, {});
  p.held_bytes = 0;
  for (Held& h : held) {
    VnetHeader v;
    memcpy(&v, h.bytes.data(), kVnetBytes);
    route_packet(v, base::MutByteView(h.bytes).subspan(kVnetBytes));
  }
  flush_all();
}

void Worker::sweep_held() {
  bool left = false;
  for (auto& [id, p] : peers_) {
    drop_held_before(*p, loop_->now() - kHeldAgeMax);
    left |= !p->held.empty();
  }
  if (left) held_timer_->arm(kHeldAgeMax);
}

// The packet at the segmenter, unless it is one of many, or others wait before it.
bool Worker::hand_over(Peer& p, size_t bytes) {
  if (!p.may_hand_over || !p.held.empty()) return false;
  if (segmenter_.next_bytes() != bytes || bytes > kHandedPacketBytesMax) p.may_hand_over = 0;  // those behind it wait with it
  if (!p.may_hand_over) return false;
  p.may_hand_over--;
  if (!gate_->held(p.id, whole_segment())) count_.backlog.add();
  return true;
}

// As it would come out of a device: nothing is left to be completed.
base::ByteVec Worker::whole_segment() {
  base::ByteVec packet(segmenter_.next_bytes());
  bool partial = segmenter_.is_partial();
  segmenter_.write(packet.data());
  const IpPacket& ip = segmenter_.ip();
  if (partial) complete_checksum(packet, ip.transport, checksum_offset(ip.proto));
  return packet;
}

void Worker::take_packet(PeerId id, base::ByteVec bytes) {
  change([this, id, b = std::move(bytes)]() mutable {
    auto p = peers_.find(id);
    auto ip = parse_ip(b);
    if (!ip) return count_.malformed.add();
    if (p == peers_.end() || !is_admitted(*p->second, *ip)) return;
    count_.rx_packets.add();
    count_.rx_bytes.add(b.size());
    coalescer_.add(b, *ip, false);
    coalescer_.flush();
  });
}

}  // namespace tunnel
