// UDP to TUN: GRO batches, receive index, replay window, AEAD in place, addresses against the certificate, joined, written.
#include <netinet/in.h>
#include <netinet/udp.h>

#include "base/core/log.h"
#include "tunnel/data/worker_buffers.h"

namespace tunnel {
namespace {

constexpr int kCallsPerTurn = 16;
constexpr size_t kHandedOverMax = 4096;  // only datagrams that arrive together with those of an older index come this way
constexpr uint8_t kCongestion = 3;
constexpr size_t kJoinedBytes = 64 << 10;

struct Ancillary {
  size_t segment = 0;  // 0: one datagram
  uint8_t ecn = 0;
};

Ancillary read_ancillary(msghdr& m) {
  Ancillary a;
  for (cmsghdr* h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
    if (h->cmsg_level == SOL_UDP && h->cmsg_type == UDP_GRO) {
      int v;
      memcpy(&v, CMSG_DATA(h), sizeof v);
      a.segment = size_t(std::max(v, 0));
    } else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TOS) {
      a.ecn = *CMSG_DATA(h) & 3;
    } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_TCLASS) {
      int v;
      memcpy(&v, CMSG_DATA(h), sizeof v);
      a.ecn = uint8_t(v & 3);
    }
  }
  return a;
}

}  // namespace

Worker::ReceiveBuffers::ReceiveBuffers() {
  for (size_t i = 0; i < kMessages; ++i) {
    parts[i] = {bytes.get() + i * kBytes, kBytes};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = from[i].ptr();
    messages[i].msg_hdr.msg_control = ancillary[i];
  }
  reset(kMessages);
}

void Worker::ReceiveBuffers::reset(size_t used) {
  for (size_t i = 0; i < used; ++i) {
    messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    messages[i].msg_hdr.msg_controllen = sizeof ancillary[i];
  }
}

void Worker::on_udp(UdpPort& port, bool v6) {
  ReceiveBuffers& b = *buffers_;
  for (int call = 0; call < kCallsPerTurn; ++call) {
    int n = recvmmsg(port.fd(v6), b.messages, ReceiveBuffers::kMessages, MSG_DONTWAIT, nullptr);
    if (n <= 0) return;
    inbox_.run();  // changes made before these packets came count for them
    for (int i = 0; i < n; ++i) {
      msghdr& m = b.messages[i].msg_hdr;
      b.from[i].len = m.msg_namelen;
      Ancillary a = read_ancillary(m);
      datagrams({static_cast<uint8_t*>(m.msg_iov->iov_base), b.messages[i].msg_len}, a.segment, {&b.from[i], a.ecn, loop_->now(), port.id()});
    }
    coalescer_.flush();  // the parts lie in the buffers the next call fills
    settle();
    b.reset(size_t(n));
    if (size_t(n) < ReceiveBuffers::kMessages) return;
  }
}

void Worker::datagrams(base::MutByteView all, size_t segment, const Arrival& a) {
  if (segment == 0 || segment > all.size()) segment = all.size();
  count_.rx_batches.add();
  coalescer_.batch(all);
  for (size_t at = 0; at < all.size(); at += segment) datagram(all.subspan(at, std::min(segment, all.size() - at)), a);
}

void Worker::datagram(base::MutByteView d, const Arrival& a) {
  uint32_t channel = 0;
  if (auto f = read_relay_frame(d)) {
    channel = f->channel;
    d = d.subspan(kRelayHeaderBytes);
  }
  if (d[0] == uint8_t(PacketType::data)) return data(d, channel, a);
  Kind kind = classify(d);
  if (kind == Kind::unknown || kind == Kind::relay_data) return count_.malformed.add();
  auto from = a.from->ip_port();
  if (!from) return;
  if (!gate_->control_packet({*from, {}, channel, a.socket}, base::ByteVec(d.begin(), d.end()))) count_.backlog.add();
}

Worker::Receiver* Worker::receiver_of(uint32_t index) {
  if (last_receiver_ && last_receiver_->keys->local_index() == index) return last_receiver_;
  auto it = receivers_.find(index);
  return it == receivers_.end() ? nullptr : last_receiver_ = it->second.get();
}

void Worker::data(base::MutByteView d, uint32_t channel, const Arrival& a) {
  auto h = read_header(d);
  if (!h) return count_.malformed.add();
  if (h->index % c_.workers != c_.number) {
    if (auto from = a.from->ip_port())
      all_[h->index % c_.workers]->take_data({*from, {}, channel, a.socket}, base::ByteVec(d.begin(), d.end()), a.ecn);
    return;
  }
  Receiver* r = receiver_of(h->index);
  if (!r) return count_.unknown_index.add();
  if (!r->windows.is_fresh(h->counter)) return count_.replayed.add();
  auto text = r->keys->open(d);
  if (!text) return count_.forged.add();
  r->windows.commit(h->counter);
  note_source(*r, channel, a);
  if (r->peer != tally_.peer || (channel != 0) != tally_.relay) {
    settle();
    tally_ = {.peer = r->peer, .relay = channel != 0};
  }
  tally_.packets++;
  tally_.bytes += text->size();
  if (h->flags & kFlagPiece) return join(*r, *h, *text, a);
  if (!text->empty()) deliver(*r, *text, h->flags, a);
}

// The counters are shared with other threads: once for a run of packets costs less than for each.
void Worker::settle() {
  if (!tally_.packets) return;
  tally_.peer->counters->received(tally_.bytes, tally_.packets, tally_.relay, loop_->now());
  count_.rx_packets.add(tally_.inner_packets);
  count_.rx_bytes.add(tally_.inner_bytes);
  tally_ = {};
}

// What the coalescer has not written yet must stay in place: the buffer never grows, and begins anew when all is written.
void Worker::join(Receiver& r, const PacketHeader& h, base::ByteView piece, const Arrival& a) {
  if (joined_.capacity() == 0) joined_.reserve(kJoinedBytes);
  if (joined_.size() + kInnerMtuMax > kJoinedBytes) {
    coalescer_.flush();
    joined_.clear();
  }
  size_t before = joined_.size();
  if (!r.pieces.add(h.counter, h.flags, piece, joined_)) return;
  deliver(r, base::MutByteView(joined_).subspan(before), h.flags, a);
}

void Worker::take_data(PathAddr from, base::ByteVec bytes, uint8_t ecn) {
  if (handed_over_.fetch_add(1, std::memory_order_relaxed) >= kHandedOverMax) {
    handed_over_.fetch_sub(1, std::memory_order_relaxed);
    return count_.backlog.add();
  }
  loop_->post([this, from, b = std::move(bytes), ecn]() mutable {
    handed_over_.fetch_sub(1, std::memory_order_relaxed);
    inbox_.run();
    base::SockAddr s(from.remote);
    data(b, from.relay_channel, {&s, ecn, loop_->now(), from.socket});
    coalescer_.flush();
    settle();
  });
}

void Worker::note_source(Receiver& r, uint32_t channel, const Arrival& a) {
  if (!r.seen) gate_->first_data(r.keys->local_index());
  if (r.seen && r.last_channel == channel && r.last_socket == a.socket && r.last_from.len == a.from->len && !memcmp(&r.last_from.s, &a.from->s, a.from->len)) return;
  r.seen = true;
  r.last_channel = channel;
  r.last_socket = a.socket;
  r.last_from = *a.from;
  if (auto from = a.from->ip_port()) r.peer->counters->came_from({*from, {}, channel, a.socket});
}

void Worker::deliver(Receiver& r, base::MutByteView packet, uint32_t flags, const Arrival& a) {
  auto ip = parse_ip(packet);
  if (!ip) return count_.malformed.add();
  if (!is_admitted(r, *ip)) return;
  if (a.ecn == kCongestion && !mark_congestion(packet)) return count_.congestion.add();
  tally_.inner_packets++;
  tally_.inner_bytes += packet.size();
  coalescer_.add(packet, *ip, flags & kFlagPartialChecksum);
}

// The certificate decides what a peer may send from; the configuration what is ours. Neighbouring packets mostly agree with the
// one before, so that is asked first.
bool Worker::is_admitted(Receiver& r, const IpPacket& ip) {
  size_t n = 2 * ip.addr_bytes();
  if (admitted_.receiver == &r && admitted_.v6 == ip.v6 && memcmp(admitted_.addrs, ip.src, n) == 0) return true;
  if (!is_admitted(*r.peer, ip)) return false;
  admitted_.receiver = &r;
  admitted_.v6 = ip.v6;
  memcpy(admitted_.addrs, ip.src, n);
  return true;
}

bool Worker::is_admitted(const Peer& p, const IpPacket& ip) {
  if (is_confined(ip.src, ip.v6) || is_confined(ip.dst, ip.v6)) return count_.confined.add(), false;
  if (!p.sources.contains(ip.src, ip.v6)) return count_.foreign_source.add(), false;
  if (!own_.contains(ip.dst, ip.v6)) return count_.foreign_destination.add(), false;
  return true;
}

void Worker::write_tun(iovec* parts, size_t n) {
  if (writev(c_.tun_fd, parts, int(n)) >= 0) return;
  count_.tun_write.add();
  EM_LOG(debug, "tunnel", "tun write: {}", std::generic_category().message(errno));
}

}  // namespace tunnel
