// How soon a change of a service's endpoints is in the kernel and in DNS, as a client sees it that asks for nothing else.
//   changes WATCH_FD LISTENER_FD VIP PORT DNS NAME
// On its standard input the changes, one after the other: their length (8 digits), "1" when the service can be called after it or "0",
// a blank, and the bytes that are sent on WATCH_FD, the API server's end of the daemon's watch. Then connects follow each other, and
// beside them one query at a time, until both answer as they should; LISTENER_FD is the endpoint's, whose connections are thrown away.
// One line each: milliseconds from the sending to the first right connect, and to the first right DNS answer.
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "load.h"

static constexpr double kLateMs = 5000, kAskAgainMs = 200;
static constexpr useconds_t kPauseUs = 20'000;  // between changes: the daemon is at rest when the next one comes

// Whether somebody took a connection. It is reset at once: no TIME_WAIT, nothing of it stays.
static bool called(const sockaddr_in& vip, int listener) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval soon{0, 50'000};
  linger hard{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  bool taken = connect(fd, (const sockaddr*)&vip, sizeof vip) == 0;
  close(fd);
  if (taken)
    if (int c = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); c >= 0) close(c);
  return taken;
}

struct Names {
  int fd;
  std::string question;
  double asked = 0;  // 0: no query is on its way

  // An answer that has come: whether the name leads somewhere. Asks if nobody has.
  int known() {
    uint8_t b[1500];
    ssize_t n = recv(fd, b, sizeof b, MSG_DONTWAIT);
    if (n >= 12) {
      asked = 0;
      return (b[3] & 15) == 0 && (b[6] || b[7]);
    }
    if (asked == 0 || now_ms() - asked > kAskAgainMs) {
      asked = now_ms();
      (void)!send(fd, question.data(), question.size(), MSG_DONTWAIT);
    }
    return -1;
  }
  void forget() {
    uint8_t b[1500];
    while (recv(fd, b, sizeof b, MSG_DONTWAIT) >= 0) {}
    asked = 0;
  }
};

int main(int argc, char** argv) {
  if (argc != 7) return fprintf(stderr, "changes WATCH_FD LISTENER_FD VIP PORT DNS NAME: see the head of changes.cc\n"), 2;
  int watch = atoi(argv[1]), listener = atoi(argv[2]);
  sockaddr_in vip = address(argv[3], argv[4]), dns = address(argv[5], "53");
  Names names{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), dns_query(argv[6])};
  if (connect(names.fd, (sockaddr*)&dns, sizeof dns)) return perror("dns"), 1;
  sched_param own{.sched_priority = 5};
  sched_setscheduler(0, SCHED_FIFO, &own);  // like the daemon's, where that is allowed
  unsigned length;
  char ready[2];
  while (scanf("%8u%1[01]", &length, ready) == 2 && getchar() == ' ') {
    std::vector<char> event(length);
    if (fread(event.data(), 1, length, stdin) != length) return fprintf(stderr, "half a change\n"), 1;
    bool want = ready[0] == '1';
    usleep(kPauseUs);
    names.forget();
    double begun = now_ms(), kernel = -1, dns_done = -1;
    if (send(watch, event.data(), length, MSG_NOSIGNAL) != ssize_t(length)) return perror("the watch"), 1;
    while (kernel < 0 || dns_done < 0) {
      if (kernel < 0 && called(vip, listener) == want) kernel = now_ms() - begun;
      if (dns_done < 0 && names.known() == int(want)) dns_done = now_ms() - begun;
      if (now_ms() - begun > kLateMs) return fprintf(stderr, "a change was not seen within 5 s\n"), 1;
    }
    printf("%.4f %.4f\n", kernel, dns_done);
  }
  return 0;
}
