#include "edgemesh/health/tcp_checks.h"

#include "base/core/limits.h"

namespace edgemesh {

using base::ConnectOutcome;
using base::IpPort;

TcpChecks::TcpChecks(base::Loop& loop, uint32_t socket_mark, base::Duration timeout, Done done)
    : loop_(loop), mark_(socket_mark), timeout_(timeout), done_(std::move(done)) {}

size_t TcpChecks::free() const { return base::limits::kEndpointChecksMax - checks_.size(); }

void TcpChecks::start(const IpPort& to) {
  Check& c = checks_[to];
  auto fd = base::tcp_connect_start(to, {.mark = mark_, .source = std::nullopt});
  if (!fd) {  // no route is the endpoint's trouble, no socket is ours
    auto outcome = fd.error().code == base::Code::unavailable ? ConnectOutcome::unreachable : ConnectOutcome::local_trouble;
    c.timer = loop_.timer([this, to, outcome] { finish(to, outcome); });
    return c.timer->arm(base::Duration(0));
  }
  c.fd = std::move(*fd);
  c.watch = loop_.watch(c.fd.get(), base::kFdWrite, [this, to](base::FdEvents) { finish(to, base::connect_outcome(checks_[to].fd.get())); });
  c.timer = loop_.timer([this, to] { finish(to, ConnectOutcome::unanswered); });
  c.timer->arm(timeout_);
}

void TcpChecks::finish(IpPort to, ConnectOutcome outcome) {
  checks_.erase(to);
  done_(to, outcome);
}

}  // namespace edgemesh
