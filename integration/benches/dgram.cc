// Small datagrams for the tunnel's bench: how many per second arrive, and how long one takes there and back.
//   dgram server IP PORT                 serves until killed
//   dgram pps IP PORT SECONDS            datagrams of 64 bytes, as many as go; prints "arrived seconds cpu_seconds"
//   dgram rtt IP PORT SECONDS            one at a time, each 64 bytes there and back; prints "count p50_us p99_us"
// The first byte says what a datagram wants: 'c' to be counted, 'e' an echo, 'z' the count set to 0, 'r' the count.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "load.h"

constexpr size_t kSize = 64, kBatch = 64;
constexpr int kBuffer = 4 << 20;

static int udp_socket() {
  int s = socket(AF_INET, SOCK_DGRAM, 0), room = kBuffer;
  if (s < 0) die("socket");
  setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  setsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  return s;
}

static int serve(sockaddr_in at) {
  int s = udp_socket();
  if (bind(s, reinterpret_cast<sockaddr*>(&at), sizeof at)) die("bind");
  puts("ready");
  fflush(stdout);
  static uint8_t bytes[kBatch][2048];
  static sockaddr_in from[kBatch];
  iovec parts[kBatch];
  mmsghdr m[kBatch] = {};
  for (size_t i = 0; i < kBatch; ++i) {
    parts[i] = {bytes[i], sizeof bytes[i]};
    m[i].msg_hdr.msg_iov = &parts[i];
    m[i].msg_hdr.msg_iovlen = 1;
    m[i].msg_hdr.msg_name = &from[i];
  }
  uint64_t count = 0;
  while (true) {
    for (auto& x : m) x.msg_hdr.msg_namelen = sizeof from[0];
    int n = recvmmsg(s, m, kBatch, MSG_WAITFORONE, nullptr);
    if (n < 0) die("receive");
    for (size_t i = 0; i < size_t(n); ++i) {
      char what = char(bytes[i][0]);
      if (what == 'c') ++count;
      if (what == 'c') continue;
      if (what == 'z') count = 0;
      if (what == 'r') memcpy(bytes[i] + 1, &count, sizeof count);
      sendto(s, bytes[i], m[i].msg_len, 0, reinterpret_cast<sockaddr*>(&from[i]), sizeof from[i]);
    }
  }
}

// Sent until it is answered; -> the count, where that was asked.
static uint64_t ask(int s, char what) {
  uint8_t b[kSize] = {uint8_t(what)};
  timeval patience{0, 300'000};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (int tries = 0; tries < 20; ++tries) {
    send(s, b, sizeof b, 0);
    uint8_t back[kSize];
    while (recv(s, back, sizeof back, 0) == ssize_t(kSize)) {
      if (char(back[0]) != what) continue;
      uint64_t count;
      memcpy(&count, back + 1, sizeof count);
      return count;
    }
  }
  fprintf(stderr, "no answer\n");
  exit(1);
}

static int run_pps(int s, double seconds) {
  ask(s, 'z');
  uint8_t b[kSize] = {'c'};
  iovec part{b, sizeof b};
  std::vector<mmsghdr> m(kBatch);
  for (auto& x : m) {
    x.msg_hdr.msg_iov = &part;
    x.msg_hdr.msg_iovlen = 1;
  }
  auto start = Clock::now(), end = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (Clock::now() < end) sendmmsg(s, m.data(), kBatch, 0);
  double took = std::chrono::duration<double>(Clock::now() - start).count(), cpu = cpu_seconds();
  usleep(200'000);  // what is under way
  printf("%llu %.4f %.4f\n", (unsigned long long)ask(s, 'r'), took, cpu);
  return 0;
}

static int run_rtt(int s, double seconds) {
  ask(s, 'z');
  std::vector<double> us;
  auto end = Clock::now() + std::chrono::duration<double>(seconds);
  uint8_t b[kSize] = {'e'}, back[kSize];
  for (uint64_t i = 0; Clock::now() < end; ++i) {
    memcpy(b + 1, &i, sizeof i);
    auto sent = Clock::now();
    if (send(s, b, sizeof b, 0) != ssize_t(sizeof b)) die("send");
    while (recv(s, back, sizeof back, 0) == ssize_t(kSize) && memcmp(b, back, sizeof b) != 0) {}
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - sent).count());
  }
  std::sort(us.begin(), us.end());
  printf("%zu %.2f %.2f\n", us.size(), us[us.size() / 2], us[us.size() * 99 / 100]);
  return 0;
}

int main(int argc, char** argv) {
  std::string what = argc > 1 ? argv[1] : "";
  if (what == "server" && argc == 4) return serve(address(argv[2], argv[3]));
  if ((what != "pps" && what != "rtt") || argc != 5) return fprintf(stderr, "dgram server IP PORT | dgram pps|rtt IP PORT SECONDS\n"), 2;
  int s = udp_socket();
  sockaddr_in to = address(argv[2], argv[3]);
  if (connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to)) die("connect");
  return what == "pps" ? run_pps(s, atof(argv[4])) : run_rtt(s, atof(argv[4]));
}
