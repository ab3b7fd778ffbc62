#include "edgemesh/health/probe.h"

#include <algorithm>

#include "base/core/limits.h"
#include "base/http/h1_codec.h"
#include "base/net/socket.h"
#include "base/net/stream.h"

namespace edgemesh {
namespace {

using base::ConnectOutcome;
using base::IpPort;
using Kind = ProbeOutcome::Kind;

constexpr base::StreamLimits kLimits{.read_high = base::limits::kProbeAnswerBytesMax, .write_max = 64 << 10};
constexpr const char* kAgent = "edgemeshd-health";

class OneProbe final : public Probe {
 public:
  OneProbe(base::Loop& loop, uint32_t mark, const IpPort& to, const ProbeSpec& spec, std::function<void(ProbeOutcome)> done)
      : loop_(loop), spec_(spec), done_(std::move(done)), timer_(loop.timer([this] { on_time(); })) {
    auto fd = base::tcp_connect_start(to, {.mark = mark, .source = std::nullopt});
    if (!fd) {  // no route is the endpoint's trouble, no socket is ours
      at_once_ = fd.error().code == base::Code::unavailable ? ProbeOutcome{Kind::failed, lb::Sign::unreachable, ""}
                                                            : ProbeOutcome{Kind::told_nothing, {}, ""};
      timer_->arm(base::Duration(0));
      return;
    }
    fd_ = std::move(*fd);
    watch_ = loop.watch(fd_.get(), base::kFdWrite, [this](base::FdEvents) { on_connect(base::connect_outcome(fd_.get())); });
    timer_->arm(spec.timeout);
  }

 private:
  void on_time() {
    finish(at_once_ ? std::move(*at_once_)
                    : ProbeOutcome{Kind::failed, lb::Sign::unanswered, stream_ ? asked() + ": no answer in time" : ""});
  }

  void on_connect(ConnectOutcome o) {
    watch_.reset();
    switch (o) {
      case ConnectOutcome::connected:
        break;
      case ConnectOutcome::refused:
        return finish({Kind::failed, lb::Sign::refused, ""});
      case ConnectOutcome::unreachable:
        return finish({Kind::failed, lb::Sign::unreachable, ""});
      case ConnectOutcome::unanswered:
        return finish({Kind::failed, lb::Sign::unanswered, ""});
      case ConnectOutcome::local_trouble:
        return finish({Kind::told_nothing, {}, ""});
    }
    if (spec_.kind == ProbeSpec::Kind::tcp) return finish({});
    stream_ = base::make_stream(loop_, std::move(fd_), kLimits);
    stream_->start({.on_connected = {},
                    .on_data = [this](base::Buffer& in) { on_data(in); },
                    .on_end = [this] { on_end(); },
                    .on_drained = {},
                    .on_closed = [this](const base::Result<void>&) { unhealthy("closed before the answer"); }});
    base::Request r;
    r.target = spec_.path;
    r.headers.set("Host", spec_.host);
    r.headers.set("User-Agent", kAgent);
    r.headers.set("Connection", "close");
    stream_->write(base::h1_serialize(r));
  }

  void on_data(base::Buffer& in) {
    while (!in.empty()) {
      auto n = parser_.feed(in.view());
      if (parser_.head_complete() && parser_.response().status >= 200) return judge(parser_.response().status);
      if (!n) return unhealthy("not an HTTP answer");
      in.consume(*n);
      if (parser_.complete()) parser_.next_message();  // 1xx: the answer is still to come
    }
  }

  void on_end() { unhealthy("closed before the answer"); }

  void judge(int status) {
    const bool good = std::ranges::any_of(spec_.good, [&](const StatusRange& r) { return status >= r.from && status <= r.to; });
    good ? finish({}) : unhealthy(fmt::format("status {}", status));
  }

  std::string asked() const { return "GET " + spec_.path; }
  void unhealthy(const std::string& what) { finish({Kind::failed, lb::Sign::unhealthy, asked() + ": " + what}); }

  void finish(ProbeOutcome o) {  // destroys this
    auto stream = std::move(stream_);
    watch_.reset();
    if (auto done = std::exchange(done_, nullptr)) done(std::move(o));
  }

  base::Loop& loop_;
  const ProbeSpec& spec_;
  std::function<void(ProbeOutcome)> done_;
  std::optional<ProbeOutcome> at_once_;
  std::unique_ptr<base::Timer> timer_;
  base::UniqueFd fd_;
  std::unique_ptr<base::FdWatch> watch_;
  base::H1Parser parser_{
      base::H1Parser::Kind::response,
      {.header_bytes = base::limits::kProbeAnswerBytesMax, .body_bytes = SIZE_MAX}};  // a body is of any length, and not read
  std::unique_ptr<base::Stream> stream_;
};

}  // namespace

std::unique_ptr<Probe> start_probe(base::Loop& loop, uint32_t mark, const IpPort& to, const ProbeSpec& spec,
                                   std::function<void(ProbeOutcome)> done) {
  return std::make_unique<OneProbe>(loop, mark, to, spec, std::move(done));
}

}  // namespace edgemesh
