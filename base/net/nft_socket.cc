#include "base/net/nft_socket.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/net/nl_attrs.h"

namespace base::detail {
namespace {

std::string kernel_text(const nlmsghdr* h) {  // the extended acknowledgement's sentence, if any
  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS)) return "";
  size_t off = sizeof(nlmsgerr);
  auto* err = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(h));
  if (!(h->nlmsg_flags & NLM_F_CAPPED)) off += err->msg.nlmsg_len - sizeof(nlmsghdr);
  for (const nlattr* a : attrs(h, off)) {
    if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG) return std::string(": ") + mnl_attr_get_str(a);
  }
  return "";
}

struct Spare {
  UniqueFd fd;
  uint64_t netns = 0;
};
thread_local Spare spare;

// A socket is born in the thread's namespace and knows its number (Linux 5.14). Asking /proc takes ten times as long.
uint64_t current_netns() {
  UniqueFd any(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t len = sizeof cookie;
  if (any && ::getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) == 0) return cookie;
  struct stat st{};
  return ::stat("/proc/thread-self/ns/net", &st) == 0 ? uint64_t(st.st_ino) : 0;
}

}  // namespace

std::string mend_of(int err) {
  switch (err) {
    case EPERM:
    case EACCES: return " (needs CAP_NET_ADMIN: run as root or grant the capability)";
    case EPROTONOSUPPORT:
    case EOPNOTSUPP: return " (the kernel lacks nf_tables or one of its modules: modprobe nf_tables nft_nat nft_fib_inet nft_numgen nft_hash)";
    case EMSGSIZE: return " (too large for the socket buffer: needs CAP_NET_ADMIN in the initial namespace, or a larger net.core.wmem_max)";
    default: return "";
  }
}

Result<NfSocket> NfSocket::open() {
  NfSocket s;
  s.netns_ = current_netns();
  if (spare.fd && s.netns_ && s.netns_ == spare.netns) {
    s.fd_ = std::move(spare.fd);
    return s;
  }
  s.fd_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!s.fd_) return fail_errno(errno, "opening a netfilter socket" + mend_of(errno));
  sockaddr_nl a{};
  a.nl_family = AF_NETLINK;
  if (::bind(s.fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) < 0) return fail_errno(errno, "binding a netfilter socket");
  int on = 1, size = 4 << 20;
  ::setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  ::setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  return s;
}

NfSocket::~NfSocket() {
  if (fd_ && is_read_ && netns_) spare = {std::move(fd_), netns_};
}

Result<void> NfSocket::send(ByteView b) {
  is_read_ = false;
  int size = int(b.size() + (64 << 10));
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t n = ::sendto(fd_.get(), b.data(), b.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  if (n < 0) return fail_errno(errno, "sending to netfilter" + mend_of(errno));
  return {};
}

Result<void> NfSocket::read_verdict(const std::function<std::string(uint32_t)>& where, int accept,
                                    const std::function<void(const nlmsghdr*)>& each) {
  alignas(nlmsghdr) char buf[16384];
  bool acked = false;
  for (;;) {
    ssize_t n = ::recv(fd_.get(), buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return fail_errno(errno, "reading netfilter's answer");
    int left = int(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buf); mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
      if (h->nlmsg_type != NLMSG_ERROR) {
        if (each && h->nlmsg_type >= NLMSG_MIN_TYPE) each(h);
        continue;
      }
      int err = -static_cast<nlmsgerr*>(mnl_nlmsg_get_payload(h))->error;
      if (err && err != accept) return fail_errno(err, where(h->nlmsg_seq) + mend_of(err) + kernel_text(h));
      acked = true;
    }
  }
  if (!acked) return fail(Code::io, "{}: the kernel did not confirm the change", where(0));
  is_read_ = true;
  return {};
}

Result<void> NfSocket::send_request(uint16_t type, uint16_t flags, uint8_t family, const std::function<void(nlmsghdr*)>& fill) {
  alignas(nlmsghdr) char req[1024];
  auto* h = mnl_nlmsg_put_header(req);
  h->nlmsg_type = type;
  h->nlmsg_flags = NLM_F_REQUEST | flags;
  h->nlmsg_seq = 1;
  auto* g = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
  *g = {family, NFNETLINK_V0, 0};
  fill(h);
  return send({reinterpret_cast<uint8_t*>(req), h->nlmsg_len});
}

Result<void> NfSocket::dump(uint16_t type, uint8_t family, const std::function<void(nlmsghdr*)>& fill,
                            const std::function<void(const nlmsghdr*)>& each) {
  alignas(nlmsghdr) char buf[65536];
  EM_TRY(send_request(type, NLM_F_DUMP, family, fill));
  for (;;) {
    ssize_t n = ::recv(fd_.get(), buf, sizeof buf, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "reading a netfilter dump");
    int left = int(n);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buf); mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
      if (m->nlmsg_type == NLMSG_DONE) return is_read_ = true, Result<void>();
      if (m->nlmsg_type == NLMSG_ERROR) {
        int err = -static_cast<nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
        return fail_errno(err, "listing netfilter objects" + mend_of(err));
      }
      each(m);
    }
  }
}

Result<void> NfSocket::ask(uint16_t type, uint8_t family, const std::function<void(nlmsghdr*)>& fill,
                           const std::function<void(const nlmsghdr*)>& answer) {
  alignas(nlmsghdr) char buf[16384];
  EM_TRY(send_request(type, NLM_F_ACK, family, fill));
  for (;;) {
    ssize_t n = ::recv(fd_.get(), buf, sizeof buf, MSG_DONTWAIT);  // the kernel answered while it took the request
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "reading netfilter's answer");
    int left = int(n);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buf); mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
      if (m->nlmsg_type != NLMSG_ERROR) {
        answer(m);
        continue;
      }
      int err = -static_cast<nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
      if (err == ENOENT) return fail(Code::not_found, "netfilter knows no such object");
      if (err) return fail_errno(err, "asking netfilter" + mend_of(err));
      is_read_ = true;
      return {};
    }
  }
}

}  // namespace base::detail
