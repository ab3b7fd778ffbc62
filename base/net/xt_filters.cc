#include "base/net/xt_filters.h"

#include <arpa/inet.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <cstring>
#include <fstream>

#include "base/core/unique_fd.h"

namespace base::detail {
namespace {

constexpr int kDepthMax = 16;
constexpr size_t kTableBytesMax = 64 << 20;

struct V4 {
  using Info = ipt_getinfo;
  using Entries = ipt_get_entries;
  using Entry = ipt_entry;
  static constexpr int family = AF_INET, level = IPPROTO_IP, get_info = IPT_SO_GET_INFO, get_entries = IPT_SO_GET_ENTRIES;
  static const auto& ip(const Entry& e) { return e.ip; }
  static constexpr const char* names = "/proc/thread-self/net/ip_tables_names";
};
struct V6 {
  using Info = ip6t_getinfo;
  using Entries = ip6t_get_entries;
  using Entry = ip6t_entry;
  static constexpr int family = AF_INET6, level = IPPROTO_IPV6, get_info = IP6T_SO_GET_INFO, get_entries = IP6T_SO_GET_ENTRIES;
  static const auto& ip(const Entry& e) { return e.ipv6; }
  static constexpr const char* names = "/proc/thread-self/net/ip6_tables_names";
};

bool is_loaded(const char* names) {
  std::ifstream in(names);
  for (std::string line; std::getline(in, line);)
    if (line == "filter") return true;
  return false;
}

template <class F>
std::optional<typename F::Info> info(int fd) {
  typename F::Info i{};
  strcpy(i.name, "filter");
  socklen_t len = sizeof i;
  if (::getsockopt(fd, F::level, F::get_info, &i, &len) < 0 || i.size > kTableBytesMax) return std::nullopt;
  return i;
}

bool covers(const uint8_t* addr, const void* want, const void* mask, size_t n) {
  auto* w = static_cast<const uint8_t*>(want);
  auto* m = static_cast<const uint8_t*>(mask);
  for (size_t i = 0; i < n; ++i)
    if ((addr[i] & m[i]) != (w[i] & m[i])) return false;
  return true;
}

bool same_interface(const std::string& have, const char* want, const unsigned char* mask) {
  char name[IFNAMSIZ] = {};
  memcpy(name, have.data(), std::min(have.size(), size_t(IFNAMSIZ - 1)));
  for (size_t i = 0; i < IFNAMSIZ; ++i)
    if ((name[i] ^ want[i]) & mask[i]) return false;
  return true;
}

// The four addresses and names of an entry's head: bits of invflags are the same for both families.
template <class Ip>
bool head_matches(const Ip& ip, const TriedPacket& p) {
  size_t n = p.dst.bytes().size();
  auto hit = [&](bool match, unsigned inverted) { return match != bool(ip.invflags & inverted); };
  return hit(covers(p.src.bytes().data(), &ip.src, &ip.smsk, n), IPT_INV_SRCIP) && hit(covers(p.dst.bytes().data(), &ip.dst, &ip.dmsk, n), IPT_INV_DSTIP) &&
         hit(same_interface(p.iif, ip.iniface, ip.iniface_mask), IPT_INV_VIA_IN) &&
         hit(same_interface(p.oif, ip.outiface, ip.outiface_mask), IPT_INV_VIA_OUT) && (!ip.proto || hit(ip.proto == uint8_t(p.proto), IPT_INV_PROTO));
}

// no value: not understood
std::optional<bool> match_holds(const xt_entry_match& m, const TriedPacket& p) {
  std::string name(m.u.user.name, strnlen(m.u.user.name, sizeof m.u.user.name));
  if (name == "comment") return true;
  if (name != "conntrack" || m.u.user.revision != 3 || m.u.match_size < sizeof m + sizeof(xt_conntrack_mtinfo3)) return std::nullopt;
  xt_conntrack_mtinfo3 c;
  memcpy(&c, m.data, sizeof c);
  if (c.match_flags != XT_CONNTRACK_STATE) return std::nullopt;
  bool hit = c.state_mask & ((1 << 3) | (p.dnat ? 1 << 7 : 0));  // NEW, DNAT
  return hit != bool(c.invert_flags & XT_CONNTRACK_STATE);
}

enum class End : uint8_t { accept, drop, ret };

template <class F>
class Walk {
 public:
  Walk(const XtTable& t, const TriedPacket& p) : t_(t), p_(p) {}
  // From one chain's first entry; last is the offset of the entry that is the policy (base chains), or npos.
  End run(size_t at, int depth) {
    while (auto* e = entry(at)) {
      size_t here = at;
      at += e->next_offset;
      auto* target = reinterpret_cast<const xt_entry_target*>(reinterpret_cast<const char*>(e) + e->target_offset);
      std::string name(target->u.user.name, strnlen(target->u.user.name, sizeof target->u.user.name));
      if (name == "ERROR") return End::ret;  // the next chain's head
      if (!matches(*e)) continue;
      by_policy_ = here == policy_;
      if (name == "REJECT" || name == "DROP") return End::drop;
      if (!name.empty()) continue;  // LOG and the like
      int verdict = reinterpret_cast<const xt_standard_target*>(target)->verdict;
      if (verdict == XT_RETURN) return End::ret;
      if (verdict < 0) return -verdict - 1 == NF_ACCEPT ? End::accept : End::drop;
      if (depth >= kDepthMax || size_t(verdict) == at) continue;
      End end = run(size_t(verdict), depth + 1);
      if (end != End::ret) return end;
    }
    return End::ret;
  }
  End base(size_t first, size_t policy) {
    policy_ = policy;
    End end = run(first, 0);
    if (end != End::ret) return end;
    by_policy_ = true;
    return run(policy, 0);
  }
  bool by_policy() const { return by_policy_; }

 private:
  const typename F::Entry* entry(size_t at) const {
    if (at + sizeof(typename F::Entry) > t_.entries.size()) return nullptr;
    auto* e = reinterpret_cast<const typename F::Entry*>(t_.entries.data() + at);
    bool sound = e->next_offset >= sizeof *e && at + e->next_offset <= t_.entries.size() && e->target_offset + sizeof(xt_standard_target) <= e->next_offset;
    return sound ? e : nullptr;
  }
  bool matches(const typename F::Entry& e) const {
    if (!head_matches(F::ip(e), p_)) return false;
    for (size_t at = sizeof e; at + sizeof(xt_entry_match) <= e.target_offset;) {
      auto* m = reinterpret_cast<const xt_entry_match*>(reinterpret_cast<const char*>(&e) + at);
      if (m->u.match_size < sizeof *m || at + m->u.match_size > e.target_offset) return false;
      if (!match_holds(*m, p_).value_or(false)) return false;
      at += m->u.match_size;
    }
    return true;
  }
  const XtTable& t_;
  const TriedPacket& p_;
  size_t policy_ = 0;
  bool by_policy_ = false;
};

template <class F>
XtTable read(Family family) {
  XtTable t;
  t.family = family;
  if (!is_loaded(F::names)) return t;
  UniqueFd fd(::socket(F::family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  auto i = fd ? info<F>(fd.get()) : std::nullopt;
  if (!i) return t;
  ByteVec buf(sizeof(typename F::Entries) + i->size);
  auto* e = reinterpret_cast<typename F::Entries*>(buf.data());
  strcpy(e->name, "filter");
  e->size = i->size;
  socklen_t len = socklen_t(buf.size());
  if (::getsockopt(fd.get(), F::level, F::get_entries, buf.data(), &len) < 0) return t;
  t.entries.assign(buf.begin() + long(sizeof(typename F::Entries)), buf.end());
  t.forward = i->hook_entry[NF_INET_FORWARD], t.forward_policy = i->underflow[NF_INET_FORWARD];
  t.input = i->hook_entry[NF_INET_LOCAL_IN], t.input_policy = i->underflow[NF_INET_LOCAL_IN];
  std::string_view all(reinterpret_cast<const char*>(t.entries.data()), t.entries.size());
  t.has_docker_user = all.find("DOCKER-USER") != std::string_view::npos;
  return t;
}

template <class F>
std::optional<Refusal> refuses(const XtTable& t, const TriedPacket& p) {
  bool forward = p.hook == nft::Hook::forward;
  Walk<F> walk(t, p);
  if (walk.base(forward ? t.forward : t.input, forward ? t.forward_policy : t.input_policy) != End::drop) return std::nullopt;
  Refusal r;
  r.family = t.family == Family::v4 ? "ip" : "ip6";
  r.table = "filter";
  r.chain = forward ? "FORWARD" : "INPUT";
  r.by = walk.by_policy() ? "its policy" : "a rule";
  r.legacy = r.iptables = true;
  r.docker = forward && t.has_docker_user;
  return r;
}

template <class F>
std::string state() {
  if (!is_loaded(F::names)) return "-";
  auto t = read<F>(Family::v4);
  size_t h = 0;  // counters change with every packet: only the rest is looked at
  for (size_t at = 0; at + sizeof(typename F::Entry) <= t.entries.size();) {
    auto* e = reinterpret_cast<typename F::Entry*>(t.entries.data() + at);
    if (e->next_offset < sizeof *e || at + e->next_offset > t.entries.size()) break;
    e->counters = {};
    h = h * 1'000'003 + hash_bytes({t.entries.data() + at, e->next_offset});
    at += e->next_offset;
  }
  return std::to_string(h);
}

}  // namespace

XtTable read_xt_filter(Family f) { return f == Family::v4 ? read<V4>(f) : read<V6>(f); }

std::optional<Refusal> xt_refuses(const XtTable& t, const TriedPacket& p) {
  if (t.entries.empty() || p.dst.family() != t.family) return std::nullopt;
  return t.family == Family::v4 ? refuses<V4>(t, p) : refuses<V6>(t, p);
}

std::string xt_state(Family f) { return f == Family::v4 ? state<V4>() : state<V6>(); }

}  // namespace base::detail
