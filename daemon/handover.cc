#include "daemon/handover.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/core/environment.h"
#include "base/core/limits.h"
#include "base/core/log.h"

namespace edgemeshd {

using base::Result;
using base::UniqueFd;
using namespace std::chrono_literals;

static constexpr auto kReadyWithin = 20s;
static constexpr int kLetGoWithinMs = 3000;
static constexpr char kTunnel = 'T', kLetGo = 't', kReady = 'R';

// ---- the old process

// Taken when the program starts: after an upgrade /proc/self/exe is the deleted file, and the name leads to the new one.
static const std::string& program_file() {
  static const std::string path = [] {
    char name[4096];
    const ssize_t n = ::readlink("/proc/self/exe", name, sizeof name);
    return n > 0 ? std::string(name, size_t(n)) : std::string();
  }();
  return path;
}
[[maybe_unused]] static const bool kProgramFileKnown = !program_file().empty();

static std::vector<std::string> own_arguments() {
  std::ifstream f("/proc/self/cmdline");
  const std::string all{std::istreambuf_iterator<char>(f), {}};
  std::vector<std::string> out;
  for (size_t at = 0, end; (end = all.find('\0', at)) != std::string::npos; at = end + 1) out.push_back(all.substr(at, end - at));
  return out;
}

static Result<UniqueFd> in_memory(const std::string& bytes) {
  UniqueFd fd(::memfd_create("objects", MFD_CLOEXEC));
  if (!fd) return base::fail_errno(errno, "handover: memory for the objects");
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
    if (n <= 0) return base::fail_errno(errno, "handover: memory for the objects");
    at += size_t(n);
  }
  return fd;
}

static std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& t : texts) out.push_back(t.data());
  out.push_back(nullptr);
  return out;
}

// The child has these descriptors under the same numbers, and none of our others.
static Result<pid_t> spawn(const std::vector<std::pair<std::string, int>>& fds) {
  std::string variable = "EDGEMESHD_FDS=";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const auto& [name, fd] : fds) {
    posix_spawn_file_actions_adddup2(&actions, fd, fd);  // takes close-on-exec away
    variable += (variable.ends_with('=') ? "" : ",") + name + "=" + std::to_string(fd);
  }
  std::vector<std::string> environment{variable}, arguments = own_arguments();
  for (char** e = environ; *e; ++e) environment.push_back(*e);
  auto argv = pointers(arguments), envp = pointers(environment);
  pid_t child = -1;
  const int err = ::posix_spawn(&child, program_file().c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (err) return base::fail_errno(err, "handover: starting " + program_file());
  return child;
}


Result<std::unique_ptr<Handover>> Handover::start(const base::SocketStore& store, const std::string& objects, int lock, base::Loop& loop, Hooks hooks) {
  std::unique_ptr<Handover> h(new Handover(std::move(hooks)));
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return base::fail_errno(errno, "handover");
  h->channel_ = UniqueFd(pair[0]);
  const UniqueFd theirs(pair[1]);
  EM_TRY_ASSIGN(const UniqueFd memory, in_memory(objects));
  auto fds = store.held();
  fds.insert(fds.end(), {{"handover", theirs.get()}, {"lock", lock}, {"objects", memory.get()}});
  EM_TRY_ASSIGN(h->child_, spawn(fds));
  h->watch_ = loop.watch(h->channel_.get(), base::kFdRead, [self = h.get()](base::FdEvents) { self->on_readable(); });
  h->deadline_ = loop.timer([self = h.get()] { self->lost("it was not ready in time"); });
  h->deadline_->arm(kReadyWithin);
  EM_LOG(info, "daemon", "handover: process {} was started with {} sockets", h->child_, fds.size() - 3);
  return h;
}

Handover::~Handover() {
  if (done_ || child_ < 0) return;
  ::kill(child_, SIGKILL);  // it serves nobody yet
  ::waitpid(child_, nullptr, 0);
}

void Handover::on_readable() {
  char byte = 0;
  const ssize_t n = ::recv(channel_.get(), &byte, 1, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return lost("it ended before it served");
  if (byte == kTunnel && !let_go_) {
    let_go_ = true;
    hooks_.on_tunnel_wanted();
    (void)!::send(channel_.get(), &kLetGo, 1, MSG_NOSIGNAL);
  } else if (byte == kReady && let_go_) {
    done_ = true;
    watch_.reset();
    deadline_->cancel();
    hooks_.on_ready();
  }
}

void Handover::lost(const std::string& why) {
  watch_.reset();
  deadline_->cancel();
  hooks_.on_lost(let_go_, why);  // may destroy us
}

// ---- the new process

std::optional<Predecessor> Predecessor::found(base::SocketStore& store) {
  Predecessor p;
  p.channel_ = store.take("handover");
  p.objects_ = store.take("objects");
  if (!p.channel_) return std::nullopt;
  return p;
}

Result<void> Predecessor::take_tunnel() {
  if (::send(channel_.get(), &kTunnel, 1, MSG_NOSIGNAL) != 1) return base::fail(base::Code::io, "handover: the old process is gone");
  pollfd p{channel_.get(), POLLIN, 0};
  char byte = 0;
  if (::poll(&p, 1, kLetGoWithinMs) != 1 || ::recv(channel_.get(), &byte, 1, 0) != 1 || byte != kLetGo)
    return base::fail(base::Code::unavailable, "handover: the old process does not let go of the tunnel");
  return {};
}

void Predecessor::ready() {
  (void)!::send(channel_.get(), &kReady, 1, MSG_NOSIGNAL);
  channel_.reset();
}

std::string Predecessor::objects() const {
  const off_t size = objects_ ? ::lseek(objects_.get(), 0, SEEK_END) : 0;
  if (size <= 0 || size_t(size) > base::limits::kSnapshotBytesMax) return "";
  std::string out(size_t(size), '\0');
  return ::pread(objects_.get(), out.data(), out.size(), 0) == size ? out : "";
}

static void notify(const std::string& text) {
  const std::string path = base::environment("NOTIFY_SOCKET");
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof to.sun_path) return;
  std::memcpy(to.sun_path, path.data(), path.size());
  if (path[0] == '@') to.sun_path[0] = '\0';
  int pair[2];  // one end of a pair can send to any name
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0) return;
  const UniqueFd a(pair[0]), b(pair[1]);
  (void)!::sendto(a.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), socklen_t(offsetof(sockaddr_un, sun_path) + path.size()));
}

void tell_supervisor() { notify(fmt::format("MAINPID={}\nREADY=1\n", ::getpid())); }
void tell_watchdog() { notify("WATCHDOG=1\n"); }

base::Duration watchdog_pause() {
  const std::string text = base::environment("WATCHDOG_USEC");
  uint64_t us = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), us);
  if (error != std::errc() || end != text.data() + text.size() || us > 86'400'000'000u) return {};
  return std::chrono::microseconds(us / 2);
}

}  // namespace edgemeshd
