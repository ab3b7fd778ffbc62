// For tests: network namespaces of the test process itself, echo servers in them, and calls between them. Needs root; a test
// without the right says so and skips. Sockets stay in the namespace they were made in, so one thread serves all of them.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/core/unique_fd.h"
#include "base/net/addr.h"

namespace base::testing {

inline UniqueFd current_netns() { return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

class NetNs {
 public:
  NetNs() {
    UniqueFd back = current_netns();
    ok_ = ::unshare(CLONE_NEWNET) == 0;
    fd_ = current_netns();
    if (ok_) {
      run("ip link set lo up");
      for (auto* f : {"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/ip_nonlocal_bind", "ipv6/ip_nonlocal_bind"}) sysctl(f, "1");
      for (auto* f : {"ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad"}) sysctl(f, "0");
      ::setns(back.get(), CLONE_NEWNET);
    }
  }
  bool ok() const { return ok_; }
  std::string path() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_.get()); }
  int fd() const { return fd_.get(); }
  static void sysctl(const std::string& name, const std::string& value) { std::ofstream("/proc/sys/net/" + name) << value; }
  static int run(const std::string& command) {
    int rc = std::system((command + " 2>&1").c_str());
    return rc;
  }
  int sh(const std::string& command) const;
  std::string out(const std::string& command) const;

 private:
  UniqueFd fd_;
  bool ok_ = false;
};

class InNs {  // this thread is in the namespace while the object lives
 public:
  explicit InNs(const NetNs& ns) : back_(current_netns()) { ::setns(ns.fd(), CLONE_NEWNET); }
  ~InNs() { ::setns(back_.get(), CLONE_NEWNET); }

 private:
  UniqueFd back_;
};

inline int NetNs::sh(const std::string& command) const {
  InNs in(*this);
  return run(command);
}

inline std::string NetNs::out(const std::string& command) const {
  InNs in(*this);
  std::string text;
  FILE* p = ::popen((command + " 2>&1").c_str(), "r");
  char buf[4096];
  for (size_t n; p && (n = fread(buf, 1, sizeof buf, p)) > 0;) text.append(buf, n);
  int rc = p ? ::pclose(p) : -1;
  return rc == 0 ? text : "FAILED(" + std::to_string(rc) + ") " + text;
}

// veth pair: `a_name` in a, `b_name` in b.
inline void join(const NetNs& a, const std::string& a_name, const NetNs& b, const std::string& b_name) {
  ASSERT_EQ(a.sh("ip link add " + a_name + " type veth peer name " + b_name + " netns " + b.path()), 0);
  a.sh("ip link set " + a_name + " up");
  b.sh("ip link set " + b_name + " up");
}

struct SockAddr {
  sockaddr_storage s{};
  socklen_t len = 0;
  explicit SockAddr(const IpPort& p) {
    if (p.ip.is_v4()) {
      auto* a = reinterpret_cast<sockaddr_in*>(&s);
      a->sin_family = AF_INET, a->sin_port = htons(p.port), len = sizeof *a;
      memcpy(&a->sin_addr, p.ip.bytes().data(), 4);
    } else {
      auto* a = reinterpret_cast<sockaddr_in6*>(&s);
      a->sin6_family = AF_INET6, a->sin6_port = htons(p.port), len = sizeof *a;
      memcpy(&a->sin6_addr, p.ip.bytes().data(), 16);
    }
  }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&s); }
};

inline std::string text_of(const sockaddr_storage& s) {
  char b[64];
  if (s.ss_family == AF_INET) return inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&s)->sin_addr, b, sizeof b);
  return inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&s)->sin6_addr, b, sizeof b);
}

// Answers every connection and datagram with "<name> <the caller's address as seen here>".
class Servers {
 public:
  Servers() : thread_([this] { serve(); }) {}
  ~Servers() {
    stop_ = true;
    thread_.join();
  }
  bool add(const NetNs& ns, const std::string& at, const std::string& name) {
    auto where = IpPort::parse(at);
    if (!where) return false;
    InNs in(ns);
    for (int type : {SOCK_STREAM, SOCK_DGRAM}) {
      UniqueFd fd(::socket(where->ip.is_v4() ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      int on = 1;
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      SockAddr a(*where);
      if (::bind(fd.get(), a.get(), a.len) < 0) return false;
      if (type == SOCK_STREAM) ::listen(fd.get(), 1024);
      std::lock_guard lock(mu_);
      list_.push_back({std::move(fd), name, type});
    }
    return true;
  }

 private:
  struct Server {
    UniqueFd fd;
    std::string name;
    int type;
  };
  void serve() {
    while (!stop_) {
      std::vector<pollfd> p;
      {
        std::lock_guard lock(mu_);
        for (auto& s : list_) p.push_back({s.fd.get(), POLLIN, 0});
      }
      ::poll(p.data(), p.size(), 5);
      std::lock_guard lock(mu_);
      for (size_t i = 0; i < p.size(); ++i)
        if (p[i].revents) answer(list_[i]);
    }
  }
  void answer(Server& s) {
    sockaddr_storage from{};
    socklen_t len = sizeof from;
    if (s.type == SOCK_STREAM) {
      for (int c; (c = ::accept4(s.fd.get(), reinterpret_cast<sockaddr*>(&from), &len, SOCK_CLOEXEC)) >= 0;) {
        std::string t = s.name + " " + text_of(from);
        (void)!::write(c, t.data(), t.size());
        ::close(c);
      }
      return;
    }
    char buf[2048];
    while (::recvfrom(s.fd.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &len) >= 0) {
      std::string t = s.name + " " + text_of(from);
      ::sendto(s.fd.get(), t.data(), t.size(), 0, reinterpret_cast<sockaddr*>(&from), len);
    }
  }
  std::mutex mu_;
  std::vector<Server> list_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

struct CallOptions {
  std::string from;          // source address
  uint16_t from_port = 0;
  bool udp = false;
  uint32_t mark = 0;
  int timeout_ms = 400;
};

inline bool wait_for(int fd, short what, int ms) {
  pollfd p{fd, what, 0};
  return ::poll(&p, 1, ms) > 0;
}

// One datagram or connection on an open socket; "name address", "refused", "timeout" or the error.
inline std::string exchange(int fd, const std::string& to, const CallOptions& o) {
  SockAddr a(*IpPort::parse(to));
  if (::connect(fd, a.get(), a.len) < 0 && errno != EINPROGRESS) return errno == ECONNREFUSED ? "refused" : strerror(errno);
  if (o.udp && ::send(fd, "x", 1, 0) < 0) return errno == ECONNREFUSED ? "refused" : strerror(errno);
  char buf[256];
  if (!wait_for(fd, POLLIN, o.timeout_ms)) return "timeout";
  ssize_t n = ::recv(fd, buf, sizeof buf, 0);
  if (n < 0) return errno == ECONNREFUSED || errno == ECONNRESET ? "refused" : strerror(errno);
  return std::string(buf, size_t(n));
}

inline UniqueFd open_socket(const NetNs& ns, bool v4, const CallOptions& o) {
  InNs in(ns);
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, (o.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (o.mark) ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &o.mark, sizeof o.mark);
  if (!o.from.empty()) {
    SockAddr a({*IpAddr::parse(o.from), o.from_port});
    if (::bind(fd.get(), a.get(), a.len) < 0) fd.reset();
  }
  return fd;
}

inline std::string call(const NetNs& ns, const std::string& to, CallOptions o = {}) {
  auto where = IpPort::parse(to);
  if (!where) return "bad address " + to;
  UniqueFd fd = open_socket(ns, where->ip.is_v4(), o);
  if (!fd) return "cannot bind " + o.from;
  return exchange(fd.get(), to, o);
}

// The first word of an answer: who answered.
inline std::string who(const std::string& answer) { return answer.substr(0, answer.find(' ')); }

// Opens a TUN device of the namespace made by `ip tuntap add`; reads and writes are whole IP packets.
inline UniqueFd open_tun(const NetNs& ns, const std::string& name) {
  InNs in(ns);
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq r{};
  snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name.c_str());
  r.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(fd.get(), TUNSETIFF, &r) < 0) fd.reset();
  return fd;
}

}  // namespace base::testing
