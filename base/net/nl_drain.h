// Reading a netlink listener dry, a bounded number of messages per turn; the level-triggered watch comes again for the rest.
// Internal to base/net.
#pragma once
#include <libmnl/libmnl.h>
#include <sys/socket.h>

#include <cerrno>

namespace base::detail {

// on_message for each message of that type; on_lost when the kernel dropped some because we were slow.
template <class OnMessage, class OnLost>
void drain_listener(int fd, uint16_t type, OnMessage on_message, OnLost on_lost) {
  constexpr int kReadsPerTurn = 64;
  alignas(nlmsghdr) char buf[16384];
  for (int i = 0; i < kReadsPerTurn; i++) {
    ssize_t n = ::recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ENOBUFS) {
      on_lost();
      continue;
    }
    if (n < 0) return;
    int left = int(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buf); mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
      if (h->nlmsg_type == type) on_message(h);
  }
}

}  // namespace base::detail
