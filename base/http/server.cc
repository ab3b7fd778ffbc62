#include "base/http/server.h"

#include <map>

#include "base/http/h1_codec.h"
#include "base/net/stream.h"

namespace base {
namespace {

// The parser holds what it took; unread pipelined requests wait in the stream.
constexpr StreamLimits kLimits{.read_high = 64 << 10, .write_max = 32 << 20};

class Connection;

class Server final : public HttpServer {
 public:
  Server(Loop& loop, UniqueFd listener, Handler handler, Options options)
      : loop_(loop), handler_(std::move(handler)), options_(options) {
    listener_ = std::make_unique<Listener>(loop, std::move(listener), [this](UniqueFd fd) { on_accept(std::move(fd)); });
  }
  void drain() override;
  size_t connections() const override { return live_.size(); }
  void forget(Connection*);

  Loop& loop_;
  Handler handler_;
  Options options_;
  bool draining_ = false;

 private:
  void on_accept(UniqueFd);
  std::unique_ptr<Listener> listener_;  // none: draining
  std::map<Connection*, std::shared_ptr<Connection>> live_;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& s, UniqueFd fd, HttpPeer peer)
      : server_(s), peer_(std::move(peer)), parser_(H1Parser::Kind::request, {limits::kHttpHeaderBytesMax, limits::kHttpHeadersMax, s.options_.body_bytes_max}) {
    stream_ = make_stream(s.loop_, std::move(fd), kLimits);
    timer_ = s.loop_.timer([this] { on_timeout(); });
  }

  void start() {
    timer_->arm(server_.options_.idle);
    stream_->start({.on_data = [this](Buffer& in) { on_data(in); },
                    .on_end = [this] { on_end(); },
                    .on_drained = [this] { take_requests(); },
                    .on_closed = [this](const Result<void>&) { server_.forget(this); }});
  }

  void on_drain() {
    if (awaiting_ || !parser_.idle()) return;
    if (stream_->unsent() == 0) return server_.forget(this);
    close();
  }

 private:
  void on_data(Buffer& in) {
    if (over_) return in.clear();  // read on, so that our last answer is not lost in a reset
    if (parser_.idle()) timer_->arm(server_.options_.request);
    take_requests();
  }

  // The peer sends no more; what it asked is still answered.
  void on_end() {
    ended_ = true;
    take_requests();
  }

  // One request at a time: the next is read when this one is answered, and not before the peer has read enough of the answers.
  void take_requests() {
    if (taking_) return;
    taking_ = true;
    Buffer& in = stream_->input();
    while (!awaiting_ && !over_ && !in.empty() && stream_->unsent() < kLimits.write_high) {
      auto n = parser_.feed(in.view());
      if (!n) {
        answer(Response::text(parser_.error_status(), n.error().what + "\n"), false);
        break;
      }
      in.consume(*n);
      maybe_continue();
      if (parser_.complete()) ask_handler();
    }
    taking_ = false;
    if (over_) in.clear();
    if (ended_ && !awaiting_ && in.empty()) close();
    stream_->resume();
  }

  void maybe_continue() {
    if (continued_ || !parser_.head_complete() || parser_.complete()) return;
    continued_ = true;
    if (equal_nocase(parser_.request().headers.get("expect"), "100-continue")) stream_->write("HTTP/1.1 100 Continue\r\n\r\n");
  }

  void ask_handler() {
    awaiting_ = true;
    timer_->arm(server_.options_.answer);
    auto respond = [weak = weak_from_this(), id = ++request_id_](Response r) {
      auto self = weak.lock();
      if (self && self->awaiting_ && self->request_id_ == id) self->answer(std::move(r), self->parser_.keep_alive());
    };
    Request request = parser_.request();  // the parser moves on when the handler answers at once
    server_.handler_(request, peer_, respond);
  }

  void answer(Response r, bool keep_alive) {
    if (over_) return;
    keep_alive = keep_alive && !server_.draining_;
    stream_->write(h1_serialize(r, keep_alive, parser_.request().method == "HEAD"));
    awaiting_ = false;
    continued_ = false;
    timer_->arm(server_.options_.idle);
    if (!keep_alive) return close();
    parser_.next_message();
    take_requests();
  }

  void close() {
    over_ = true;
    stream_->end();
  }

  void on_timeout() {
    if (over_) return server_.forget(this);
    if (awaiting_) return answer(Response::text(503, "no answer in time\n"), false);
    if (!parser_.idle()) return answer(Response::text(408, "the request did not arrive in time\n"), false);
    server_.forget(this);
  }

  Server& server_;
  HttpPeer peer_;
  H1Parser parser_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Timer> timer_;
  bool awaiting_ = false, taking_ = false, continued_ = false, ended_ = false, over_ = false;
  uint64_t request_id_ = 0;
};

HttpPeer peer_of(int fd) {
  if (auto a = peer_address(fd)) return {{}, a->str()};
  auto c = peer_credentials(fd);
  return {c ? std::optional(*c) : std::nullopt, "unix"};
}

void Server::on_accept(UniqueFd fd) {
  if (live_.size() >= options_.connections_max) return;  // closed at once
  HttpPeer peer = peer_of(fd.get());
  auto c = std::make_shared<Connection>(*this, std::move(fd), std::move(peer));
  live_[c.get()] = c;
  c->start();
}

void Server::forget(Connection* c) {
  auto it = live_.find(c);
  if (it == live_.end()) return;
  loop_.post([dead = std::move(it->second)] {});
  live_.erase(it);
}

void Server::drain() {
  draining_ = true;
  listener_.reset();
  auto copy = live_;
  for (auto& [p, c] : copy) c->on_drain();
}

}  // namespace

std::unique_ptr<HttpServer> HttpServer::make(Loop& loop, UniqueFd listener, Handler h, Options o) {
  return std::make_unique<Server>(loop, std::move(listener), std::move(h), o);
}

}  // namespace base
