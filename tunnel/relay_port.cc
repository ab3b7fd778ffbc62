#include "tunnel/relay_port.h"

#include <algorithm>

#include "base/core/log.h"
#include "base/net/socket.h"
#include "tunnel/packet/packet.h"
#include "tunnel/stun/stun.h"

namespace tunnel {
using namespace std::chrono_literals;

namespace {
constexpr size_t kCorrespondentsMax = 65536;
constexpr uint8_t kEcnBits = 3;
}

base::Result<std::unique_ptr<RelayPort>> RelayPort::open(RelayServer::Config c, base::Loop& loop, base::SocketStore& store, base::Rng& rng,
                                                         base::Metrics& metrics) {
  auto self = std::unique_ptr<RelayPort>(new RelayPort(loop));
  RelayPort* p = self.get();
  uint16_t port = c.public_address.port;
  auto other = p->listen({base::IpAddr(), kStunOtherPort}, "relay-stun4", store, true);
  if (other) c.stun_other_port = kStunOtherPort;
  else EM_LOG(info, "relay", "no second port for STUN: {}", other.error().what);
  p->server_ = RelayServer::make(std::move(c), rng, metrics, [p](const base::IpPort& to, base::ByteView b, size_t segment) { p->send(to, b, segment); });
  EM_TRY(p->listen({base::IpAddr(), port}, "relay-udp4", store));
  const uint8_t any6[16] = {};
  auto v6 = p->listen({base::IpAddr::v6(any6), port}, "relay-udp6", store);
  if (!v6) EM_LOG(info, "relay", "no IPv6: {}", v6.error().what);
  p->tick_ = loop.timer([p] {
    p->server_->tick(p->loop_.now());
    p->tick_->arm(1s);
  });
  p->tick_->arm(1s);
  return self;
}

base::Result<void> RelayPort::listen(const base::IpPort& at, const std::string& name, base::SocketStore& store, bool is_other) {
  base::SocketOptions o;
  o.recv_buffer = o.send_buffer = 4 << 20;
  o.packet_info = true;
  o.gro = !is_other;
  auto s = std::make_unique<Socket>();
  s->family = at.ip.family();
  s->is_other = is_other;
  EM_TRY_ASSIGN(s->fd, store.acquire(name, [&] { return base::udp_socket(at, o); }));
  s->watch = loop_.watch(s->fd.get(), base::kFdRead, [this, raw = s.get()](base::FdEvents) { on_readable(*raw); });
  sockets_.push_back(std::move(s));
  return {};
}

void RelayPort::on_readable(Socket& s) {
  auto got = reader_.receive(s.fd.get());
  if (!got) {
    EM_LOG(warn, "relay", "{}", got.error().what);
    return;
  }
  for (base::Datagram& d : *got) {
    if (d.truncated || stream_of(d.from)) continue;
    if (s.is_other) {
      answer_stun(s, d);
      continue;
    }
    if (reached_at_.size() >= kCorrespondentsMax) reached_at_.clear();  // learned again from the next packet of each
    reached_at_[d.from] = d.local;
    current_ = &d;
    server_->on_datagrams(d.from, d.data, d.segment, loop_.now());
    current_ = nullptr;
  }
  for (auto& out : sockets_) flush(*out);
}

void RelayPort::on_record(uint64_t connection, base::ByteView record) {
  Kind kind = classify(record);
  if (kind != Kind::relay_data && kind != Kind::relay_control) return;  // STUN has nothing to tell here
  base::ByteVec bytes(record.begin(), record.end());
  server_->on_datagram(stream_source(connection), bytes, loop_.now());
  for (auto& out : sockets_) flush(*out);
}

void RelayPort::answer_stun(Socket& s, const base::Datagram& d) {
  auto answer = server_->stun_answer(d.from, d.data, loop_.now());
  if (!answer) return;
  if (s.writer.full()) flush(s);
  s.pending.push_back(std::move(*answer));
  s.writer.add({.to = d.from, .data = s.pending.back(), .source = d.local.is_any() ? std::nullopt : std::optional(d.local)});
}

// What lies in the datagram at hand is sent from where it lies, under its ECN bits; anything else is kept until it is sent.
void RelayPort::send(const base::IpPort& to, base::ByteView b, size_t segment) {
  if (auto connection = stream_of(to)) {
    for (size_t at = 0; send_record_ && at < b.size(); at += segment) send_record_(*connection, b.subspan(at, std::min(segment, b.size() - at)));
    return;
  }
  bool forwarded = current_ && b.data() >= current_->data.data() && b.data() < current_->data.data() + current_->data.size();
  for (auto& s : sockets_) {
    if (s->is_other || s->family != to.ip.family()) continue;
    if (s->writer.full()) flush(*s);
    if (!forwarded) s->pending.emplace_back(b.begin(), b.end());
    auto known = reached_at_.find(to);
    bool from_there = known != reached_at_.end() && !known->second.is_any();
    s->writer.add({.to = to,
                   .data = forwarded ? b : base::ByteView(s->pending.back()),
                   .source = from_there ? std::optional(known->second) : std::nullopt,
                   .tos = forwarded ? uint8_t(current_->tos & kEcnBits) : uint8_t(0),
                   .segment = segment});
  }
}

void RelayPort::flush(Socket& s) {
  if (s.writer.queued()) s.writer.flush(s.fd.get());
  s.writer.clear();
  s.pending.clear();
}

}  // namespace tunnel
