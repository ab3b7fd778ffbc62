#include "base/net/socket.h"

#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace base {
namespace {

constexpr int kIp6tOriginalDst = 80;  // IP6T_SO_ORIGINAL_DST; its header does not compile as C++

int set_int(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

// SO_*BUFFORCE first: it is not bound by rmem_max but needs NET_ADMIN.
void set_buffer(int fd, int forced, int plain, int bytes) {
  if (bytes > 0 && set_int(fd, SOL_SOCKET, forced, bytes) != 0) set_int(fd, SOL_SOCKET, plain, bytes);
}

struct Option {
  bool wanted;
  int level, name, value;
  const char* text;
};

Result<void> apply(int fd, std::initializer_list<Option> options, const IpPort& at, const char* proto) {
  for (const Option& o : options)
    if (o.wanted && set_int(fd, o.level, o.name, o.value) != 0) return tl::unexpected(socket_failure(errno, at, proto, o.text));
  return {};
}

Result<UniqueFd> open_socket(const IpPort& at, int type, const char* proto) {
  int family = at.ip.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return tl::unexpected(socket_failure(errno, at, proto, "socket"));
  return fd;
}

Result<void> common_options(int fd, const IpPort& at, const SocketOptions& o, const char* proto) {
  bool v6 = at.ip.is_v6();
  EM_TRY(apply(fd,
               {{v6, IPPROTO_IPV6, IPV6_V6ONLY, o.v6_only, "IPV6_V6ONLY"},
                {o.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"},
                {o.mark != 0, SOL_SOCKET, SO_MARK, int(o.mark), "SO_MARK"},
                {o.freebind, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, 1, "FREEBIND"},
                {o.transparent, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1, "TRANSPARENT"}},
               at, proto));
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o.recv_buffer);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, o.send_buffer);
  if (o.device.empty()) return {};
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o.device.data(), socklen_t(o.device.size())) == 0) return {};
  return tl::unexpected(socket_failure(errno, at, proto, "bind to device " + o.device));
}

Result<void> bind_to(int fd, const IpPort& at, const char* proto) {
  SockAddr a(at);
  if (::bind(fd, a.ptr(), a.len) == 0) return {};
  return tl::unexpected(socket_failure(errno, at, proto, "bind"));
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.size() >= sizeof a.sun_path)
    return fail(Code::invalid, "{}: a unix socket path has at most {} characters", path, sizeof a.sun_path - 1);
  path.copy(a.sun_path, path.size());
  return a;
}

Result<UniqueFd> unix_socket(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, path + ": socket");
  return fd;
}

const char* mend_of(int err, const IpPort& at) {
  switch (err) {
    case EADDRINUSE: return at.port == 53 ? ": another DNS server runs there" : ": another program holds it";
    case EADDRNOTAVAIL: return ": no interface has this address (ip addr)";
    case EACCES: return at.port > 0 && at.port < 1024 ? ": ports below 1024 need CAP_NET_BIND_SERVICE" : ": not permitted";
    case EPERM: return ": needs CAP_NET_ADMIN";
    case ENETUNREACH: return ": no route to it (ip route get)";
    case EAFNOSUPPORT: return at.ip.is_v6() ? ": IPv6 is off on this host" : "";
    case EMFILE: return ": too many open files (LimitNOFILE=)";
    default: return "";
  }
}

Code code_of(int err) {
  switch (err) {
    case EADDRINUSE: return Code::exists;
    case EACCES: case EPERM: return Code::denied;
    case ECONNREFUSED: case ENETUNREACH: case EHOSTUNREACH: case EAGAIN: return Code::unavailable;
    case ETIMEDOUT: return Code::timeout;
    case EMFILE: case ENFILE: return Code::limit;
    case EAFNOSUPPORT: return Code::unsupported;
    default: return Code::io;
  }
}

template <class Get>
Result<IpPort> address_of(Get get, const char* what) {
  SockAddr a;
  if (get(a) != 0) return fail_errno(errno, what);
  if (auto p = a.ip_port()) return *p;
  return fail(Code::unsupported, "{}: not an IP socket", what);
}

}  // namespace

SockAddr::SockAddr(const IpPort& p) {
  if (p.ip.is_v4()) {
    auto* a = reinterpret_cast<sockaddr_in*>(&s);
    a->sin_family = AF_INET;
    a->sin_port = htons(p.port);
    std::memcpy(&a->sin_addr, p.ip.bytes().data(), 4);
    len = sizeof *a;
  } else {
    auto* a = reinterpret_cast<sockaddr_in6*>(&s);
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(p.port);
    std::memcpy(&a->sin6_addr, p.ip.bytes().data(), 16);
    len = sizeof *a;
  }
}

std::optional<IpPort> SockAddr::ip_port() const {
  if (s.ss_family == AF_INET) {
    auto* a = reinterpret_cast<const sockaddr_in*>(&s);
    return IpPort{IpAddr::v4(reinterpret_cast<const uint8_t*>(&a->sin_addr)), ntohs(a->sin_port)};
  }
  if (s.ss_family != AF_INET6) return std::nullopt;
  auto* a = reinterpret_cast<const sockaddr_in6*>(&s);
  const uint8_t* b = a->sin6_addr.s6_addr;
  bool mapped = IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
  return IpPort{mapped ? IpAddr::v4(b + 12) : IpAddr::v6(b), ntohs(a->sin6_port)};
}

Error socket_failure(int err, const IpPort& at, const char* proto, std::string_view doing) {
  std::string find;
  if (err == EADDRINUSE) find = fmt::format(" (ss -l{}np 'sport = :{}')", proto[0], at.port);
  return {code_of(err), fmt::format("{}/{}: {}: {}{}{}", at.str(), proto, doing, std::generic_category().message(err), mend_of(err, at), find)};
}

Result<UniqueFd> udp_socket(const IpPort& at, const SocketOptions& o) {
  EM_TRY_ASSIGN(UniqueFd fd, open_socket(at, SOCK_DGRAM, "udp"));
  EM_TRY(common_options(fd.get(), at, o, "udp"));
  bool v6 = at.ip.is_v6(), v4 = !v6;
  EM_TRY(apply(fd.get(),
               {{o.packet_info && v4, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"},
                {o.packet_info && v4, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS"},
                {o.packet_info && v6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
                {o.packet_info && v6, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS"},
                {o.no_fragment && v4, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER"},
                {o.no_fragment && v6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER"}},
               at, "udp"));
  if (o.gro) set_int(fd.get(), SOL_UDP, UDP_GRO, 1);  // Linux 5.0; without it datagrams only come one by one
  EM_TRY(bind_to(fd.get(), at, "udp"));
  return fd;
}

Result<UniqueFd> tcp_listen(const IpPort& at, const SocketOptions& o) {
  EM_TRY_ASSIGN(UniqueFd fd, open_socket(at, SOCK_STREAM, "tcp"));
  EM_TRY(common_options(fd.get(), at, o, "tcp"));
  EM_TRY(apply(fd.get(), {{true, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"}}, at, "tcp"));
  EM_TRY(bind_to(fd.get(), at, "tcp"));
  if (::listen(fd.get(), o.backlog) != 0) return tl::unexpected(socket_failure(errno, at, "tcp", "listen"));
  return fd;
}

Result<UniqueFd> tcp_connect_start(const IpPort& to, const ConnectOptions& o) {
  EM_TRY_ASSIGN(UniqueFd fd, open_socket(to, SOCK_STREAM, "tcp"));
  EM_TRY(apply(fd.get(), {{o.mark != 0, SOL_SOCKET, SO_MARK, int(o.mark), "SO_MARK"}}, to, "tcp"));
  if (o.source) EM_TRY(bind_to(fd.get(), *o.source, "tcp"));
  set_tcp_nodelay(fd.get());
  SockAddr a(to);
  if (::connect(fd.get(), a.ptr(), a.len) == 0 || errno == EINPROGRESS) return fd;
  return tl::unexpected(socket_failure(errno, to, "tcp", "connect"));
}

Result<UniqueFd> unix_connect_start(const std::string& path) {
  EM_TRY_ASSIGN(sockaddr_un a, unix_address(path));
  EM_TRY_ASSIGN(UniqueFd fd, unix_socket(path));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 || errno == EINPROGRESS) return fd;
  int err = errno;
  if (err == ENOENT || err == ECONNREFUSED) return fail(Code::unavailable, "{}: nobody listens there: is edgemeshd running?", path);
  if (err == EACCES) return fail(Code::denied, "{}: permission denied: run as root or join the socket's group", path);
  return fail_errno(err, path + ": connect");
}

Result<UniqueFd> raw_ip_socket(Family family) {
  UniqueFd fd(::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  if (fd) return fd;
  if (errno == EPERM) return fail(Code::denied, "raw IP socket: not permitted; needs CAP_NET_RAW");
  return fail_errno(errno, "raw IP socket");
}

Result<void> send_raw_ip(int fd, const IpAddr& to, ByteView packet) {
  SockAddr at(IpPort{to, 0});
  if (::sendto(fd, packet.data(), packet.size(), MSG_NOSIGNAL, at.ptr(), at.len) < 0) return fail_errno(errno, "raw IP packet to " + to.str());
  return {};
}

Result<UniqueFd> unix_listen(const std::string& path, mode_t mode) {
  EM_TRY_ASSIGN(sockaddr_un a, unix_address(path));
  if (auto live = unix_connect_start(path)) return fail(Code::exists, "{}: another daemon listens there", path);
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return fail(Code::exists, "{}: exists and is not a socket: remove it or choose another path", path);
    ::unlink(path.c_str());  // a dead predecessor's
  }
  EM_TRY_ASSIGN(UniqueFd fd, unix_socket(path));
  ::fchmod(fd.get(), mode);  // the file is born with this mode: no moment in which others may connect
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return fail_errno(errno, path + ": bind");
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, path + ": chmod");
  if (::listen(fd.get(), 128) != 0) return fail_errno(errno, path + ": listen");
  return fd;
}

Result<UniqueFd> accept_one(int listener, IpPort* peer) {
  for (;;) {
    SockAddr a;
    UniqueFd fd(::accept4(listener, peer ? a.ptr() : nullptr, peer ? &a.len : nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd && peer) *peer = a.ip_port().value_or(IpPort());
    if (fd) return fd;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    int err = errno;
    return tl::unexpected(Error{code_of(err), "accept: " + std::generic_category().message(err)});
  }
}

Result<void> socket_error(int fd, std::string_view what) {
  int err = 0;
  socklen_t len = sizeof err;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) err = errno;
  if (err == 0) return {};
  return tl::unexpected(Error{code_of(err), fmt::format("{}: {}", what, std::generic_category().message(err))});
}

ConnectOutcome connect_outcome(int fd) {
  int err = 0;
  socklen_t len = sizeof err;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) err = errno;
  switch (err) {
    case 0: return ConnectOutcome::connected;
    case ECONNREFUSED: case ECONNRESET: return ConnectOutcome::refused;
    case EHOSTUNREACH: case ENETUNREACH: case EHOSTDOWN: case ENOPROTOOPT: return ConnectOutcome::unreachable;
    case ETIMEDOUT: return ConnectOutcome::unanswered;
    default: return ConnectOutcome::local_trouble;
  }
}

Result<PeerCredentials> peer_credentials(int fd) {
  ucred c;
  socklen_t len = sizeof c;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) != 0) return fail_errno(errno, "SO_PEERCRED");
  return PeerCredentials{c.pid, c.uid, c.gid};
}

Result<IpPort> local_address(int fd) {
  return address_of([fd](SockAddr& a) { return ::getsockname(fd, a.ptr(), &a.len); }, "getsockname");
}

Result<IpPort> peer_address(int fd) {
  return address_of([fd](SockAddr& a) { return ::getpeername(fd, a.ptr(), &a.len); }, "getpeername");
}

Result<IpPort> original_destination(int fd) {
  EM_TRY_ASSIGN(IpPort local, local_address(fd));
  int level = local.ip.is_v4() ? int(IPPROTO_IP) : int(IPPROTO_IPV6);
  int name = local.ip.is_v4() ? SO_ORIGINAL_DST : kIp6tOriginalDst;
  return address_of([=](SockAddr& a) { return ::getsockopt(fd, level, name, a.ptr(), &a.len); },
                    "original destination (not redirected by this host, or conntrack is off)");
}

void set_tcp_nodelay(int fd) { set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); }
void set_defer_accept(int fd, std::chrono::seconds most) { set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, int(most.count())); }
void set_tcp_unsent_max(int fd, size_t bytes) { set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, int(bytes)); }

void set_tcp_keepalive(int fd, std::chrono::seconds idle, std::chrono::seconds interval) {
  constexpr int kProbes = 3;
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, int(idle.count()));
  set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, int(interval.count()));
  set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, int((idle + kProbes * interval).count()) * 1000);
}

}  // namespace base
