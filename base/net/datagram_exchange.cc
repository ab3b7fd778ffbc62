#include "base/net/datagram_exchange.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <vector>

#include "base/net/socket.h"

namespace base {

namespace {

struct alignas(cmsghdr) Control {
  uint8_t bytes[CMSG_SPACE(sizeof(in6_pktinfo))];
};

template <class T>
T* info(msghdr& m, int level, int type) {
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  return c && c->cmsg_level == level && c->cmsg_type == type ? reinterpret_cast<T*>(CMSG_DATA(c)) : nullptr;
}

}  // namespace

struct DatagramExchange::Kernel {
  bool packet_info;
  std::vector<mmsghdr> in, out;
  std::vector<iovec> pieces;
  std::vector<SockAddr> from;
  std::vector<Control> control;
  size_t replies = 0;
  size_t used;  // slots the kernel or a reply wrote to since they were prepared

  Kernel(size_t slots, bool info) : packet_info(info), in(slots), out(slots), pieces(slots), from(slots), control(info ? slots : 0), used(slots) {
    for (size_t i = 0; i < slots; i++) {
      msghdr& m = in[i].msg_hdr;
      m.msg_name = &from[i].s;
      m.msg_iov = &pieces[i];
      m.msg_iovlen = 1;
    }
  }
  void prepare(size_t room) {
    for (size_t i = 0; i < used; i++) {
      in[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
      pieces[i].iov_len = room;
      if (!packet_info) continue;
      in[i].msg_hdr.msg_control = control[i].bytes;
      in[i].msg_hdr.msg_controllen = sizeof control[i].bytes;
    }
    used = 0;
  }
};

// The stride is not a multiple of a page, so that the slots' beginnings spread over the cache.
DatagramExchange::DatagramExchange(size_t slots, size_t room, bool packet_info)
    : room_(room), stride_((room + 63) / 64 * 64 + 64 * 5), memory_(std::make_unique_for_overwrite<uint8_t[]>(slots * stride_)), requests_(slots),
      k_(std::make_unique<Kernel>(slots, packet_info)) {
  for (size_t i = 0; i < slots; i++) k_->pieces[i].iov_base = memory_.get() + i * stride_;
}
DatagramExchange::~DatagramExchange() = default;

Result<size_t> DatagramExchange::receive(int fd) {
  k_->replies = 0;
  k_->prepare(room_);
  for (int icmp = 0;; ++icmp) {  // each queued ICMP error fails one call
    int n = ::recvmmsg(fd, k_->in.data(), unsigned(k_->in.size()), MSG_DONTWAIT, nullptr);
    if (n >= 0) return note(size_t(n));
    if (errno == EAGAIN || errno == EWOULDBLOCK) return size_t(0);
    bool passing = errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH || errno == EMSGSIZE;
    if (!passing || icmp == 64) return fail_errno(errno, "recvmmsg");
  }
}

size_t DatagramExchange::note(size_t n) {
  k_->used = n;
  for (size_t i = 0; i < n; i++) {
    bool whole = !(k_->in[i].msg_hdr.msg_flags & MSG_TRUNC);
    requests_[i] = {memory_.get() + i * stride_, whole ? k_->in[i].msg_len : 0};
  }
  return n;
}

IpPort DatagramExchange::from(size_t i) const { return k_->from[i].ip_port().value_or(IpPort()); }

IpAddr DatagramExchange::local(size_t i) const {
  if (!k_->packet_info) return {};
  if (auto* p = info<in_pktinfo>(k_->in[i].msg_hdr, IPPROTO_IP, IP_PKTINFO)) return IpAddr::v4(reinterpret_cast<uint8_t*>(&p->ipi_addr));
  if (auto* p = info<in6_pktinfo>(k_->in[i].msg_hdr, IPPROTO_IPV6, IPV6_PKTINFO)) return IpAddr::v6(p->ipi6_addr.s6_addr);
  return {};
}

// What the kernel said about the request is what it wants to hear about the reply, but for the interface: routing decides that,
// except for link-local addresses.
void DatagramExchange::reply(size_t i, size_t size) {
  k_->pieces[i].iov_len = size;
  msghdr& m = k_->in[i].msg_hdr;
  if (k_->packet_info) {
    if (auto* p = info<in_pktinfo>(m, IPPROTO_IP, IP_PKTINFO)) p->ipi_spec_dst = p->ipi_addr, p->ipi_ifindex = 0;
    else if (auto* q = info<in6_pktinfo>(m, IPPROTO_IPV6, IPV6_PKTINFO); q && !IN6_IS_ADDR_LINKLOCAL(&q->ipi6_addr)) q->ipi6_ifindex = 0;
  }
  k_->out[k_->replies++].msg_hdr = m;
}

void DatagramExchange::flush(int fd) {
  for (size_t at = 0; at < k_->replies;) {
    int n = ::sendmmsg(fd, &k_->out[at], unsigned(k_->replies - at), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) at += size_t(n);
    else if (errno == EAGAIN || errno == ENOBUFS) break;
    else if (errno != EINTR) at++;  // this one is refused
  }
  k_->replies = 0;
}

}  // namespace base
