#include "dns/server/frame_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/core/log.h"
#include "base/net/socket.h"

namespace dns {

using namespace std::chrono_literals;

enum Control : uint32_t { kAccept = 1, kStart = 2, kStop = 3, kReady = 4, kFinish = 5 };
static constexpr uint32_t kContentType = 1;
static constexpr size_t kControlMax = 512;
static constexpr auto kPatience = 1000ms;  // of one write or read

static base::ByteVec control(uint32_t what, const std::string& content_type) {
  base::ByteVec out;
  base::Writer w(out);
  w.u32(0);
  w.u32(uint32_t(4 + (content_type.empty() ? 0 : 8 + content_type.size())));
  w.u32(what);
  if (content_type.empty()) return out;
  w.u32(kContentType);
  w.u32(uint32_t(content_type.size()));
  w.put(base::as_bytes(content_type));
  return out;
}

FrameStream::FrameStream(Options o, base::Metrics& m)
    : options_(std::move(o)), written_(m.counter("edgemeshd_dns_tap_frames_total", "Queries and answers written to dnstap.")),
      dropped_(m.counter("edgemeshd_dns_tap_dropped_total", "Queries and answers not written to dnstap, because its reader or disk was slow or gone.")),
      thread_([this] { run(); }) {}

FrameStream::~FrameStream() {
  {
    std::lock_guard lock(mu_);
    end_ = true;
  }
  more_.notify_all();
  thread_.join();
}

void FrameStream::put(base::ByteVec frame) {
  std::lock_guard lock(mu_);
  if (queued_ + frame.size() > options_.queue_bytes_max) return dropped_.add();
  queued_ += frame.size();
  queue_.push_back(std::move(frame));
  if (queue_.size() == 1) more_.notify_all();
}

bool FrameStream::pause(std::chrono::milliseconds d) {
  std::unique_lock lock(mu_);
  return !more_.wait_for(lock, d, [this] { return end_; });
}

void FrameStream::run() {
  while (true) {
    std::vector<base::ByteVec> batch;
    {
      std::unique_lock lock(mu_);
      more_.wait(lock, [this] { return end_ || !queue_.empty(); });
      if (queue_.empty()) break;
    }
    if (!fd_ && !open()) {  // meanwhile the queue fills up
      if (pause(options_.retry)) continue;
      break;
    }
    {
      std::lock_guard lock(mu_);
      batch.swap(queue_);
      queued_ = 0;
    }
    for (auto& f : batch)
      if (write_frame(f)) written_.add();
      else dropped_.add();
  }
  finish();
}

bool FrameStream::open() {
  if (!options_.file.empty()) {
    struct stat st{};
    if (::stat(options_.file.c_str(), &st) == 0 && st.st_size > 0) put_aside();  // a stream has one beginning
    fd_ = base::UniqueFd(::open(options_.file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    file_bytes_ = 0;
    return fd_ && write(control(kStart, options_.content_type));
  }
  auto fd = base::unix_connect_start(options_.socket);
  if (!fd) return false;
  fd_ = std::move(*fd);
  if (hand_shake()) return true;
  fd_.reset();
  return false;
}

bool FrameStream::hand_shake() {
  return wait_until_ready(POLLOUT, kPatience) && write(control(kReady, options_.content_type)) && read_control(kAccept) && write(control(kStart, options_.content_type));
}

bool FrameStream::wait_until_ready(short events, std::chrono::milliseconds d) {
  pollfd p{fd_.get(), events, 0};
  return ::poll(&p, 1, int(d.count())) == 1 && !(p.revents & (POLLERR | POLLNVAL));
}

bool FrameStream::read_control(uint32_t wanted) {
  base::ByteVec got;
  while (got.size() < 8 || got.size() < 8 + size_t(base::load_be32(&got[4]))) {
    uint8_t b[kControlMax];
    if (got.size() > kControlMax || !wait_until_ready(POLLIN, kPatience)) return false;
    const ssize_t n = ::read(fd_.get(), b, sizeof b);
    if (n <= 0) return false;
    got.insert(got.end(), b, b + n);
  }
  return got.size() >= 12 && base::load_be32(&got[0]) == 0 && base::load_be32(&got[8]) == wanted;
}

bool FrameStream::write(base::ByteView b) {
  const bool socket = options_.file.empty();
  while (!b.empty()) {
    const ssize_t n = socket ? ::send(fd_.get(), b.data(), b.size(), MSG_NOSIGNAL) : ::write(fd_.get(), b.data(), b.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && wait_until_ready(POLLOUT, kPatience)) continue;
    if (n < 0) {
      fd_.reset();
      return false;
    }
    b = b.subspan(size_t(n));
    file_bytes_ += size_t(n);
  }
  return true;
}

bool FrameStream::write_frame(base::ByteView f) {
  if (!options_.file.empty() && fd_ && file_bytes_ + f.size() > options_.file_bytes_max) finish();
  if (!fd_ && !open()) return false;
  uint8_t size[4];
  base::store_be32(size, uint32_t(f.size()));
  return write(size) && write(f);
}

void FrameStream::put_aside() { (void)::rename(options_.file.c_str(), (options_.file + ".1").c_str()); }

void FrameStream::finish() {
  if (fd_ && write(control(kStop, "")) && options_.file.empty()) (void)read_control(kFinish);
  fd_.reset();
}

}  // namespace dns
