#include "tunnel/signal/signal_conn.h"

namespace tunnel {

using base::ByteView;

namespace {

constexpr std::string_view kPath = "/edgemesh.signal.v1/stream";

base::H2Limits h2_limits() {
  base::H2Limits l;
  l.streams = 1;
  l.header_bytes = 4096;
  l.headers = 16;
  l.window = 256 << 10;
  l.queued_bytes = base::limits::kQueuedBytesPerPeerMax;
  return l;
}

base::H2Codec::Role h2_role(base::TlsRole r) { return r == base::TlsRole::client ? base::H2Codec::Role::client : base::H2Codec::Role::server; }

}  // namespace

SignalConn::SignalConn(base::Loop& loop, base::Rng& rng, base::TlsRole role, std::unique_ptr<base::Stream> below, const TlsIdentity& own,
                       Message hello, SignalTiming timing, Events events)
    : loop_(loop), rng_(rng), role_(role), tls_(own.secure(loop, role, std::move(below), timing.handshake)), own_hello_(std::move(hello)),
      timing_(timing), events_(std::move(events)), codec_(h2_role(role), h2_events(), h2_limits()), tick_(loop.timer([this] { on_tick(); })),
      fail_(loop.timer([this] { say_goodbye(); })), born_(loop.now()), heard_(loop.now()), pinged_(loop.now()) {
  tick_->arm(timing_.handshake);
  tls_->start({.on_connected = [this] { on_connected(); },
               .on_data = [this](base::Buffer& in) { on_bytes(in); },
               .on_end = [this] { finish("closed by the peer"); },
               .on_drained = [this] { on_drained(); },
               .on_closed = [this](const base::Result<void>& r) { finish(r ? "closed by the peer" : r.error().what); }});
}

base::H2Events SignalConn::h2_events() {
  return {.on_headers = [this](int32_t s, const base::Headers& h, bool) { on_stream(s, h); },
          .on_data = [this](int32_t s, ByteView d) { on_data(s, d); },
          .on_end = [this](int32_t) { close("the peer ended the stream"); },
          .on_closed = [this](int32_t s, uint32_t) { if (s == stream_) close("the peer closed the stream"); },
          .on_ping_ack = [this](uint64_t id) { if (id == ping_id_) rtt_ = loop_.now() - pinged_; }};
}

void SignalConn::on_connected() {
  auto peer = peer_of(*tls_);
  if (!peer) return close(peer.error().what);
  identity_ = std::move(*peer);
  if (role_ == base::TlsRole::client) {
    auto id = codec_.open({{":method", "POST"}, {":scheme", "https"}, {":path", std::string(kPath)}, {":authority", identity_.name}}, false);
    if (!id) return close(id.error().what);
    stream_ = *id;
    send_raw(own_hello_);
  }
  pump();
}

void SignalConn::on_stream(int32_t stream, const base::Headers& h) {
  if (role_ == base::TlsRole::client) {
    if (h.get(":status") != "200") close("the peer refused the stream with status " + std::string(h.get(":status")));
    return;
  }
  if (stream_ != 0 || h.get(":path") != kPath) return codec_.reset(stream, 7);  // REFUSED_STREAM
  stream_ = stream;
  if (!codec_.respond(stream, {{":status", "200"}}, false)) return close("no answer possible");
}

void SignalConn::on_bytes(base::Buffer& in) {
  if (over_) return in.clear();
  heard_ = loop_.now();
  feeding_ = true;
  auto fed = codec_.feed(in.view(), loop_.now());
  in.clear();
  feeding_ = false;
  if (!fed) close(fed.error().what);
  std::weak_ptr<bool> alive = alive_;
  while (!over_ && take_one_message())
    if (alive.expired()) return;
  on_drained();
}

void SignalConn::on_drained() {
  pump();
  if (ready_ && !over_ && events_.on_room) events_.on_room();
}

void SignalConn::on_data(int32_t stream, ByteView d) {
  codec_.consume(stream, d.size());
  if (stream == stream_) in_.append(d);
}

// False when no whole message is there.
bool SignalConn::take_one_message() {
  auto m = take_message(in_);
  if (!m) close(m.error().what);
  if (!m || !*m) return false;
  ready_ ? events_.on_message(**m) : on_first(**m);
  return true;
}

// The name was checked by TLS; Hello only adds to it and must not contradict it.
void SignalConn::on_first(const Message& m) {
  if (!m.has_hello() || m.hello().node() != identity_.name) return close("the peer's Hello does not match its certificate");
  peer_hello_ = m.hello();
  // The server speaks second: a client that is ready knows that the server is.
  if (role_ == base::TlsRole::server && !send_raw(own_hello_)) return close("no answer possible");
  ready_ = true;
  tick_->arm(timing_.ping_every);
  codec_.ping(ping_id_ = rng_.u64());
  pinged_ = loop_.now();
  pump();
  events_.on_ready();
}

bool SignalConn::send(const Message& m) { return ready_ && !over_ && send_raw(m); }

bool SignalConn::send_raw(const Message& m) {
  auto out = frame_message(m);
  if (!out || !codec_.send_data(stream_, *out, false)) return false;
  pump();
  return true;
}

void SignalConn::pump() {
  if (feeding_) return;  // nghttp2 writes nothing from inside its reading; on_bytes() pumps afterwards
  while (tls_->unsent() < kStreamLimits.write_high) {
    base::ByteVec out = codec_.drain(kStreamLimits.write_high);
    if (out.empty()) return;
    tls_->write(out);
  }
}

void SignalConn::on_tick() {
  if (!ready_) return close("no signalling handshake in time");
  if (loop_.now() - heard_ > timing_.silence) return close("silent for too long");
  codec_.ping(ping_id_ = rng_.u64());
  pinged_ = loop_.now();
  tick_->arm(timing_.ping_every);
  pump();
}

void SignalConn::close(const std::string& why) {
  if (over_) return;
  over_ = true;
  why_ = why;
  codec_.go_away(0);
  pump();
  fail_->arm(base::Duration{0});
}

// What fits goes out with TLS's own goodbye, so that the peer reads why and not of a truncation.
void SignalConn::say_goodbye() {
  pump();
  tls_->end();
  finish(why_);
}

void SignalConn::finish(const std::string& why) {  // may destroy this
  over_ = true;
  std::string reason = why_.empty() ? why : why_;  // the peer may close first when it hears our goodbye
  auto cb = std::move(events_.on_closed);
  if (cb) cb(reason);
}

}  // namespace tunnel
