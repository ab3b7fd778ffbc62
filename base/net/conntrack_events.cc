#include "base/net/conntrack_events.h"

#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_compat.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/net/conntrack_message.h"
#include "base/net/nft_socket.h"
#include "base/net/nl_drain.h"

namespace base::conntrack {
namespace {

constexpr size_t kAttributesAt = sizeof(nlmsghdr) + sizeof(nfgenmsg);

// Passes messages whose CTA_STATUS says: destination rewritten, no answer seen (and those without a status).
Result<void> attach_filter(int fd) {
  constexpr uint32_t kNlattr = uint32_t(SKF_AD_OFF + SKF_AD_NLATTR);  // A = offset of the attribute of type X behind offset A
  sock_filter code[] = {
      {BPF_LD | BPF_IMM, 0, 0, kAttributesAt},
      {BPF_LDX | BPF_IMM, 0, 0, CTA_STATUS},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, kNlattr},
      {BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 0},
      {BPF_MISC | BPF_TAX, 0, 0, 0},
      {BPF_LD | BPF_W | BPF_IND, 0, 0, sizeof(nlattr)},
      {BPF_ALU | BPF_AND | BPF_K, 0, 0, IPS_DST_NAT | IPS_SEEN_REPLY},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, IPS_DST_NAT},
      {BPF_RET | BPF_K, 0, 0, 0xffffffff},
      {BPF_RET | BPF_K, 0, 0, 0},
  };
  sock_fprog program{sizeof code / sizeof *code, code};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) return fail_errno(errno, "filtering connection events");
  return {};
}

class Listener final : public UnansweredEvents {
 public:
  Listener(UniqueFd fd, Loop& loop, Hooks hooks) : fd_(std::move(fd)), hooks_(std::move(hooks)) {
    watch_ = loop.watch(fd_.get(), kFdRead, [this](FdEvents) { drain(); });
  }

 private:
  void drain() {
    detail::drain_listener(fd_.get(), NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, [this](const nlmsghdr* h) { one(h); }, [this] { hooks_.on_lost(); });
  }
  void one(const nlmsghdr* h) {
    auto e = parse(h);
    if (e && e->proto == Proto::tcp && e->is_dnat() && !e->is_answered()) hooks_.on_end(*e);
  }

  UniqueFd fd_;
  Hooks hooks_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace

Result<std::unique_ptr<UnansweredEvents>> UnansweredEvents::start(Loop& loop, Hooks hooks, int queue_bytes) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) return fail_errno(errno, "opening a netfilter socket" + detail::mend_of(errno));
  EM_TRY(attach_filter(fd.get()));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &queue_bytes, sizeof queue_bytes);
  sockaddr_nl a{};
  a.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) < 0) return fail_errno(errno, "watching connections");
  int group = NFNLGRP_CONNTRACK_DESTROY;
  if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
    return fail_errno(errno, "watching connections" + detail::mend_of(errno));
  return std::unique_ptr<UnansweredEvents>(new Listener(std::move(fd), loop, std::move(hooks)));
}

}  // namespace base::conntrack
