// TUN to UDP: superpacket, peer by inner destination, segments sealed into the peer's batch, one GSO send.
#include "base/core/log.h"
#include "tunnel/data/worker_buffers.h"

namespace tunnel {
namespace {
constexpr int kReadsPerTurn = 64;  // then the UDP side has its turn
constexpr size_t kStraysPerSecond = 1000;
constexpr size_t kEcnMask = 3;
}  // namespace

void Worker::on_tun() {
  for (int i = 0; i < kReadsPerTurn && read_tun(); ++i) {
  }
  flush_all();
}

bool Worker::read_tun() {
  ssize_t n = ::read(c_.tun_fd, tun_buffer_.get(), kTunBufferBytes);
  if (n < ssize_t(kVnetBytes)) return false;
  inbox_.run();  // changes made before this packet came count for it
  VnetHeader v;
  memcpy(&v, tun_buffer_.get(), kVnetBytes);
  route_packet(v, {tun_buffer_.get() + kVnetBytes, size_t(n) - kVnetBytes});
  return true;
}

void Worker::route_packet(const VnetHeader& v, base::MutByteView packet) {
  if (!segmenter_.begin(v, packet)) return count_.malformed.add();
  const IpPacket& ip = segmenter_.ip();
  if (is_confined(ip.dst, ip.v6) || is_confined(ip.src, ip.v6)) return count_.confined.add();
  Peer* p = routes_.find(ip.dst, ip.v6);
  if (!p) return stray_segment();  // of a pod to a service address: it goes nowhere but to the control loop
  if (!own_.contains(ip.src, ip.v6)) return count_.foreign_source.add();
  if (!p->lane) return hold(*p, v, packet);
  if (segmenter_.bytes_max() > std::min<size_t>(kInnerMtuMax, p->route.inner_mtu * kPiecesMax)) return count_.too_big.add();
  send_segments(*p);
}

void Worker::send_segments(Peer& p) {
  uint8_t ecn = ip_tos(segmenter_.ip().src - (segmenter_.ip().v6 ? 8 : 12)) & kEcnMask;
  uint32_t flags = segmenter_.is_partial() ? kFlagPartialChecksum : 0;
  Batch& b = batch_for(p, ecn);
  while (size_t n = segmenter_.next_bytes()) {
    if (n > p.route.inner_mtu) {
      send_pieces(p, b, flags);
      continue;
    }
    uint8_t* at = room(p, b, n);
    seal(p, b, flags, segmenter_.next(), at, n);
  }
}

void Worker::send_pieces(Peer& p, Batch& b, uint32_t flags) {
  whole_.resize(segmenter_.next_bytes());
  segmenter_.write(whole_.data());
  size_t count = (whole_.size() + p.route.inner_mtu - 1) / p.route.inner_mtu, size = (whole_.size() + count - 1) / count;
  count_.split.add();
  for (size_t i = 0; i < count; ++i) {
    size_t n = std::min(size, whole_.size() - i * size);
    uint8_t* at = room(p, b, n);
    seal(p, b, flags | piece_flags(i, i + 1 == count), whole_.data() + i * size, at, n);
  }
}

// Room in the peer's batch for the sealed datagram; what stands before it, for the relay, is written.
uint8_t* Worker::room(Peer& p, Batch& b, size_t inner_bytes) {
  size_t relay = p.endpoint.channel ? kRelayHeaderBytes : 0, bytes = relay + inner_bytes + kOverheadBytes;
  if (!b.out.fits(bytes)) {
    flush(b);
    b.peer = &p;
  }
  uint8_t* at = b.out.add(bytes);
  if (relay) write_relay_header(at, p.endpoint.channel);
  return at + relay;
}

void Worker::seal(Peer& p, Batch& b, uint32_t flags, const uint8_t* text, uint8_t* at, size_t inner_bytes) {
  p.route.tx_keys->seal(PacketType::data, flags, p.lane->next(), text, at, inner_bytes);
  b.inner_bytes += inner_bytes;
  if (inner_bytes > std::min<size_t>(kInnerMtuSure, p.route.inner_mtu / 2)) b.long_ones++;
}

Worker::Batch& Worker::batch_for(Peer& p, uint8_t ecn) {
  Batch* free = nullptr;
  for (Batch& b : batches_) {
    if (b.peer == &p) {
      if (b.ecn != ecn) flush(b);
      b.peer = &p;
      b.ecn = ecn;
      return b;
    }
    if (!b.peer) free = &b;
  }
  if (!free) flush(*(free = &batches_[next_batch_++ % batches_.size()]));
  free->peer = &p;
  free->ecn = ecn;
  return *free;
}

void Worker::flush(Batch& b) {
  if (b.out.is_empty()) {
    b.peer = nullptr;
    return;
  }
  Peer& p = *b.peer;
  int err = (p.by ? *p.by : *port_.sockets).send(p.endpoint, b.out.bytes(), b.out.segment(), b.ecn);
  if (err == 0) {
    p.counters->sent(b.inner_bytes, b.out.count(), b.long_ones, p.endpoint.channel != 0, loop_->now());
    count_.tx_packets.add(b.out.count());
    count_.tx_bytes.add(b.inner_bytes);
    count_.tx_batches.add();
  } else {
    (err == EMSGSIZE ? count_.too_big : count_.send_failed).add(b.out.count());
    EM_LOG(debug, "tunnel", "send to {} ({}): {}", p.route.name, p.route.path.str(), std::generic_category().message(err));
  }
  b.out.clear();
  b.inner_bytes = b.long_ones = 0;
  b.peer = nullptr;
}

void Worker::flush_all() {
  for (Batch& b : batches_)
    if (b.peer) flush(b);
}

// The first segment, whole, for whoever answers in the kernel's stead.
void Worker::stray_segment() {
  count_.no_route.add();
  Now now = loop_->now();
  if (now - strays_since_ >= std::chrono::seconds(1)) strays_ = 0, strays_since_ = now;
  if (strays_++ >= kStraysPerSecond) return count_.stray_limit.add();
  if (!gate_->stray(whole_segment())) count_.backlog.add();
}

}  // namespace tunnel
