#include "base/net/stream.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/core/log.h"

namespace base {
namespace {

constexpr size_t kReadBytes = 64 << 10;     // one read; then others have their turn
constexpr int kAcceptsPerTurn = 32;
constexpr Duration kAcceptRest = 100ms;

class FdStream final : public Stream {
 public:
  FdStream(Loop& loop, UniqueFd fd, StreamLimits l, std::string peer, bool connecting, Duration within)
      : limits_(l), peer_(std::move(peer)), fd_(std::move(fd)), connecting_(connecting), within_(within),
        kick_(loop.timer([this] { on_kick(); })),
        watch_(loop.watch(fd_.get(), kFdNone, [this](FdEvents e) { on_ready(e); })) {}
  ~FdStream() override { *alive_ = false; }

  void start(StreamHandler h) override {
    handler_ = std::make_shared<StreamHandler>(std::move(h));
    if (connecting_) kick_->arm(within_);
    update();
  }
  bool write(ByteView b) override;
  void end() override {
    if (ending_ || closed_) return;
    ending_ = true;
    if (!connecting_ && out_.empty()) finish_writing();
  }
  Buffer& input() override { return in_; }
  void pause() override {
    paused_ = true;
    update();
  }
  void resume() override {
    paused_ = false;
    update();
  }
  size_t unsent() const override { return out_.size(); }
  const std::string& peer() const override { return peer_; }
  int fd() const override { return fd_.get(); }

 private:
  // Calls a callback; false: this object is gone or closed and must not be touched any more.
  template <class F, class... A>
  bool call(F StreamHandler::* which, A&&... a) {
    auto handler = handler_;
    auto alive = alive_;
    if (auto& fn = (*handler).*which) fn(std::forward<A>(a)...);
    return *alive && !closed_;
  }
  void on_ready(FdEvents);
  void on_kick();
  bool on_connect_result();
  void read_some();
  bool flush();
  void send_now();
  void finish_writing();
  void fail_later(Error e) {
    if (!error_) error_ = std::move(e);
    kick_->arm(Duration{0});
    update();
  }
  void close(const Result<void>& reason) {
    if (std::exchange(closed_, true)) return;
    watch_.reset();
    kick_->cancel();
    fd_.reset();
    auto handler = handler_;
    if (handler && handler->on_closed) handler->on_closed(reason);
  }
  void update();

  StreamLimits limits_;
  std::string peer_;
  UniqueFd fd_;
  std::shared_ptr<StreamHandler> handler_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Buffer in_, out_;
  std::optional<Error> error_;  // to be told from the loop
  bool connecting_, paused_ = false, over_high_ = false;
  bool ending_ = false, sent_end_ = false, got_end_ = false, closed_ = false;
  Duration within_;
  std::unique_ptr<Timer> kick_;  // the connect deadline, then what has to be told from the loop
  std::unique_ptr<FdWatch> watch_;
};

void FdStream::update() {
  if (!watch_ || !handler_) return;
  FdEvents want = kFdNone;
  if (!error_) {
    if (!connecting_ && !got_end_ && !paused_ && in_.size() < limits_.read_high) want = want | kFdRead;
    if (connecting_ || !out_.empty()) want = want | kFdWrite;
  }
  watch_->set(want);
}

bool FdStream::write(ByteView b) {
  if (closed_ || error_ || ending_) return false;
  if (out_.size() + b.size() > limits_.write_max) {
    fail_later({Code::limit, fmt::format("{}: the peer does not read: {} bytes are waiting", peer_, out_.size())});
    return false;
  }
  bool direct = out_.empty() && !connecting_ && handler_;
  out_.append(b);
  if (direct) send_now();
  if (error_) return false;
  update();
  if (out_.size() >= limits_.write_high) over_high_ = true;
  return !over_high_;
}

void FdStream::send_now() {
  while (!out_.empty()) {
    ssize_t n = ::send(fd_.get(), out_.view().data(), out_.size(), MSG_NOSIGNAL);
    if (n > 0) {
      out_.consume(size_t(n));
    } else if (errno != EINTR) {
      if (errno != EAGAIN) fail_later({Code::io, fmt::format("{}: {}", peer_, std::generic_category().message(errno))});
      return;
    }
  }
}

void FdStream::finish_writing() {
  if (std::exchange(sent_end_, true)) return;
  ::shutdown(fd_.get(), SHUT_WR);
  if (got_end_) kick_->arm(Duration{0});
}

void FdStream::on_kick() {
  if (error_) return close(tl::unexpected(*error_));
  if (connecting_) return close(fail(Code::timeout, "{}: no answer within {} ms", peer_, to_ms(within_)));
  if (got_end_ && sent_end_) close({});
}

bool FdStream::on_connect_result() {
  kick_->cancel();
  if (auto r = socket_error(fd_.get(), peer_); !r) return close(r), false;
  connecting_ = false;
  return call(&StreamHandler::on_connected);
}

void FdStream::on_ready(FdEvents e) {
  if (connecting_ && !on_connect_result()) return;
  if ((e & kFdWrite) && !flush()) return;
  if ((e & kFdRead) && !got_end_ && !paused_) return read_some();
  update();
}

// False: gone.
bool FdStream::flush() {
  if (!out_.empty()) send_now();
  if (error_) return true;
  if (over_high_ && out_.size() <= limits_.write_low) {
    over_high_ = false;
    if (!call(&StreamHandler::on_drained)) return false;
  }
  if (ending_ && out_.empty()) finish_writing();
  return true;
}

void FdStream::read_some() {
  // Most of what arrives is a fraction of the most: it is copied, which takes less than to make room for the most and clear it.
  static thread_local uint8_t scratch[kReadBytes];
  const ssize_t n = ::recv(fd_.get(), scratch, sizeof scratch, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return update();
  if (n < 0) return close(fail(errno == ETIMEDOUT ? Code::timeout : Code::io, "{}: {}", peer_, std::generic_category().message(errno)));
  if (n > 0) {
    in_.append({scratch, size_t(n)});
    if (call(&StreamHandler::on_data, in_)) update();
    return;
  }
  got_end_ = true;
  if (!call(&StreamHandler::on_end)) return;
  if (sent_end_) kick_->arm(Duration{0});
  update();
}

}  // namespace

std::unique_ptr<Stream> make_stream(Loop& loop, UniqueFd fd, StreamLimits l) {
  auto peer = peer_address(fd.get());
  return std::make_unique<FdStream>(loop, std::move(fd), l, peer ? peer->str() : "unix peer", false, Duration{0});
}

Result<std::unique_ptr<Stream>> connect_tcp(Loop& loop, const IpPort& to, Duration within, const ConnectOptions& o, StreamLimits l) {
  EM_TRY_ASSIGN(UniqueFd fd, tcp_connect_start(to, o));
  return std::make_unique<FdStream>(loop, std::move(fd), l, to.str(), true, within);
}

Result<std::unique_ptr<Stream>> connect_unix(Loop& loop, const std::string& path, Duration within, StreamLimits l) {
  EM_TRY_ASSIGN(UniqueFd fd, unix_connect_start(path));
  return std::make_unique<FdStream>(loop, std::move(fd), l, path, true, within);
}

Listener::Listener(Loop& loop, UniqueFd listening, std::function<void(UniqueFd)> on_accept)
    : fd_(std::move(listening)), on_accept_(std::make_shared<std::function<void(UniqueFd)>>(std::move(on_accept))),
      rest_(loop.timer([this] { resume(); })), watch_(loop.watch(fd_.get(), kFdRead, [this](FdEvents) { on_ready(); })) {}

Listener::~Listener() { *alive_ = false; }

void Listener::pause() {
  rest_->cancel();
  watch_->set(kFdNone);
}

void Listener::resume() {
  rest_->cancel();
  watch_->set(kFdRead);
}

void Listener::on_ready() {
  auto alive = alive_;
  auto on_accept = on_accept_;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    auto fd = accept_one(fd_.get());
    if (!fd && fd.error().code == Code::unavailable) return;
    if (!fd) {
      EM_LOG(error, "listener", "{}; no new connections for {} ms", fd.error().what, to_ms(kAcceptRest));
      watch_->set(kFdNone);
      return rest_->arm(kAcceptRest);
    }
    (*on_accept)(std::move(*fd));
    if (!*alive) return;
  }
}

}  // namespace base
