#include "base/net/packet_log.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/net/nft_socket.h"
#include "base/net/nl_attrs.h"
#include "base/net/nl_drain.h"

namespace base {
namespace {

constexpr int kQueueBytes = 256 << 10;
constexpr uint32_t kBatch = 16;         // packets per message at most,
constexpr uint32_t kFlushAfter = 5;     // and at most this long in the kernel, in 1/100 s

nlmsghdr* begin(char* buf, uint16_t group) {
  auto* h = mnl_nlmsg_put_header(buf);
  h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  h->nlmsg_seq = 1;
  auto* g = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
  *g = {AF_UNSPEC, NFNETLINK_V0, htons(group)};
  return h;
}

// Sends, and reads the one acknowledgement (packets of the group may come before it: they are dropped).
Result<void> configure(int fd, const nlmsghdr* h, uint16_t group) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd, h, h->nlmsg_len, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) return fail_errno(errno, "configuring a packet log");
  alignas(nlmsghdr) char buf[8192];
  for (ssize_t n; (n = ::recv(fd, buf, sizeof buf, MSG_DONTWAIT)) > 0;) {
    auto* m = reinterpret_cast<nlmsghdr*>(buf);
    if (!mnl_nlmsg_ok(m, int(n)) || m->nlmsg_type != NLMSG_ERROR) continue;
    int err = -static_cast<nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
    if (err == EBUSY || err == EPERM)
      return fail(Code::exists, "packet log group {}: another program listens there (or CAP_NET_ADMIN is missing)", group);
    if (err) return fail_errno(err, fmt::format("packet log group {}", group) + detail::mend_of(err));
    return {};
  }
  return fail(Code::io, "packet log group {}: the kernel did not answer", group);
}

class Listener final : public PacketLog {
 public:
  Listener(UniqueFd fd, Loop& loop, Hooks hooks) : fd_(std::move(fd)), hooks_(std::move(hooks)) {
    watch_ = loop.watch(fd_.get(), kFdRead, [this](FdEvents) { drain(); });
  }

 private:
  void drain() {
    detail::drain_listener(fd_.get(), NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, [this](const nlmsghdr* h) { one(h); }, [this] { hooks_.on_lost(); });
  }
  void one(const nlmsghdr* h) {
    for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg)))
      if (mnl_attr_get_type(a) == NFULA_PAYLOAD) hooks_.on_packet({static_cast<const uint8_t*>(mnl_attr_get_payload(a)), mnl_attr_get_payload_len(a)});
  }

  UniqueFd fd_;
  Hooks hooks_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace

Result<std::unique_ptr<PacketLog>> PacketLog::start(Loop& loop, uint16_t group, uint32_t bytes, Hooks hooks) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) return fail_errno(errno, "opening a netfilter socket" + detail::mend_of(errno));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kQueueBytes, sizeof kQueueBytes);
  sockaddr_nl a{};
  a.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) < 0) return fail_errno(errno, "binding a netfilter socket");
  alignas(nlmsghdr) char buf[256];
  nlmsghdr* h = begin(buf, group);
  nfulnl_msg_config_cmd cmd{NFULNL_CFG_CMD_BIND};
  mnl_attr_put(h, NFULA_CFG_CMD, sizeof cmd, &cmd);
  nfulnl_msg_config_mode mode{htonl(bytes), NFULNL_COPY_PACKET, 0};
  mnl_attr_put(h, NFULA_CFG_MODE, sizeof mode, &mode);
  mnl_attr_put_u32(h, NFULA_CFG_TIMEOUT, htonl(kFlushAfter));
  mnl_attr_put_u32(h, NFULA_CFG_QTHRESH, htonl(kBatch));
  EM_TRY(configure(fd.get(), h, group));
  return std::unique_ptr<PacketLog>(new Listener(std::move(fd), loop, std::move(hooks)));
}

// Of an IP packet: what is behind its header.
struct Inside {
  uint8_t protocol = 0;
  IpAddr src, dst;
  ByteView rest;
};

static std::optional<Inside> look_inside(ByteView p) {
  if (p.empty()) return std::nullopt;
  bool v4 = p[0] >> 4 == 4, v6 = p[0] >> 4 == 6;
  size_t header = v4 ? size_t(p[0] & 15) * 4 : 40;
  if ((!v4 && !v6) || header < 20 || p.size() < header) return std::nullopt;
  if (v4 && (load_be16(&p[6]) & 0x1fff)) return std::nullopt;  // a later fragment
  if (v4) return Inside{p[9], IpAddr::v4(&p[12]), IpAddr::v4(&p[16]), p.subspan(header)};
  return Inside{p[6], IpAddr::v6(&p[8]), IpAddr::v6(&p[24]), p.subspan(header)};
}

static std::optional<conntrack::Tuple> ends_of(const Inside& in) {
  if (in.rest.size() < 4) return std::nullopt;
  return conntrack::Tuple{{in.src, load_be16(&in.rest[0])}, {in.dst, load_be16(&in.rest[2])}};
}

std::optional<conntrack::Tuple> tcp_tuple(ByteView packet) {
  auto in = look_inside(packet);
  if (!in || in->protocol != uint8_t(Proto::tcp)) return std::nullopt;
  return ends_of(*in);
}

std::optional<Undelivered> undelivered(ByteView packet) {
  constexpr size_t kIcmpHeader = 8;
  constexpr uint8_t kUnreachable4 = 3, kPort4 = 3, kTooBig4 = 4, kUnreachable6 = 1, kPort6 = 4;
  auto error = look_inside(packet);
  if (!error || error->rest.size() < kIcmpHeader) return std::nullopt;
  const bool v4 = error->src.is_v4();
  const uint8_t type = error->rest[0], code = error->rest[1];
  if (error->protocol != uint8_t(v4 ? +IPPROTO_ICMP : +IPPROTO_ICMPV6)) return std::nullopt;
  if (type != (v4 ? kUnreachable4 : kUnreachable6) || (v4 && code == kTooBig4)) return std::nullopt;
  auto about = look_inside(error->rest.subspan(kIcmpHeader));
  if (!about || (about->protocol != uint8_t(Proto::tcp) && about->protocol != uint8_t(Proto::udp))) return std::nullopt;
  auto ends = ends_of(*about);
  if (!ends) return std::nullopt;
  return Undelivered{Proto(about->protocol), *ends, code == (v4 ? kPort4 : kPort6)};
}

}  // namespace base
