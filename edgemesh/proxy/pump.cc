#include "edgemesh/proxy/pump.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace edgemesh {

static constexpr size_t kBufferBytes = 64 << 10;
static constexpr int kSpliceAfterFullReads = 3;
static constexpr int kRoundsPerTurn = 8;  // then the loop's other work has its turn

static char* shared_buffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kBufferBytes]);
  return buffer.get();
}

Pump::Pump(base::Loop& loop, base::UniqueFd client, base::UniqueFd server, base::Duration idle_timeout, std::function<void(Totals)> ended)
    : loop_(loop),
      client_(std::move(client)),
      server_(std::move(server)),
      idle_timeout_(idle_timeout),
      ended_(std::move(ended)),
      last_progress_(loop.now()),
      client_watch_(loop.watch(client_.get(), base::kFdRead, [this](base::FdEvents) { on_event(); })),
      server_watch_(loop.watch(server_.get(), base::kFdRead, [this](base::FdEvents) { on_event(); })),
      idle_timer_(loop.timer([this] { on_idle(); })) {
  up_.from = down_.to = client_.get();
  down_.from = up_.to = server_.get();
  up_.total = &totals_.to_server;
  down_.total = &totals_.to_client;
  idle_timer_->arm(idle_timeout_);
}

Pump::~Pump() = default;

void Pump::on_event() {
  if (!ended_) return;
  if (!move(up_) || !move(down_)) return end(false);
  if (up_.shut && down_.shut) return end(false);
  watch();
}

bool Pump::move(Direction& d) {
  for (int round = 0; round < kRoundsPerTurn; round++) {
    if (!flush(d)) return false;
    if (d.pending() || d.ended) break;
    bool progress = false;
    if (!(d.pipe_in ? splice_some(d, progress) : copy_some(d, progress))) return false;
    if (!progress) break;
    last_progress_ = loop_.now();
  }
  if (!flush(d)) return false;
  if (d.ended && !d.pending() && !d.shut) {
    ::shutdown(d.to, SHUT_WR);
    d.shut = true;
  }
  return true;
}

bool Pump::flush(Direction& d) {
  while (d.held_at < d.held.size()) {
    ssize_t n = ::send(d.to, d.held.data() + d.held_at, d.held.size() - d.held_at, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    d.held_at += size_t(n);
    last_progress_ = loop_.now();
  }
  d.held.clear();
  d.held_at = 0;
  while (d.in_pipe > 0) {
    ssize_t n = ::splice(d.pipe_in.get(), nullptr, d.to, nullptr, d.in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    d.in_pipe -= size_t(n);
    last_progress_ = loop_.now();
  }
  return true;
}

bool Pump::copy_some(Direction& d, bool& progress) {
  char* buffer = shared_buffer();
  ssize_t n = ::recv(d.from, buffer, kBufferBytes, 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) {
    d.ended = true;
    return true;
  }
  progress = true;
  *d.total += uint64_t(n);
  ssize_t sent = ::send(d.to, buffer, size_t(n), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
  if (sent < n) d.held.assign(buffer + std::max<ssize_t>(sent, 0), size_t(n - std::max<ssize_t>(sent, 0)));
  d.full_reads = size_t(n) == kBufferBytes ? d.full_reads + 1 : 0;
  if (d.full_reads >= kSpliceAfterFullReads) start_splicing(d);
  return true;
}

void Pump::start_splicing(Direction& d) {
  int p[2];
  if (::pipe2(p, O_CLOEXEC | O_NONBLOCK) != 0) return;  // out of descriptors: copying goes on
  d.pipe_in = base::UniqueFd(p[0]);
  d.pipe_out = base::UniqueFd(p[1]);
  ::fcntl(p[1], F_SETPIPE_SZ, 256 << 10);
}

bool Pump::splice_some(Direction& d, bool& progress) {
  ssize_t n = ::splice(d.from, nullptr, d.pipe_out.get(), nullptr, 256 << 10, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) {
    d.ended = true;
    return true;
  }
  progress = true;
  *d.total += uint64_t(n);
  d.in_pipe += size_t(n);
  return true;
}

// A socket is read while its direction can take bytes, and watched for writing while bytes wait for it.
void Pump::watch() {
  auto wanted = [](const Direction& reads, const Direction& writes) {
    base::FdEvents e = base::kFdNone;
    if (!reads.ended && !reads.pending()) e = e | base::kFdRead;
    if (writes.pending()) e = e | base::kFdWrite;
    return e;
  };
  client_watch_->set(wanted(up_, down_));
  server_watch_->set(wanted(down_, up_));
}

void Pump::on_idle() {
  base::Duration quiet = loop_.now() - last_progress_;
  if (quiet >= idle_timeout_) return end(true);
  idle_timer_->arm(idle_timeout_ - quiet);
}

void Pump::end(bool idle) {
  client_watch_.reset();
  server_watch_.reset();
  idle_timer_.reset();
  totals_.idle = idle;
  auto ended = std::exchange(ended_, nullptr);
  if (ended) ended(totals_);
}

}  // namespace edgemesh
