// Load for the L4 benches. One server, three kinds of operation:
//   bulk  a stream of 128 KiB writes            (operation: one gigabit)
//   http  a 100-byte request and a 300-byte answer on one connection
//   conn  connect, request, answer, close
// flow server IP PORT            serves until killed, one thread per connection
// flow client IP PORT KIND SECS  prints "operations seconds cpu_seconds"
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "load.h"

constexpr size_t kRequest = 100, kAnswer = 300, kBlock = 128 << 10;
static char block[kBlock];

// The first byte says what kind: 'b' is drained, 'q' is a request.
static void serve(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  char buf[kBlock];
  while (true) {
    ssize_t n = read(fd, buf, sizeof buf);
    if (n <= 0) break;
    if (buf[0] == 'q' && n >= ssize_t(kRequest) && write(fd, block, kAnswer) != ssize_t(kAnswer)) break;
  }
  close(fd);
}

static int run_server(sockaddr_in at) {
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(s, reinterpret_cast<sockaddr*>(&at), sizeof at) || listen(s, 1024)) die("listen");
  puts("ready");
  fflush(stdout);
  while (true) {
    int fd = accept(s, nullptr, nullptr);
    if (fd >= 0) std::thread(serve, fd).detach();
  }
}

static int dial(sockaddr_in at) {
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(s, reinterpret_cast<sockaddr*>(&at), sizeof at)) die("connect");
  return s;
}

static void exchange(int fd) {
  char buf[kAnswer];
  std::string request(kRequest, 'q');
  if (write(fd, request.data(), kRequest) != ssize_t(kRequest)) die("write");
  for (size_t got = 0; got < kAnswer;) {
    ssize_t n = read(fd, buf, sizeof buf);
    if (n <= 0) die("read");
    got += size_t(n);
  }
}

static double run_client(sockaddr_in at, const std::string& kind, double seconds) {
  auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double ops = 0;
  memset(block, 'b', sizeof block);
  int fd = kind == "conn" ? -1 : dial(at);
  while (Clock::now() < end) {
    if (kind == "bulk") {
      ssize_t n = write(fd, block, sizeof block);
      if (n <= 0) die("write");
      ops += double(n) * 8 / 1e9;
      continue;
    }
    if (kind == "conn") fd = dial(at);
    exchange(fd);
    ops += 1;
    if (kind == "conn") {
      linger hard{1, 0};  // no TIME_WAIT: the ports must last
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      close(fd);
    }
  }
  return ops;
}

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 4 && std::string(argv[1]) == "server") return run_server(address(argv[2], argv[3]));
  if (argc != 6) return fprintf(stderr, "flow server IP PORT | flow client IP PORT bulk|http|conn SECONDS\n"), 2;
  auto start = Clock::now();
  double ops = run_client(address(argv[2], argv[3]), argv[4], atof(argv[5]));
  printf("%.4f %.4f %.4f\n", ops, std::chrono::duration<double>(Clock::now() - start).count(), cpu_seconds());
}
