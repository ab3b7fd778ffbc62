#include "base/http/client.h"

#include "base/http/h1_codec.h"
#include "base/net/stream.h"

namespace base {
namespace {

std::string name_of(const HttpTarget& t) {
  if (auto* u = std::get_if<UnixPath>(&t)) return u->path;
  return std::get<IpPort>(t).str();
}

constexpr StreamLimits kLimits{.write_max = 32 << 20};  // the largest body and its head, twice

Result<std::unique_ptr<Stream>> connect_to(Loop& loop, const HttpTarget& t, Duration within) {
  if (auto* u = std::get_if<UnixPath>(&t)) return connect_unix(loop, u->path, within, kLimits);
  return connect_tcp(loop, std::get<IpPort>(t), within, {}, kLimits);
}

class Call final : public HttpCall {
 public:
  Call(Loop& loop, const HttpTarget& t, const Request& r, Duration deadline, std::function<void(Result<Response>)> done, size_t body_max)
      : name_(name_of(t)),
        done_(std::move(done)),
        deadline_(loop.timer([this] { on_deadline(); })),
        parser_(H1Parser::Kind::response, {.body_bytes = body_max}) {
    if (r.method == "HEAD") parser_.expect_no_body();
    auto stream = connect_to(loop, t, deadline);
    if (!stream) {
      failed_ = stream.error();
      deadline_->arm(Duration{0});
      return;
    }
    deadline_->arm(deadline);
    stream_ = std::move(*stream);
    Request once = r;
    once.headers.set("Connection", "close");
    stream_->start({.on_data = [this](Buffer& in) { on_data(in); },
                    .on_end = [this] { on_end(); },
                    .on_closed = [this](const Result<void>& r) { finish(r ? closed_early() : tl::unexpected(r.error())); }});
    stream_->write(h1_serialize(once));
  }

 private:
  void on_data(Buffer& in) {
    while (!in.empty()) {
      auto n = parser_.feed(in.view());
      if (!n) return finish(fail_in(name_, n.error()));
      in.consume(*n);
      if (!parser_.complete()) continue;
      if (parser_.response().status >= 200) return finish(std::move(parser_.response()));
      parser_.next_message();  // 1xx: the answer is still to come
    }
  }

  void on_end() {
    bool whole = parser_.head_complete() && parser_.finish() && parser_.complete();
    finish(whole ? Result<Response>(std::move(parser_.response())) : closed_early());
  }

  tl::unexpected<Error> closed_early() const { return fail(Code::unavailable, "{}: closed before the answer", name_); }

  void on_deadline() { finish(failed_ ? tl::unexpected(*failed_) : fail(Code::timeout, "{}: no answer in time", name_)); }

  void finish(Result<Response> r) {  // may destroy this
    auto stream = std::move(stream_);
    auto done = std::exchange(done_, nullptr);
    if (done) done(std::move(r));
  }

  std::string name_;
  std::function<void(Result<Response>)> done_;
  std::unique_ptr<Timer> deadline_;
  std::optional<Error> failed_;
  H1Parser parser_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace

std::unique_ptr<HttpCall> http_call(Loop& loop, const HttpTarget& t, const Request& r, Duration deadline,
                                    std::function<void(Result<Response>)> done, size_t body_max) {
  return std::make_unique<Call>(loop, t, r, deadline, std::move(done), body_max);
}

}  // namespace base
