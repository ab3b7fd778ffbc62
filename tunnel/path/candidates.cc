#include "tunnel/path/candidates.h"

#include <algorithm>

#include "base/core/limits.h"

namespace tunnel {
namespace {

constexpr std::string_view kForeignInterfaces[] = {"lo", "docker*", "cni*", "veth*", "br-*", "virbr*", "flannel*", "cali*", "cilium*", "kube-*", "edgemesh*"};

bool matches(std::string_view name, std::string_view pattern) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

bool is_refused(const base::IpAddr& ip, const CandidateRules& rules) {
  return std::any_of(rules.refused.begin(), rules.refused.end(), [&](const base::Cidr& c) { return c.contains(ip); });
}

bool is_usable(const base::IpAddr& ip, const CandidateRules& rules) {
  bool v4_broadcast = ip.is_v4() && ip.v4_host_order() == 0xffffffff;
  return !ip.is_any() && !ip.is_loopback() && !ip.is_link_local() && !ip.is_multicast() && !v4_broadcast && !is_refused(ip, rules);
}

// advertised first (somebody said so), then what relays saw, then hosts; IPv6 before IPv4 (often without NAT).
int rank(const Candidate& c) {
  static constexpr int kOrder[] = {3, 1, 2, 0};
  return kOrder[size_t(c.kind)] * 2 + (c.at.ip.is_v4() ? 1 : 0);
}

}  // namespace

bool may_check(const base::IpPort& a, const CandidateRules& rules) { return a.port >= 1024 && is_usable(a.ip, rules); }

bool is_interface_excluded(std::string_view name, const CandidateRules& rules) {
  auto hit = [&](std::string_view p) { return matches(name, p); };
  const auto& include = rules.interfaces_include;
  if (name == rules.tun || std::any_of(rules.interfaces_exclude.begin(), rules.interfaces_exclude.end(), hit)) return true;
  if (!include.empty()) return std::none_of(include.begin(), include.end(), hit);
  return std::any_of(std::begin(kForeignInterfaces), std::end(kForeignInterfaces), hit);
}

// The interface of an address that others may be told; null: they may not.
static const base::netlink::Link* usable_link(const base::netlink::Address& a, const std::vector<base::netlink::Link>& links, const CandidateRules& rules) {
  auto link = std::find_if(links.begin(), links.end(), [&](const auto& l) { return l.index == a.link; });
  if (link == links.end() || !link->up || link->loopback || is_interface_excluded(link->name, rules)) return nullptr;
  return is_usable(a.ip, rules) ? &*link : nullptr;
}

std::vector<Candidate> host_candidates(const std::vector<base::netlink::Link>& links, const std::vector<base::netlink::Address>& addresses,
                                       uint16_t port, const CandidateRules& rules) {
  std::vector<Candidate> out;
  for (const auto& a : addresses)
    if (usable_link(a, links, rules)) out.push_back({CandidateKind::host, {a.ip, port}});
  return out;
}

size_t usable_mtu(const std::vector<base::netlink::Link>& links, const std::vector<base::netlink::Address>& addresses, const CandidateRules& rules) {
  size_t most = 0;
  for (const auto& a : addresses)
    if (const auto* l = usable_link(a, links, rules)) most = std::max<size_t>(most, l->mtu);
  return most ? most : 1500;
}

std::vector<Candidate> bounded(std::vector<Candidate> list) {
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return rank(a) < rank(b); });
  std::vector<Candidate> out;
  for (const auto& c : list) {
    bool known = std::any_of(out.begin(), out.end(), [&](const auto& o) { return o.at == c.at; });
    if (!known && out.size() < base::limits::kCandidatesPerPeerMax) out.push_back(c);
  }
  return out;
}

}  // namespace tunnel
