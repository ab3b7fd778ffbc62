#include "dns/server/tcp_listener.h"

#include <sys/socket.h>

#include <algorithm>

#include "base/net/socket.h"

namespace dns {

using namespace std::chrono_literals;

static constexpr auto kDeferAccept = 1s;  // a client that has said nothing by then is taken as it is
static constexpr size_t kReadBytes = 16 << 10;
static constexpr size_t kUnsentMax = 64 << 10;  // then reading stops until the client reads
static constexpr size_t kWaitingMax = 64;       // queries at upstream per connection

struct TcpListener::Connection {
  TcpListener* listener;  // null once closed
  base::UniqueFd fd;
  base::IpPort from;
  base::ByteVec in, out;
  size_t sent = 0, waiting = 0;
  bool eof = false;
  base::Instant used;
  Connections::iterator place;
  std::unique_ptr<base::FdWatch> watch;  // null until it has to wait for something

  size_t unsent() const { return out.size() - sent; }
  bool may_read() const { return !eof && unsent() < kUnsentMax && waiting < kWaitingMax; }
};

TcpListener::TcpListener(base::Loop& loop, base::UniqueFd fd, Responder& r, base::Gauge& g, Limits l)
    : loop_(loop),
      fd_(std::move(fd)),
      responder_(&r),
      gauge_(g),
      limits_(l),
      received_(kReadBytes),
      reply_(kMessageMax),
      watch_(loop.watch(fd_.get(), base::kFdRead, [this](base::FdEvents) { on_acceptable(); })),
      sweep_(loop.timer([this] { sweep(); })) {
  base::set_tcp_nodelay(fd_.get());  // what is accepted has it from here
  base::set_defer_accept(fd_.get(), kDeferAccept);
}

TcpListener::~TcpListener() {
  while (!connections_.empty()) close(*connections_.front());
}

void TcpListener::on_acceptable() {
  for (int i = 0; i < 64; i++) {
    base::IpPort from;
    auto fd = base::accept_one(fd_.get(), &from);
    if (!fd) break;
    if (connections_.size() >= limits_.connections) make_room();
    begin(std::move(*fd), from);
  }
  responder_->count();
}

void TcpListener::begin(base::UniqueFd fd, const base::IpPort& from) {
  auto c = std::make_shared<Connection>();
  c->listener = this;
  c->from = from;
  c->fd = std::move(fd);
  c->used = loop_.now();
  c->place = connections_.insert(connections_.end(), c);
  of_client_[c->from.ip]++;
  gauge_.add(1);
  if (!sweep_->armed()) sweep_->arm(1s);
  if (!read_some(*c)) return close(*c);
  pump(*c);
}

void TcpListener::watch(Connection& c, base::FdEvents e) {
  if (c.watch) return c.watch->set(e);
  c.watch = loop_.watch(c.fd.get(), e, [this, raw = &c](base::FdEvents ready) { on_event(*raw, ready); });
}

void TcpListener::close(Connection& c) {
  auto keep = *c.place;
  c.listener = nullptr;
  c.watch.reset();
  c.fd.reset();
  connections_.erase(c.place);
  if (auto n = of_client_.find(c.from.ip); --n->second == 0) of_client_.erase(n);
  gauge_.add(-1);
}

void TcpListener::make_room() {
  const size_t most = std::ranges::max_element(of_client_, {}, [](auto& n) { return n.second; })->second;
  for (auto& c : connections_)
    if (of_client_[c->from.ip] == most) return close(*c);
}

void TcpListener::on_event(Connection& c, base::FdEvents e) {
  auto keep = *c.place;
  c.used = loop_.now();
  connections_.splice(connections_.end(), connections_, c.place);
  if (e & base::kFdRead && c.may_read() && !read_some(c)) return close(c);
  pump(c);
  responder_->count();
}

// Answers what is whole, writes, and goes on while writing made room for more.
void TcpListener::pump(Connection& c) {
  while (answer_frames(c) && c.listener) write_some(c);
  if (c.listener) write_some(c);
  if (c.listener) settle(c);
}

bool TcpListener::read_some(Connection& c) {
  const ssize_t n = ::recv(c.fd.get(), received_.data(), received_.size(), 0);
  if (n > 0) c.in.insert(c.in.end(), received_.begin(), received_.begin() + n);
  if (n == 0) c.eof = true;
  return n >= 0 || errno == EAGAIN || errno == EINTR;
}

bool TcpListener::answer_frames(Connection& c) {
  size_t at = 0;
  while (c.in.size() - at >= 2 && c.unsent() < kUnsentMax && c.waiting < kWaitingMax) {
    size_t n = base::load_be16(&c.in[at]);
    if (c.in.size() - at - 2 < n) break;
    one(c, base::ByteView(c.in).subspan(at + 2, n));
    at += 2 + n;
  }
  c.in.erase(c.in.begin(), c.in.begin() + std::ptrdiff_t(at));
  return at > 0;
}

void TcpListener::append(Connection& c, base::ByteView reply) {
  base::Writer w(c.out);
  w.u16(uint16_t(reply.size()));
  w.put(reply);
}

void TcpListener::one(Connection& c, base::ByteView query) {
  auto a = responder_->answer(query, Transport::tcp, c.from, reply_);
  if (a.kind == Responder::Answered::Kind::reply) append(c, {reply_.data(), a.size});
  if (a.kind != Responder::Answered::Kind::wait) return;
  c.waiting++;
  bool now = true;  // the answer may come at once: then it goes out with the others
  auto inside = std::make_shared<bool*>(&now);
  responder_->wait_for(Transport::tcp, [weak = std::weak_ptr(*c.place), inside](base::ByteView reply) {
    auto conn = weak.lock();
    if (!conn || !conn->listener) return;
    conn->waiting--;
    append(*conn, reply);
    if (*inside) return;
    TcpListener& l = *conn->listener;
    l.pump(*conn);
    l.responder_->count();
  });
  *inside = nullptr;
}

void TcpListener::write_some(Connection& c) {
  while (c.unsent()) {
    ssize_t n = ::send(c.fd.get(), &c.out[c.sent], c.unsent(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return close(c);
    c.sent += size_t(n);
  }
  c.out.clear();
  c.sent = 0;
}

void TcpListener::settle(Connection& c) {
  if (c.eof && !c.unsent() && !c.waiting) return close(c);
  watch(c, base::FdEvents((c.may_read() ? base::kFdRead : 0) | (c.unsent() ? base::kFdWrite : 0)));
}

void TcpListener::sweep() {
  while (!connections_.empty() && loop_.now() - connections_.front()->used >= limits_.idle) close(*connections_.front());
  if (!connections_.empty()) sweep_->arm(1s);
}

}  // namespace dns
