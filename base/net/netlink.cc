#include "base/net/netlink.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/core/log.h"
#include "base/core/unique_fd.h"
#include "base/net/nft_socket.h"

namespace base::netlink {
namespace {

struct MsgFree { void operator()(nl_msg* m) const { nlmsg_free(m); } };
struct SockFree { void operator()(nl_sock* s) const { nl_socket_free(s); } };
using Msg = std::unique_ptr<nl_msg, MsgFree>;

uint8_t af(Family f) { return f == Family::v4 ? AF_INET : AF_INET6; }

// A rtnetlink socket for one request at a time.
class Socket {
 public:
  static Result<Socket> open() {
    Socket s;
    s.s_.reset(nl_socket_alloc());
    if (!s.s_) return fail(Code::limit, "rtnetlink: out of memory");
    if (int e = nl_connect(s.s_.get(), NETLINK_ROUTE); e < 0) return fail(Code::io, "rtnetlink: {}", nl_geterror(e));
    nl_socket_disable_seq_check(s.s_.get());
    return s;
  }
  // Sends and waits for the end; each() sees every data message. Gives the kernel's errno, 0 for success.
  int talk(nl_msg* m, const std::function<void(nlmsghdr*)>& each = {}) {
    if (nl_send_auto(s_.get(), m) < 0) return errno ? errno : EIO;
    State st{each};
    std::unique_ptr<nl_cb, void (*)(nl_cb*)> cb(nl_cb_alloc(NL_CB_DEFAULT), nl_cb_put);
    nl_cb_set(cb.get(), NL_CB_VALID, NL_CB_CUSTOM, on_valid, &st);
    nl_cb_set(cb.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &st);
    nl_cb_set(cb.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &st);
    nl_cb_err(cb.get(), NL_CB_CUSTOM, on_error, &st);
    while (!st.done && !st.err)
      if (nl_recvmsgs(s_.get(), cb.get()) < 0 && !st.err) return EIO;
    return st.err;
  }

 private:
  struct State {
    const std::function<void(nlmsghdr*)>& each;
    bool done = false;
    int err = 0;
  };
  static int on_valid(nl_msg* m, void* p) {
    auto* st = static_cast<State*>(p);
    if (st->each) st->each(nlmsg_hdr(m));
    return NL_OK;
  }
  static int on_end(nl_msg*, void* p) {
    static_cast<State*>(p)->done = true;
    return NL_STOP;
  }
  static int on_error(sockaddr_nl*, nlmsgerr* e, void* p) {
    static_cast<State*>(p)->err = -e->error;
    return NL_STOP;
  }
  std::unique_ptr<nl_sock, SockFree> s_;
};

// Many requests that are answered with one message each, kAtOnce to a system call: a thousand routes by one request each are most of a
// start. The answers of one call fit the receive buffer: they are made while it is sent.
class ManySocket {
 public:
  static constexpr size_t kAtOnce = 32, kAnswerMax = 4096;

  static Result<ManySocket> open() {
    ManySocket s;
    s.fd_ = UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!s.fd_) return fail_errno(errno, "rtnetlink");
    const int bytes = 1 << 20;
    if (::setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
      ::setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return s;
  }
  // ask(i) makes request i of n; answer(i, m) sees what the kernel says to it, errors as NLMSG_ERROR.
  Result<void> talk(size_t n, const std::function<nl_msg*(size_t)>& ask, const std::function<void(size_t, nlmsghdr*)>& answer) {
    for (size_t from = 0; from < n; from += kAtOnce) EM_TRY(some(from, std::min(from + kAtOnce, n), ask, answer));
    return {};
  }

 private:
  Result<void> some(size_t from, size_t to, const std::function<nl_msg*(size_t)>& ask,
                    const std::function<void(size_t, nlmsghdr*)>& answer) {
    out_.clear();
    for (size_t i = from; i < to; ++i) {
      Msg m(ask(i));
      nlmsghdr* h = nlmsg_hdr(m.get());
      h->nlmsg_seq = uint32_t(i + 1);
      out_.insert(out_.end(), reinterpret_cast<uint8_t*>(h), reinterpret_cast<uint8_t*>(h) + h->nlmsg_len);
      out_.resize(NLMSG_ALIGN(out_.size()));
    }
    if (::send(fd_.get(), out_.data(), out_.size(), 0) != ssize_t(out_.size())) return fail_errno(errno, "rtnetlink");
    for (size_t left = to - from; left > 0;) EM_TRY(hear(from, to, left, answer));
    return {};
  }
  Result<void> hear(size_t from, size_t to, size_t& left, const std::function<void(size_t, nlmsghdr*)>& answer) {
    mmsghdr in[kAtOnce] = {};
    iovec pieces[kAtOnce];
    for (size_t i = 0; i < left; ++i) {
      pieces[i] = {in_.data() + i * kAnswerMax, kAnswerMax};
      in[i].msg_hdr.msg_iov = &pieces[i];
      in[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = ::recvmmsg(fd_.get(), in, unsigned(left), MSG_WAITFORONE, nullptr);
    if (got < 0) return errno == EINTR ? Result<void>() : fail_errno(errno, "rtnetlink");
    for (int i = 0; i < got; ++i) {
      int size = int(in[i].msg_len);
      for (auto* h = static_cast<nlmsghdr*>(pieces[i].iov_base); nlmsg_ok(h, size); h = nlmsg_next(h, &size)) {
        const size_t which = h->nlmsg_seq - size_t(1);
        if (which < from || which >= to || left == 0) continue;
        --left;
        answer(which, h);
      }
    }
    return {};
  }

  UniqueFd fd_;
  ByteVec out_, in_ = ByteVec(kAtOnce * kAnswerMax);
};

// 0 where the answer is not an error.
int error_in(nlmsghdr* h) { return h->nlmsg_type == NLMSG_ERROR ? -static_cast<nlmsgerr*>(nlmsg_data(h))->error : 0; }

Msg make(int type, int flags) { return Msg(nlmsg_alloc_simple(type, flags | NLM_F_REQUEST)); }
template <class T>
void body(const Msg& m, T t) { nlmsg_append(m.get(), &t, sizeof t, NLMSG_ALIGNTO); }
void put_addr(const Msg& m, int attr, const IpAddr& a) { nla_put(m.get(), attr, int(a.bytes().size()), a.bytes().data()); }

Result<void> refused(const std::string& what, int err) {
  std::string mend = err == ENODEV ? " (no such interface)" : detail::mend_of(err);
  Code code = err == EPERM || err == EACCES ? Code::denied : Code::io;
  return fail(code, "{}: {}{}", what, std::generic_category().message(err), mend);
}

Result<void> request(Socket& s, const Msg& m, const std::string& what, int accept = 0, int accept2 = 0) {
  int err = s.talk(m.get());
  if (!err || (accept && err == accept) || (accept2 && err == accept2)) return {};
  return refused(what, err);
}

// Dumps type and hands over every answer's fixed part and attributes.
template <class Hdr>
Result<void> dump(int type, uint8_t family, const std::function<void(const Hdr&, nlattr**)>& each) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  Msg m = make(type, NLM_F_DUMP);
  Hdr h{};
  reinterpret_cast<uint8_t*>(&h)[0] = family;
  body(m, h);
  int err = s.talk(m.get(), [&](nlmsghdr* n) {
    nlattr* tb[64] = {};
    nlmsg_parse(n, sizeof(Hdr), tb, 63, nullptr);
    each(*static_cast<Hdr*>(nlmsg_data(n)), tb);
  });
  if (err) return refused("listing by rtnetlink", err);
  return {};
}

std::optional<IpAddr> addr_of(nlattr* a, uint8_t family) {
  if (!a) return std::nullopt;
  auto* p = static_cast<uint8_t*>(nla_data(a));
  if (family == AF_INET && nla_len(a) >= 4) return IpAddr::v4(p);
  if (family == AF_INET6 && nla_len(a) >= 16) return IpAddr::v6(p);
  return std::nullopt;
}

Cidr cidr_of(nlattr* a, uint8_t family, uint8_t len) {
  static constexpr uint8_t zero[16] = {};
  return {addr_of(a, family).value_or(family == AF_INET ? IpAddr::v4(zero) : IpAddr::v6(zero)), len};
}

std::string kind_of(nlattr* info) {
  if (!info) return "";
  nlattr* tb[IFLA_INFO_MAX + 1] = {};
  nla_parse_nested(tb, IFLA_INFO_MAX, info, nullptr);
  return tb[IFLA_INFO_KIND] ? nla_get_string(tb[IFLA_INFO_KIND]) : "";
}

int index_of(const std::string& name) { return int(if_nametoindex(name.c_str())); }

Result<void> change_link(const std::string& name, const std::function<void(ifinfomsg&)>& set, uint32_t mtu, const char* doing) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  ifinfomsg i{};
  i.ifi_index = index_of(name);
  if (!i.ifi_index) return fail(Code::not_found, "interface {} does not exist", name);
  set(i);
  Msg m = make(RTM_NEWLINK, NLM_F_ACK);
  body(m, i);
  if (mtu) nla_put_u32(m.get(), IFLA_MTU, mtu);
  return request(s, m, fmt::format("{} interface {}", doing, name));
}

Result<void> change_address(int type, int flags, const std::string& dev, const Cidr& c, int accept) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  ifaddrmsg a{};
  a.ifa_family = af(c.ip.family());
  a.ifa_prefixlen = c.len;
  a.ifa_index = uint32_t(index_of(dev));
  if (!a.ifa_index) return type == RTM_DELADDR ? Result<void>() : fail(Code::not_found, "interface {} does not exist", dev);
  if (c.ip.is_v6()) a.ifa_flags = IFA_F_NODAD;
  Msg m = make(type, NLM_F_ACK | flags);
  body(m, a);
  put_addr(m, IFA_LOCAL, c.ip);
  if (c.ip.is_v4()) put_addr(m, IFA_ADDRESS, c.ip);
  return request(s, m, fmt::format("address {} on {}", c.str(), dev), accept, type == RTM_DELADDR ? ENODEV : 0);
}

Msg route_message(int type, int flags, const Route& r, int index) {
  rtmsg h{};
  h.rtm_family = af(r.to.ip.family());
  h.rtm_dst_len = r.to.len;
  h.rtm_table = uint8_t(r.table < 256 ? r.table : RT_TABLE_UNSPEC);
  h.rtm_protocol = r.protocol;
  h.rtm_type = r.unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
  h.rtm_scope = r.via || r.unreachable || r.to.ip.is_v6() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  if (type == RTM_DELROUTE) h.rtm_scope = RT_SCOPE_NOWHERE;
  Msg m = make(type, flags | NLM_F_ACK);
  body(m, h);
  put_addr(m, RTA_DST, r.to.ip);
  nla_put_u32(m.get(), RTA_TABLE, r.table);
  if (r.metric) nla_put_u32(m.get(), RTA_PRIORITY, r.metric);
  if (r.via) put_addr(m, RTA_GATEWAY, *r.via);
  if (r.src) put_addr(m, RTA_PREFSRC, *r.src);
  if (index) nla_put_u32(m.get(), RTA_OIF, uint32_t(index));
  if (r.mtu && type == RTM_NEWROUTE) {
    nlattr* metrics = nla_nest_start(m.get(), RTA_METRICS);
    nla_put_u32(m.get(), RTAX_MTU, r.mtu);
    nla_nest_end(m.get(), metrics);
  }
  return m;
}

std::string route_text(const Route& r) {
  return fmt::format("{}route {} {} table {}", r.unreachable ? "unreachable " : "", r.to.str(), r.dev.empty() ? "" : "dev " + r.dev, r.table);
}

Msg rule_message(int type, int flags, const Rule& r) {
  fib_rule_hdr h{};
  h.family = af(r.to.ip.family());
  h.dst_len = r.to.len;
  h.action = FR_ACT_TO_TBL;
  h.table = RT_TABLE_UNSPEC;
  Msg m = make(type, flags | NLM_F_ACK);
  body(m, h);
  put_addr(m, FRA_DST, r.to.ip);
  nla_put_u32(m.get(), FRA_TABLE, r.table);
  nla_put_u32(m.get(), FRA_PRIORITY, r.priority);
  nla_put_u8(m.get(), FRA_PROTOCOL, r.protocol);
  return m;
}

uint32_t u32_or(nlattr* a, uint32_t otherwise) { return a ? nla_get_u32(a) : otherwise; }

uint32_t mtu_of(nlattr* metrics) {
  nlattr* tb[RTAX_MAX + 1] = {};
  if (metrics) nla_parse_nested(tb, RTAX_MAX, metrics, nullptr);
  return u32_or(tb[RTAX_MTU], 0);
}

}  // namespace

Result<std::vector<Link>> links() {
  std::vector<Link> out;
  EM_TRY((dump<ifinfomsg>(RTM_GETLINK, AF_UNSPEC, [&](const ifinfomsg& h, nlattr** tb) {
    Link l;
    l.index = h.ifi_index;
    if (tb[IFLA_IFNAME]) l.name = nla_get_string(tb[IFLA_IFNAME]);
    l.kind = kind_of(tb[IFLA_LINKINFO]);
    l.master = int(u32_or(tb[IFLA_MASTER], 0));
    l.mtu = u32_or(tb[IFLA_MTU], 0);
    l.up = h.ifi_flags & IFF_UP;
    l.loopback = h.ifi_flags & IFF_LOOPBACK;
    out.push_back(std::move(l));
  })));
  return out;
}

Result<Link> link(const std::string& name) {
  EM_TRY_ASSIGN(auto all, links());
  for (auto& l : all)
    if (l.name == name) return l;
  return fail(Code::not_found, "interface {} does not exist", name);
}

bool link_exists(const std::string& name) { return index_of(name) != 0; }

Result<void> set_link_up(const std::string& name) {
  return change_link(name, [](ifinfomsg& i) { i.ifi_flags = IFF_UP, i.ifi_change = IFF_UP; }, 0, "bringing up");
}

Result<void> set_link_mtu(const std::string& name, uint32_t mtu) {
  return change_link(name, [](ifinfomsg&) {}, mtu, "setting the MTU of");
}

Result<void> delete_link(const std::string& name) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  ifinfomsg i{};
  i.ifi_index = index_of(name);
  if (!i.ifi_index) return {};
  Msg m = make(RTM_DELLINK, NLM_F_ACK);
  body(m, i);
  return request(s, m, "deleting interface " + name, ENODEV);
}

Result<std::vector<Address>> addresses() {
  std::vector<Address> out;
  EM_TRY((dump<ifaddrmsg>(RTM_GETADDR, AF_UNSPEC, [&](const ifaddrmsg& h, nlattr** tb) {
    auto ip = addr_of(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], h.ifa_family);
    if (ip) out.push_back({int(h.ifa_index), *ip, h.ifa_prefixlen, h.ifa_scope == RT_SCOPE_UNIVERSE});
  })));
  return out;
}

Result<void> add_address(const std::string& dev, const Cidr& c) {
  return change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, dev, c, EEXIST);
}
Result<void> delete_address(const std::string& dev, const Cidr& c) { return change_address(RTM_DELADDR, 0, dev, c, EADDRNOTAVAIL); }

Result<std::vector<Route>> routes(Family f) {
  std::vector<Route> out;
  std::map<int, std::string> names;
  EM_TRY_ASSIGN(auto all, links());
  for (auto& l : all) names[l.index] = l.name;
  EM_TRY((dump<rtmsg>(RTM_GETROUTE, af(f), [&](const rtmsg& h, nlattr** tb) {
    Route r;
    r.table = u32_or(tb[RTA_TABLE], h.rtm_table);
    if (h.rtm_family != af(f) || h.rtm_flags & RTM_F_CLONED || r.table == RT_TABLE_LOCAL) return;
    if (h.rtm_type != RTN_UNICAST && h.rtm_type != RTN_UNREACHABLE) return;
    r.to = cidr_of(tb[RTA_DST], h.rtm_family, h.rtm_dst_len);
    r.via = addr_of(tb[RTA_GATEWAY], h.rtm_family);
    r.src = addr_of(tb[RTA_PREFSRC], h.rtm_family);
    r.unreachable = h.rtm_type == RTN_UNREACHABLE;
    if (tb[RTA_OIF] && !r.unreachable) r.dev = names[int(nla_get_u32(tb[RTA_OIF]))];
    r.metric = u32_or(tb[RTA_PRIORITY], 0);
    r.mtu = mtu_of(tb[RTA_METRICS]);
    r.protocol = h.rtm_protocol;
    r.on_link = h.rtm_scope == RT_SCOPE_LINK;
    out.push_back(std::move(r));
  })));
  return out;
}

// Error: of the first that was refused; what was asked together with it is done.
Result<void> add_routes(const std::vector<Route>& list) {
  if (list.empty()) return {};
  EM_TRY_ASSIGN(ManySocket s, ManySocket::open());
  std::map<std::string, int> index;
  for (const Route& r : list) {
    if (r.dev.empty() || index.contains(r.dev)) continue;
    if (!(index[r.dev] = index_of(r.dev))) return fail(Code::not_found, "{}: interface {} does not exist", route_text(r), r.dev);
  }
  index[""] = 0;
  Result<void> out;
  EM_TRY(s.talk(
      list.size(),
      [&](size_t i) { return route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, list[i], index[list[i].dev]).release(); },
      [&](size_t i, nlmsghdr* h) {
        const int err = error_in(h);
        if (err && err != EEXIST && out) out = refused(route_text(list[i]), err);
      }));
  return out;
}

Result<void> delete_routes(const std::vector<Route>& list) {
  if (list.empty()) return {};
  EM_TRY_ASSIGN(Socket s, Socket::open());
  std::string dev;
  int index = 0;
  for (const Route& r : list) {
    if (r.dev != dev) index = index_of(dev = r.dev);
    if (!r.dev.empty() && !index) continue;  // the interface took its routes with it
    EM_TRY(request(s, route_message(RTM_DELROUTE, 0, r, index), "deleting " + route_text(r), ESRCH, ENODEV));
  }
  return {};
}

Result<std::vector<Rule>> rules(Family f) {
  std::vector<Rule> out;
  EM_TRY((dump<fib_rule_hdr>(RTM_GETRULE, af(f), [&](const fib_rule_hdr& h, nlattr** tb) {
    if (h.family != af(f) || !tb[FRA_DST]) return;
    Rule r;
    r.to = cidr_of(tb[FRA_DST], h.family, h.dst_len);
    r.table = u32_or(tb[FRA_TABLE], h.table);
    r.priority = u32_or(tb[FRA_PRIORITY], 0);
    r.protocol = tb[FRA_PROTOCOL] ? nla_get_u8(tb[FRA_PROTOCOL]) : 0;
    out.push_back(r);
  })));
  return out;
}

Result<void> add_rule(const Rule& r) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  return request(s, rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, r), "ip rule to " + r.to.str(), EEXIST);
}

Result<void> delete_rule(const Rule& r) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  return request(s, rule_message(RTM_DELRULE, 0, r), "deleting ip rule to " + r.to.str(), ENOENT, EAFNOSUPPORT);
}

namespace {

std::string name_of_link(int index) {
  char name[IF_NAMESIZE] = "";
  return if_indextoname(unsigned(index), name) ? name : "";
}

Msg path_message(const IpAddr& to, int flags) {
  rtmsg h{};
  h.rtm_family = af(to.family());
  h.rtm_dst_len = uint8_t(to.bytes().size() * 8);
  Msg m = make(RTM_GETROUTE, flags);
  body(m, h);
  put_addr(m, RTA_DST, to);
  return m;
}

Path path_in(nlmsghdr* n, Family family) {  // without the link's name
  Path p;
  nlattr* tb[RTA_MAX + 1] = {};
  nlmsg_parse(n, sizeof(rtmsg), tb, RTA_MAX, nullptr);
  p.local = static_cast<rtmsg*>(nlmsg_data(n))->rtm_type == RTN_LOCAL;
  p.index = int(u32_or(tb[RTA_OIF], 0));
  p.via = addr_of(tb[RTA_GATEWAY], af(family));
  p.src = addr_of(tb[RTA_PREFSRC], af(family));
  return p;
}

}  // namespace

Result<Path> path_to(const IpAddr& to) {
  EM_TRY_ASSIGN(Socket s, Socket::open());
  Path p;
  const int err = s.talk(path_message(to, NLM_F_ACK).get(), [&](nlmsghdr* n) { p = path_in(n, to.family()); });
  if (err) return fail(Code::unavailable, "no route to {}: {}", to.str(), std::generic_category().message(err));
  p.dev = name_of_link(p.index);
  return p;
}

std::vector<std::optional<Path>> paths_to(const std::vector<IpAddr>& list) {
  std::vector<std::optional<Path>> out(list.size());
  if (list.empty()) return out;
  auto s = ManySocket::open();
  if (!s) return out;
  std::map<int, std::string> names;
  auto r = s->talk(
      list.size(), [&](size_t i) { return path_message(list[i], 0).release(); },
      [&](size_t i, nlmsghdr* h) {
        if (h->nlmsg_type == NLMSG_ERROR) return;
        Path p = path_in(h, list[i].family());
        auto [name, is_new] = names.try_emplace(p.index);
        if (is_new) name->second = name_of_link(p.index);
        p.dev = name->second;
        out[i] = std::move(p);
      });
  if (!r) EM_LOG(warn, "netlink", "asking for routes: {}", r.error().what);
  return out;
}

namespace {

class Monitor final : public NetlinkMonitor {
 public:
  Monitor(UniqueFd fd, Loop& loop, std::function<void()> on_change) : fd_(std::move(fd)), on_change_(std::move(on_change)) {
    watch_ = loop.watch(fd_.get(), kFdRead, [this](FdEvents) { drain(); });
  }

 private:
  void drain() {
    char buf[16384];
    bool any = false;
    for (;;) {
      ssize_t n = ::recv(fd_.get(), buf, sizeof buf, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != ENOBUFS) break;
      any = true;  // ENOBUFS: events were lost, which is a change too
    }
    auto fn = on_change_;  // the callback may destroy this
    if (any) fn();
  }
  UniqueFd fd_;
  std::function<void()> on_change_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace

Result<std::unique_ptr<NetlinkMonitor>> NetlinkMonitor::start(Loop& loop, std::function<void()> on_change) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) return fail_errno(errno, "opening a netlink socket");
  sockaddr_nl a{};
  a.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) < 0) return fail_errno(errno, "watching network changes");
  for (int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE})
    if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) return fail_errno(errno, "watching network changes");
  return std::unique_ptr<NetlinkMonitor>(new Monitor(std::move(fd), loop, std::move(on_change)));
}

}  // namespace base::netlink
