#include "base/net/tls_stream.h"

namespace base {
namespace {

class TlsStreamImpl final : public TlsStream {
 public:
  TlsStreamImpl(Loop& loop, std::unique_ptr<Stream> below, std::shared_ptr<const TlsContext> context, TlsStreamOptions o)
      : options_(std::move(o)), below_(std::move(below)),
        engine_(std::move(context), options_.role, options_.verify_at, options_.expected_name),
        kick_(loop.timer([this] { on_kick(); })) {}
  ~TlsStreamImpl() override { *alive_ = false; }

  void start(StreamHandler) override;
  bool write(ByteView) override;
  void end() override;
  Buffer& input() override { return in_; }
  void pause() override {
    paused_ = true;
    update();
  }
  void resume() override {
    paused_ = false;
    update();
  }
  size_t unsent() const override { return early_.size() + (below_ ? below_->unsent() : 0); }
  const std::string& peer() const override { return below_->peer(); }
  int fd() const override { return below_->fd(); }
  const TlsEngine& tls() const override { return engine_; }

 private:
  // Calls a callback; false: this object is gone or closed.
  template <class F, class... A>
  bool call(F StreamHandler::* which, A&&... a) {
    auto handler = handler_;
    auto alive = alive_;
    if (auto& fn = (*handler).*which) fn(std::forward<A>(a)...);
    return *alive && !closed_;
  }
  void on_ciphertext(Buffer&);
  bool on_handshake_done();
  void on_below_end();
  void on_kick();
  void push_output();
  void update();
  void close(const Result<void>&);
  void fail_later(Error e) {
    if (!error_) error_ = std::move(e);
    kick_->arm(Duration{0});
  }

  TlsStreamOptions options_;
  std::unique_ptr<Stream> below_;
  TlsEngine engine_;
  std::shared_ptr<StreamHandler> handler_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Buffer in_, early_;  // plaintext received; plaintext to be sent once the handshake is done
  std::optional<Error> error_;
  bool ready_ = false, paused_ = false, ending_ = false, sent_end_ = false, got_end_ = false, closed_ = false;
  std::unique_ptr<Timer> kick_;  // the handshake's deadline, then what has to be told from the loop
};

void TlsStreamImpl::start(StreamHandler h) {
  handler_ = std::make_shared<StreamHandler>(std::move(h));
  kick_->arm(options_.handshake_within);
  below_->start({.on_data = [this](Buffer& b) { on_ciphertext(b); },
                 .on_end = [this] { on_below_end(); },
                 .on_drained = [this] { call(&StreamHandler::on_drained); },
                 .on_closed = [this](const Result<void>& r) {
                   if (r && !(got_end_ && sent_end_)) return close(fail(Code::io, "{}: closed", peer()));
                   close(r);
                 }});
  if (auto r = options_.role == TlsRole::client ? engine_.start() : Result<void>{}; !r) fail_later(r.error());
  push_output();
}

void TlsStreamImpl::push_output() {
  Buffer& out = engine_.output();
  if (!out.empty()) below_->write(out.view());
  out.clear();
}

// Not consumed plaintext holds up the ciphertext, which holds up the socket.
void TlsStreamImpl::update() {
  if (closed_ || !below_) return;
  bool stop = paused_ || in_.size() >= options_.limits.read_high;
  stop ? below_->pause() : below_->resume();
}

void TlsStreamImpl::on_ciphertext(Buffer& b) {
  auto alive = alive_;
  size_t before = in_.size();
  auto r = engine_.feed(b.view(), in_);
  b.clear();
  push_output();
  if (r && !ready_ && engine_.handshake_done() && !on_handshake_done()) return;
  if (in_.size() > before && !call(&StreamHandler::on_data, in_)) return;
  if (!r) return close(fail_in(peer(), r.error()));
  if (engine_.peer_closed() && !std::exchange(got_end_, true)) {
    if (!call(&StreamHandler::on_end)) return;
    if (sent_end_) kick_->arm(Duration{0});
  }
  update();
}

bool TlsStreamImpl::on_handshake_done() {
  ready_ = true;
  if (!error_) kick_->cancel();
  if (!early_.empty()) {
    if (auto r = engine_.write(early_.view()); !r) fail_later(r.error());
    early_.clear();
    push_output();
  }
  if (ending_) {
    ending_ = false;
    end();
  }
  return call(&StreamHandler::on_connected);
}

bool TlsStreamImpl::write(ByteView b) {
  if (closed_ || error_ || ending_) return false;
  if (!ready_) {
    if (early_.size() + b.size() > options_.limits.write_max) fail_later({Code::limit, fmt::format("{}: too much written before the handshake", peer())});
    else early_.append(b);
    return early_.size() < options_.limits.write_high;
  }
  if (auto r = engine_.write(b); !r) {
    fail_later(r.error());
    return false;
  }
  bool more = below_->write(engine_.output().view());
  engine_.output().clear();
  return more;
}

void TlsStreamImpl::end() {
  if (ending_ || closed_) return;
  ending_ = true;
  if (!ready_) return;
  engine_.close();
  push_output();
  below_->end();
  sent_end_ = true;
  if (got_end_) kick_->arm(Duration{0});
}

void TlsStreamImpl::on_below_end() {
  if (!got_end_) close(fail(Code::io, "{}: the connection ended {}", peer(), ready_ ? "without TLS close_notify" : "during the TLS handshake"));
}

void TlsStreamImpl::on_kick() {
  if (error_) return close(tl::unexpected(*error_));
  if (!ready_) return close(fail(Code::timeout, "{}: no TLS connection within {} ms", peer(), to_ms(options_.handshake_within)));
  // Both said goodbye; the stream below reports the end once our last bytes are out.
}

void TlsStreamImpl::close(const Result<void>& reason) {
  if (std::exchange(closed_, true)) return;
  kick_->cancel();
  below_->pause();
  below_->end();  // an alert may still be on its way
  auto handler = handler_;
  if (handler->on_closed) handler->on_closed(reason);
}

}  // namespace

std::unique_ptr<TlsStream> make_tls_stream(Loop& loop, std::unique_ptr<Stream> below, std::shared_ptr<const TlsContext> context,
                                           TlsStreamOptions o) {
  return std::make_unique<TlsStreamImpl>(loop, std::move(below), std::move(context), std::move(o));
}

}  // namespace base
