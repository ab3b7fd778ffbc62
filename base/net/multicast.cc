#include "base/net/multicast.h"

#include <netinet/in.h>

#include "base/net/socket.h"

namespace base {
namespace {

constexpr int kIpv6MulticastAll = 29;  // IPV6_MULTICAST_ALL, Linux 4.20; older headers lack it

int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

bool join_v4(int fd, const MulticastSpec& s) {
  ip_mreqn m{};
  std::memcpy(&m.imr_multiaddr, s.group.ip.bytes().data(), 4);
  m.imr_ifindex = s.interface;
  return set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) == 0 && set(fd, IPPROTO_IP, IP_RECVTTL, 1) == 0 &&
         set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255) == 0 && set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0) == 0 &&
         setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m) == 0 && setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m) == 0;
}

bool join_v6(int fd, const MulticastSpec& s) {
  ipv6_mreq m{};
  std::memcpy(&m.ipv6mr_multiaddr, s.group.ip.bytes().data(), 16);
  m.ipv6mr_interface = unsigned(s.interface);
  set(fd, IPPROTO_IPV6, kIpv6MulticastAll, 0);
  return set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0 && set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255) == 0 &&
         set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0) == 0 && set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, s.interface) == 0 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m) == 0;
}

}  // namespace

// Bound to the group and to the device, so that neither what is for this host alone nor what another interface heard comes in.
Result<UniqueFd> multicast_socket(const MulticastSpec& s) {
  bool v4 = s.group.ip.is_v4();
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  auto failed = [&](std::string_view doing) {
    return tl::unexpected(socket_failure(errno, s.group, "udp", fmt::format("{} on {}", doing, s.device)));
  };
  if (!fd) return failed("socket");
  if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, s.device.data(), socklen_t(s.device.size())) != 0) return failed("bind to device");
  if (s.mark && set(fd.get(), SOL_SOCKET, SO_MARK, int(s.mark)) != 0) return failed("SO_MARK");
  if (!v4 && set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) return failed("IPV6_V6ONLY");
  if (set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1) != 0) return failed("SO_REUSEADDR");
  if (!(v4 ? join_v4(fd.get(), s) : join_v6(fd.get(), s))) return failed("join the group");
  SockAddr at(s.group);
  if (!v4) reinterpret_cast<sockaddr_in6*>(&at.s)->sin6_scope_id = uint32_t(s.interface);
  if (::bind(fd.get(), at.ptr(), at.len) != 0) return failed("bind");
  return fd;
}

std::optional<MulticastDatagram> receive_multicast(int fd, MutByteView buffer) {
  SockAddr from;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int)) * 2];
  iovec part{buffer.data(), buffer.size()};
  msghdr m{};
  m.msg_name = from.ptr();
  m.msg_namelen = from.len;
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  ssize_t n = ::recvmsg(fd, &m, 0);
  auto at = n < 0 ? std::nullopt : from.ip_port();
  if (!at) return std::nullopt;
  MulticastDatagram d{*at, 0, size_t(n), (m.msg_flags & MSG_TRUNC) != 0};
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL, v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT;
    if (v4 || v6) std::memcpy(&d.hop_limit, CMSG_DATA(c), sizeof d.hop_limit);
  }
  return d;
}

bool send_multicast(int fd, const MulticastSpec& s, ByteView b) {
  SockAddr to(s.group);
  if (s.group.ip.is_v6()) reinterpret_cast<sockaddr_in6*>(&to.s)->sin6_scope_id = uint32_t(s.interface);
  return ::sendto(fd, b.data(), b.size(), MSG_NOSIGNAL, to.ptr(), to.len) == ssize_t(b.size());
}

}  // namespace base
