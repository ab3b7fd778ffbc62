// Sockets as values: made close-on-exec and non-blocking, bound or connecting, every failure one line that names the address
// and the mend. Long-lived ones are acquired through SocketStore (base/loop/socket_store.h), which calls these.
#pragma once
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/net/addr.h"

namespace base {

// An address in the kernel's form.
struct SockAddr {
  sockaddr_storage s{};
  socklen_t len = sizeof s;
  SockAddr() = default;
  explicit SockAddr(const IpPort&);
  sockaddr* ptr() { return reinterpret_cast<sockaddr*>(&s); }
  const sockaddr* ptr() const { return reinterpret_cast<const sockaddr*>(&s); }
  std::optional<IpPort> ip_port() const;  // none for other families; ::ffff:a.b.c.d is IPv4
};

struct SocketOptions {
  bool reuse_port = false;   // several sockets share the port (one per worker)
  bool freebind = false;     // the address may come later
  bool transparent = false;  // IP_TRANSPARENT: bind to addresses that are not ours (needs NET_ADMIN)
  bool v6_only = true;
  uint32_t mark = 0;         // SO_MARK, 0: none (needs NET_ADMIN)
  int recv_buffer = 0;       // bytes, 0: the kernel's default; beyond rmem_max when privileged
  int send_buffer = 0;
  bool packet_info = false;  // UDP: tell the local address and TOS of each datagram (DatagramBatch)
  bool gro = false;          // UDP: let the kernel join datagrams of one flow
  bool no_fragment = false;  // UDP: set DF; larger datagrams fail with EMSGSIZE
  int backlog = 1024;        // TCP listeners
  std::string device;        // SO_BINDTODEVICE, "": none
};

Result<UniqueFd> udp_socket(const IpPort& bind, const SocketOptions& = {});
Result<UniqueFd> tcp_listen(const IpPort&, const SocketOptions& = {});

struct ConnectOptions {
  uint32_t mark = 0;
  std::optional<IpPort> source;  // port 0: any
};
// A connection on its way: writable when established or refused; then socket_error() tells which.
Result<UniqueFd> tcp_connect_start(const IpPort& to, const ConnectOptions& = {});
enum class ConnectOutcome { connected, refused, unreachable, unanswered, local_trouble };  // the last says nothing about the peer
ConnectOutcome connect_outcome(int fd);  // of a connection on its way, once writable; clears SO_ERROR
Result<UniqueFd> unix_connect_start(const std::string& path);

// For whole IP packets with a source of the caller's choice (needs NET_RAW).
Result<UniqueFd> raw_ip_socket(Family);
// One packet as it is; the kernel fills in nothing but the IPv4 checksum.
Result<void> send_raw_ip(int fd, const IpAddr& to, ByteView packet);

// Replaces a dead socket of that path, never a live one: another daemon's socket is an error.
Result<UniqueFd> unix_listen(const std::string& path, mode_t mode);

Result<UniqueFd> accept_one(int listener, IpPort* peer = nullptr);  // Code::unavailable: nobody is waiting
Result<void> socket_error(int fd, std::string_view what);  // and clears SO_ERROR

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
Result<PeerCredentials> peer_credentials(int unix_fd);

Result<IpPort> local_address(int fd);
Result<IpPort> peer_address(int fd);
Result<IpPort> original_destination(int tcp_fd);  // before a REDIRECT or DNAT of this machine
void set_tcp_nodelay(int fd);                     // of a listener: of all it accepts
// Of a listener: a connection is shown when its first data is there, or without any after that time.
void set_defer_accept(int fd, std::chrono::seconds);
// Takes no more once that many bytes wait in the kernel unsent: what is late should wait where it can be dropped.
void set_tcp_unsent_max(int fd, size_t bytes);
// A peer that is silently gone is noticed: probes after `idle`, every `interval`; dead after three without an answer, or when
// sent data is not acknowledged for that long.
void set_tcp_keepalive(int fd, std::chrono::seconds idle, std::chrono::seconds interval);

// "127.0.0.1:53/udp: address already in use: ..." with what an operator can do about it.
Error socket_failure(int err, const IpPort&, const char* proto, std::string_view doing);

}  // namespace base
