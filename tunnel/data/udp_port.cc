#include "tunnel/data/udp_port.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cstring>

#include "base/core/log.h"
#include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

constexpr size_t kSegmentsMax = 64;    // UDP_MAX_SEGMENTS of every kernel that has GSO

// Control messages of one send, built in place.
class Ancillary {
 public:
  explicit Ancillary(msghdr& m) : m_(m) {
    m_.msg_control = space_;
    m_.msg_controllen = 0;
  }
  template <class T>
  void add(int level, int type, const T& value) {
    auto* h = reinterpret_cast<cmsghdr*>(space_ + m_.msg_controllen);
    h->cmsg_level = level;
    h->cmsg_type = type;
    h->cmsg_len = CMSG_LEN(sizeof value);
    memcpy(CMSG_DATA(h), &value, sizeof value);
    m_.msg_controllen += CMSG_SPACE(sizeof value);
  }
  void add_source(const Endpoint& e) {
    if (e.local.is_any()) return;
    if (e.v6) {
      in6_pktinfo i{};
      memcpy(&i.ipi6_addr, e.local.bytes().data(), 16);
      add(IPPROTO_IPV6, IPV6_PKTINFO, i);
    } else {
      in_pktinfo i{};
      memcpy(&i.ipi_spec_dst, e.local.bytes().data(), 4);
      add(IPPROTO_IP, IP_PKTINFO, i);
    }
  }
  void add_ttl(bool v6, uint8_t ttl) {
    if (ttl) add(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HOPLIMIT : IP_TTL, int(ttl));
  }
  void add_ecn(bool v6, uint8_t ecn) {
    if (ecn) add(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, int(ecn));
  }

 private:
  msghdr& m_;
  alignas(cmsghdr) char space_[128] = {};
};

// The worker of a datagram is its receive index modulo the workers, so that a lane's replay window has one owner; all else goes
// to worker 0. Classic BPF over the UDP payload: DATA's index ends at byte 7, within a relay frame four bytes later.
base::Result<void> steer(int fd, size_t workers) {
  constexpr uint32_t kData = uint32_t(PacketType::data), kRelay = uint32_t(PacketType::relay_data);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kData, 5, 0),   // to 7
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kRelay, 0, 7),  // else to 10
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kRelayHeaderBytes),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kData, 0, 5),   // else to 10
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kRelayHeaderBytes + 7),
      BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 7),              // 7
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, uint32_t(workers)),
      BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
      BPF_STMT(BPF_LD | BPF_IMM, 0),                      // 10
      BPF_STMT(BPF_RET | BPF_A, 0),
  };
  sock_fprog p{sizeof program / sizeof program[0], program};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &p, sizeof p) == 0) return {};
  return base::fail_errno(errno, "tunnel: steer datagrams to workers");
}

base::Result<base::UniqueFd> open_family(const base::IpPort& at, const UdpPort::Config& c, base::SocketStore* store) {
  base::SocketOptions o;
  o.reuse_port = c.workers > 1;
  o.mark = c.mark;
  o.recv_buffer = o.send_buffer = c.buffer_bytes;
  o.gro = true;
  o.no_fragment = true;
  auto open = [&] { return base::udp_socket(at, o); };
  bool v6 = at.ip.is_v6();
  EM_TRY_ASSIGN(base::UniqueFd fd, store ? store->acquire(fmt::format("tunnel-udp{}-{}", v6 ? 6 : 4, c.worker), open) : open());
  int one = 1;  // outer ECN (RFC 6040)
  setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? int(IPV6_RECVTCLASS) : int(IP_RECVTOS), &one, sizeof one);
  if (c.workers > 1 && c.worker == 0) EM_TRY(steer(fd.get(), c.workers));
  return fd;
}

}  // namespace

Endpoint::Endpoint(const PathAddr& p) : to(p.remote), local(p.local), v6(p.remote.ip.is_v6()), channel(p.relay_channel) {}

base::Result<std::shared_ptr<UdpPort>> UdpPort::open(Config c, base::SocketStore* store) {
  auto port = std::make_shared<UdpPort>();
  port->id_ = c.id;
  for (auto& on : port->gso_) on = c.gso;
  for (base::IpPort at : c.listen) {
    bool v6 = at.ip.is_v6();
    if (at.port == 0) at.port = port->port_;  // the second family takes the port the first one got
    auto fd = open_family(at, c, store);
    if (!fd && fd.error().code == base::Code::unsupported && c.listen.size() > 1) {
      EM_LOG(warn, "tunnel", "{}", fd.error().what);
      continue;
    }
    if (!fd) return tl::unexpected(fd.error());
    EM_TRY_ASSIGN(base::IpPort got, base::local_address(fd->get()));
    port->port_ = got.port;
    port->fds_[v6] = std::move(*fd);
  }
  return port;
}

std::shared_ptr<UdpPort> UdpPort::through(RecordSink sink, uint32_t id) {
  auto port = std::make_shared<UdpPort>();
  port->id_ = id;
  port->sink_ = std::move(sink);
  return port;
}

int UdpPort::send(const Endpoint& e, base::ByteView arena, size_t segment, uint8_t ecn, uint8_t ttl) {
  if (sink_) {
    for (size_t at = 0; at < arena.size(); at += segment) sink_(arena.subspan(at, std::min(segment, arena.size() - at)));
    return 0;
  }
  int fd = fds_[e.v6].get();
  if (fd < 0) return EAFNOSUPPORT;
  bool many = arena.size() > segment;
  if (many && !gso_[e.v6].load(std::memory_order_relaxed)) return send_singly(e, arena, segment, ecn);
  iovec iov{const_cast<uint8_t*>(arena.data()), arena.size()};
  msghdr m{};
  m.msg_name = const_cast<sockaddr*>(e.to.ptr());
  m.msg_namelen = e.to.len;
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  Ancillary a(m);
  if (many) a.add(SOL_UDP, UDP_SEGMENT, uint16_t(segment));
  a.add_ecn(e.v6, ecn);
  a.add_ttl(e.v6, ttl);
  a.add_source(e);
  if (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
  int err = errno;
  if (!many || (err != EIO && err != EINVAL)) return err;
  int single = send_singly(e, arena, segment, ecn);
  if (single == 0) {  // so it was the batching and not the size or the address
    gso_[e.v6].store(false, std::memory_order_relaxed);
    EM_LOG(warn, "tunnel", "udp{}: the kernel refuses segmentation offload ({}); sending datagrams one by one, at several times the CPU",
           e.v6 ? 6 : 4, std::generic_category().message(err));
  }
  return single;
}

int UdpPort::send_singly(const Endpoint& e, base::ByteView arena, size_t segment, uint8_t ecn) {
  mmsghdr messages[kSegmentsMax];
  iovec parts[kSegmentsMax];
  msghdr common{};
  Ancillary a(common);
  a.add_ecn(e.v6, ecn);
  a.add_source(e);
  common.msg_name = const_cast<sockaddr*>(e.to.ptr());
  common.msg_namelen = e.to.len;
  common.msg_iovlen = 1;
  unsigned n = 0, sent = 0;
  for (size_t at = 0; at < arena.size() && n < kSegmentsMax; at += segment, ++n) {
    parts[n] = {const_cast<uint8_t*>(arena.data()) + at, std::min(segment, arena.size() - at)};
    messages[n] = {common, 0};
    messages[n].msg_hdr.msg_iov = &parts[n];
  }
  while (sent < n) {
    int r = sendmmsg(fds_[e.v6].get(), messages + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r <= 0) return errno;
    sent += unsigned(r);
  }
  return 0;
}

}  // namespace tunnel
