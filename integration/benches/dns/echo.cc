// echo ADDR PORT: the most one server thread can do on this kernel. UDP: recvmmsg, the QR bit set, sendmmsg, 64 at a time. TCP: every
// whole message of a read is sent back in one write.
#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

constexpr int kBatch = 64, kRounds = 16, kConnections = 4096, kSlot = 1296;
constexpr size_t kIn = 1 << 16, kOut = 1 << 18;

struct Connection {
  uint8_t* b = nullptr;
  size_t n = 0;
};

static uint8_t slots[kBatch][kSlot];
static sockaddr_in from[kBatch];
static mmsghdr in[kBatch], out[kBatch];
static iovec pieces[kBatch];
static Connection connections[kConnections];
static uint8_t reply[kOut];

static void echo_udp(int fd) {
  for (int round = 0; round < kRounds; round++) {
    for (int i = 0; i < kBatch; i++) {
      pieces[i].iov_len = 1232;
      in[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    int n = recvmmsg(fd, in, kBatch, MSG_DONTWAIT, nullptr), q = 0;
    for (int i = 0; i < n; i++) {
      if (in[i].msg_len < 12) continue;
      slots[i][2] |= 0x80;
      pieces[i].iov_len = in[i].msg_len;
      out[q++] = in[i];
    }
    for (int done = 0; done < q;) {
      int w = sendmmsg(fd, out + done, unsigned(q - done), 0);
      if (w <= 0) break;
      done += w;
    }
    if (n < kBatch) return;
  }
}

static void accept_all(int listener, int ep) {
  for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
    if (fd >= kConnections) {
      close(fd);
      continue;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[fd] = {static_cast<uint8_t*>(malloc(kIn)), 0};
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = fd;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}

static void echo_tcp(int fd) {
  Connection& c = connections[fd];
  ssize_t got = read(fd, c.b + c.n, kIn - c.n);
  if (got == 0 || (got < 0 && errno != EAGAIN)) {
    free(c.b);
    c = {};
    close(fd);
    return;
  }
  if (got > 0) c.n += size_t(got);
  size_t at = 0;
  while (c.n - at >= 2) {
    size_t size = size_t(c.b[at]) << 8 | c.b[at + 1];
    if (c.n - at < size + 2) break;
    if (size > 2) c.b[at + 4] |= 0x80;
    at += size + 2;
  }
  memcpy(reply, c.b, at);
  memmove(c.b, c.b + at, c.n -= at);
  for (size_t done = 0; done < at;) {
    ssize_t w = write(fd, reply + done, at - done);
    if (w < 0 && errno != EAGAIN) break;
    if (w > 0) done += size_t(w);
  }
}

int main(int, char** argv) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(uint16_t(atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &a.sin_addr);
  int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), buffer = 1 << 22, on = 1;
  for (int o : {SO_RCVBUF, SO_SNDBUF}) setsockopt(udp, SOL_SOCKET, o, &buffer, sizeof buffer);
  setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  for (int fd : {udp, tcp})
    if (bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a)) return perror("bind"), 1;
  if (listen(tcp, 1024)) return perror("listen"), 1;
  for (int i = 0; i < kBatch; i++) {
    pieces[i].iov_base = slots[i];
    in[i].msg_hdr.msg_iov = &pieces[i];
    in[i].msg_hdr.msg_iovlen = 1;
    in[i].msg_hdr.msg_name = &from[i];
  }
  int ep = epoll_create1(0);
  for (int fd : {udp, tcp}) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = fd;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
  for (epoll_event ready[64];;) {
    int n = epoll_wait(ep, ready, 64, -1);
    for (int i = 0; i < n; i++) {
      int fd = ready[i].data.fd;
      fd == udp ? echo_udp(udp) : fd == tcp ? accept_all(tcp, ep) : echo_tcp(fd);
    }
  }
}
