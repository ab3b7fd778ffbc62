// Load at a steady pace, for what must not be noticed: restarts, hand-overs, changes. One result line of numbers each.
//   steady server IP PORT                      echoes whatever comes, until killed; prints "ready"
//   steady dns IP PORT NAME RATE SECONDS       A queries          -> sent lost p99_ms max_ms
//   steady connect IP PORT RATE SECONDS        connect, one byte there and back, close -> started lost p99_ms max_ms
//   steady hold IP PORT COUNT SECONDS          COUNT connections that echo every 20 ms -> opened broken longest_silence_ms
// lost: not answered rightly within 3 s.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

#include "load.h"

static constexpr double kLateMs = 3000;

static void watch(int ep, int fd, uint32_t events, int op = EPOLL_CTL_ADD) {
  epoll_event e{};
  e.events = events;
  e.data.fd = fd;
  epoll_ctl(ep, op, fd, &e);
}
static void print(size_t sent, size_t lost, std::vector<double>& took) {
  std::sort(took.begin(), took.end());
  printf("%zu %zu %.3f %.3f\n", sent, lost, took.empty() ? 0 : took[size_t(double(took.size() - 1) * 0.99)], took.empty() ? 0 : took.back());
}

static int server(sockaddr_in a) {
  int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, ep = epoll_create1(0);
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(l, (sockaddr*)&a, sizeof a) || listen(l, 4096)) return perror("listen"), 1;
  watch(ep, l, EPOLLIN);
  puts("ready"), fflush(stdout);
  epoll_event got[256];
  char buf[4096];
  for (;;)
    for (int i = 0, n = epoll_wait(ep, got, 256, -1); i < n; i++) {
      int fd = got[i].data.fd;
      if (fd == l) {
        for (int c; (c = accept4(l, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) watch(ep, c, EPOLLIN);
        continue;
      }
      ssize_t r = read(fd, buf, sizeof buf);
      if (r > 0) (void)!write(fd, buf, size_t(r));
      else if (r == 0 || errno != EAGAIN) close(fd);
    }
}

static int dns(sockaddr_in to, const char* name, double rate, double seconds) {
  constexpr int kSockets = 16;
  int ep = epoll_create1(0), size = 8 << 20;
  std::vector<int> fds;
  std::map<int, std::map<uint16_t, double>> waiting;  // socket -> id -> sent at
  for (int i = 0; i < kSockets; i++) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    connect(fd, (sockaddr*)&to, sizeof to);
    watch(ep, fd, EPOLLIN);
    fds.push_back(fd);
  }
  std::string q = dns_query(name);
  std::vector<double> took;
  size_t sent = 0, lost = 0, refused = 0;
  double start = now_ms(), end = start + seconds * 1000;
  std::vector<uint16_t> next(kSockets, 0);
  epoll_event got[kSockets];
  for (double t = start; t < end + kLateMs; t = now_ms()) {
    while (t < end && double(sent) < (t - start) / 1000 * rate) {
      size_t i = sent++ % kSockets;
      uint16_t id = next[i]++;
      q[0] = char(id >> 8), q[1] = char(id);
      auto& mine = waiting[fds[i]];
      if (mine.count(id)) lost++;
      if (write(fds[i], q.data(), q.size()) == ssize_t(q.size())) mine[id] = t;
      else lost++, mine.erase(id);
    }
    int n = epoll_wait(ep, got, kSockets, 1);
    for (int i = 0; i < n; i++) {
      uint8_t b[1500];
      for (ssize_t r; (r = recv(got[i].data.fd, b, sizeof b, 0)) != -1;) {
        if (r < 12) continue;
        auto& mine = waiting[got[i].data.fd];
        auto it = mine.find(uint16_t(b[0] << 8 | b[1]));
        if (it == mine.end()) continue;
        if ((b[3] & 15) || !b[7]) refused++;
        else took.push_back(now_ms() - it->second);
        mine.erase(it);
      }
    }
    if (t > end) {
      size_t open = 0;
      for (auto& [fd, m] : waiting) open += m.size();
      if (!open) break;
    }
  }
  for (auto& [fd, m] : waiting) lost += m.size();
  print(sent, lost + refused, took);
  return 0;
}

static int connects(sockaddr_in to, double rate, double seconds) {
  int ep = epoll_create1(0);
  std::map<int, double> open;
  std::vector<double> took;
  size_t sent = 0, lost = 0;
  double start = now_ms(), end = start + seconds * 1000;
  epoll_event got[512];
  linger hard{1, 0};
  for (double t = start; t < end + kLateMs && (t < end || !open.empty()); t = now_ms()) {
    while (t < end && double(sent) < (t - start) / 1000 * rate) {
      sent++;
      int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);  // no TIME_WAIT: ports would run out
      if (fd < 0 || (connect(fd, (sockaddr*)&to, sizeof to) && errno != EINPROGRESS)) {
        lost++, close(fd);
        continue;
      }
      open[fd] = t;
      watch(ep, fd, EPOLLOUT);
    }
    for (int i = 0, n = epoll_wait(ep, got, 512, 1); i < n; i++) {
      int fd = got[i].data.fd;
      char b = 'x';
      if (!(got[i].events & (EPOLLERR | EPOLLHUP)) && (got[i].events & EPOLLOUT) && write(fd, &b, 1) == 1) {
        watch(ep, fd, EPOLLIN, EPOLL_CTL_MOD);
        continue;
      }
      if (read(fd, &b, 1) == 1) took.push_back(now_ms() - open[fd]);
      else lost++;
      open.erase(fd);
      close(fd);
    }
  }
  print(sent, lost + open.size(), took);
  return 0;
}

static int hold(sockaddr_in to, int count, double seconds) {
  int ep = epoll_create1(0);
  std::map<int, double> heard;
  size_t broken = 0;
  double longest = 0;
  for (int i = 0; i < count; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (sockaddr*)&to, sizeof to)) return perror("connect"), 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    heard[fd] = now_ms();
    watch(ep, fd, EPOLLIN);
  }
  puts("ready"), fflush(stdout);
  double end = now_ms() + seconds * 1000, beat = 0;
  epoll_event got[512];
  while (now_ms() < end) {
    double t = now_ms();
    if (t >= beat) {
      for (auto& [fd, at] : heard) (void)!send(fd, "x", 1, MSG_NOSIGNAL);
      beat = t + 20;
    }
    for (int i = 0, n = epoll_wait(ep, got, 512, 5); i < n; i++) {
      int fd = got[i].data.fd;
      char b[4096];
      ssize_t r = read(fd, b, sizeof b);
      if (r > 0) {
        longest = std::max(longest, now_ms() - heard[fd]);
        heard[fd] = now_ms();
      } else if (r == 0 || errno != EAGAIN) {
        broken++, heard.erase(fd), close(fd);
      }
    }
  }
  for (auto& [fd, at] : heard) broken += now_ms() - at > kLateMs;
  printf("%d %zu %.1f\n", count, broken, longest);
  return 0;
}

int main(int argc, char** argv) {
  rlimit r{65536, 65536};
  setrlimit(RLIMIT_NOFILE, &r);
  std::string kind = argc > 3 ? argv[1] : "";
  if (kind == "server" && argc == 4) return server(address(argv[2], argv[3]));
  if (kind == "dns" && argc == 7) return dns(address(argv[2], argv[3]), argv[4], atof(argv[5]), atof(argv[6]));
  if (kind == "connect" && argc == 6) return connects(address(argv[2], argv[3]), atof(argv[4]), atof(argv[5]));
  if (kind == "hold" && argc == 6) return hold(address(argv[2], argv[3]), atoi(argv[4]), atof(argv[5]));
  fprintf(stderr, "steady server|dns|connect|hold: see the head of steady.cc\n");
  return 2;
}
