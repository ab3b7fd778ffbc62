#include "edgemesh/intercept/closed_host.h"

#include <algorithm>

#include "base/core/log.h"
#include "base/net/netlink.h"
#include "edgemesh/intercept/skeleton.h"

namespace edgemesh {

using base::Family;
using base::IpAddr;
using base::Proto;
using base::Refusal;
using base::TriedPacket;
using base::nft::Hook;
using Kind = ClosedPath::Kind;
using namespace std::chrono_literals;

namespace {

constexpr auto kLookEvery = 1s;
constexpr size_t kPodSidesMax = 16;      // interfaces tried; what filters tell apart is rarely more than a few bridges
constexpr int kOpeningsMax = 100;        // of one chain: whoever flushes it that often means it

// The neighbour of an address: some other host of its network.
IpAddr next_to(const IpAddr& a) {
  base::ByteVec b(a.bytes().begin(), a.bytes().end());
  b.back() ^= b.back() == 0xff || b.back() == 1 ? 3 : 1;
  return a.is_v4() ? IpAddr::v4(b.data()) : IpAddr::v6(b.data());
}

std::string command(const Refusal& r, const std::string& nft_match, const std::string& iptables_match) {
  if (r.iptables && !iptables_match.empty())
    return fmt::format("{}{} -I {} {} -j ACCEPT", r.family == "ip6" ? "ip6tables" : "iptables", r.legacy ? "-legacy" : "",
                       r.docker ? "DOCKER-USER" : r.chain, iptables_match);
  return fmt::format("nft insert rule {} {} {} {} accept", r.family, r.table, r.docker ? "DOCKER-USER" : r.chain, nft_match);
}

std::string mend_for(Kind kind, const Refusal& r, const std::string& tun, const IpAddr& service_ip) {
  if (kind == Kind::service || kind == Kind::arrivals)
    return command(r, fmt::format("{} daddr {}", service_ip.is_v4() ? "ip" : "ip6", service_ip.str()), "-d " + service_ip.str());
  std::string dnat = command(r, "ct status dnat", "-m conntrack --ctstate DNAT");
  if (kind == Kind::exports) return dnat;
  return dnat + " && " + command(r, fmt::format("oifname \"{}\"", tun), "-o " + tun);
}

const char* effect_of(Kind k) {
  switch (k) {
    case Kind::clients: return "calls of pods go through the daemon";
    case Kind::exports: return "calls from other nodes to pods go through the daemon";
    case Kind::service: return "pods of this node reach neither DNS nor the proxy on the service address";
    case Kind::arrivals: return "other nodes do not reach the pods of this one";
  }
  return "";
}

}  // namespace

std::string ClosedPath::text() const { return fmt::format("{}: {}; to open it: {}", by.where(), effect, mend); }

ClosedHost::ClosedHost(Config c, base::Loop& loop, std::function<void()> on_change)
    : config_(std::move(c)), loop_(loop), on_change_(std::move(on_change)), timer_(loop.timer([this] { look(); })) {}

void ClosedHost::start() {
  if (auto r = base::remove_tagged_rules(kTag); !r) EM_LOG(warn, "filters", "rules of an earlier process: {}", r.error().what);
  look();
}

ClosedHost::~ClosedHost() = default;

bool ClosedHost::has(Kind k) const {
  return std::ranges::any_of(paths_, [&](const ClosedPath& p) { return p.kind == k; });
}

void ClosedHost::look() {
  timer_->arm(kLookEvery);
  std::string state = base::PacketFilters::state();
  if (state == seen_ && !stale_) return;
  auto filters = base::PacketFilters::read(detail::kTable);
  if (!filters) {
    EM_LOG(warn, "filters", "other programs' packet filters cannot be read: {}", filters.error().what);
    return;
  }
  seen_ = state;
  if (stale_) {
    auto sides = pod_sides();
    stale_ = !sides;
    if (sides) sides_ = std::move(*sides);
  }
  auto before = std::exchange(paths_, judge(*filters));
  if (config_.open_input) open_input(paths_);
  if (before == paths_) return;
  tell(before);
  on_change_();
}

// An address beside the interface's own stands for a pod; an interface without one (a veth with a host route) for itself.
std::optional<std::vector<ClosedHost::PodSide>> ClosedHost::pod_sides() const {
  std::vector<PodSide> out;
  auto facts = detail::look_at_links(config_.tun);
  auto links = base::netlink::links();
  auto addresses = base::netlink::addresses();
  if (!facts || !links || !addresses) return std::nullopt;
  for (const auto& l : *links) {
    if (!facts->hairpins.contains(l.name) || facts->uplinks.contains(l.name)) continue;
    for (const auto& a : *addresses)
      if (a.link == l.index && a.global && out.size() < kPodSidesMax) out.push_back({l.name, next_to(a.ip)});
  }
  return out;
}

std::vector<ClosedPath> ClosedHost::judge(const base::PacketFilters& filters) const {
  std::vector<ClosedPath> out;
  for (const PodSide& s : sides_) judge_side(filters, s, out);
  return out;
}

void ClosedHost::judge_side(const base::PacketFilters& filters, const PodSide& side, std::vector<ClosedPath>& out) const {
  Family family = side.pod.family();
  auto service = detail::own(config_.service_ips, family), overlay = detail::own(config_.overlay_ips, family);
  auto attempt = [&](Kind kind, const TriedPacket& p) {
    auto r = filters.refuses(p);
    if (!r) return false;
    ClosedPath c{kind, *r, effect_of(kind), mend_for(kind, *r, config_.tun, service.value_or(IpAddr()))};
    if (std::ranges::find(out, c) == out.end()) out.push_back(std::move(c));
    return true;
  };
  auto forward = [&](const std::string& from, const std::string& to, const IpAddr& src, const IpAddr& dst, Proto proto, bool dnat) {
    return TriedPacket{Hook::forward, from, to, src, dst, proto, 8080, dnat};
  };
  attempt(Kind::clients, forward(side.link, side.link, side.pod, next_to(side.pod), Proto::tcp, true));
  if (overlay) {
    IpAddr peer = next_to(*overlay);
    attempt(Kind::clients, forward(side.link, config_.tun, side.pod, peer, Proto::tcp, true));
    for (const auto& vips : config_.service_cidrs)  // a datagram of first contact is not rewritten yet
      if (vips.ip.family() == family) attempt(Kind::clients, forward(side.link, config_.tun, side.pod, next_to(vips.ip), Proto::udp, false));
    bool closed = attempt(Kind::exports, forward(config_.tun, side.link, peer, side.pod, Proto::tcp, true));
    if (closed && service) attempt(Kind::arrivals, {Hook::input, config_.tun, "", peer, *service, Proto::tcp, config_.proxy_port, true});
  }
  if (!service) return;
  if (config_.dns) attempt(Kind::service, {Hook::input, side.link, "", side.pod, *service, Proto::udp, config_.dns_port, false});
  attempt(Kind::service, {Hook::input, side.link, "", side.pod, *service, Proto::tcp, config_.proxy_port, true});
}

void ClosedHost::open_input(const std::vector<ClosedPath>& closed) {
  std::set<std::pair<Refusal, Family>> chains;
  for (const ClosedPath& p : closed)
    if (p.kind == Kind::service || p.kind == Kind::arrivals)
      for (const IpAddr& ip : config_.service_ips) {
        bool fits = p.by.family == "inet" || (p.by.family == "ip") == ip.is_v4();
        if (!fits || p.by.legacy || !chains.insert({p.by, ip.family()}).second || opened_[p.by] >= kOpeningsMax) continue;
        opened_[p.by]++;
        if (auto r = base::insert_accept(p.by, ip, kTag); !r) EM_LOG(error, "filters", "mesh.openInput: {}: {}", p.by.where(), r.error().what);
        else EM_LOG(info, "filters", "mesh.openInput: {} now accepts packets to {}", p.by.where(), ip.str());
      }
  if (!chains.empty()) timer_->arm(0s);  // what that changed
}

void ClosedHost::tell(const std::vector<ClosedPath>& before) const {
  for (const ClosedPath& p : paths_)
    if (std::ranges::find(before, p) == before.end()) EM_LOG(warn, "filters", "{}", p.text());
  for (const ClosedPath& p : before)
    if (std::ranges::find(paths_, p) == paths_.end()) EM_LOG(info, "filters", "{}: not in our way any more", p.by.where());
}

void ClosedHost::remove() {
  timer_->cancel();
  if (opened_.empty()) return;
  if (auto r = base::remove_tagged_rules(kTag); !r) EM_LOG(warn, "filters", "taking our rules out: {}", r.error().what);
}

}  // namespace edgemesh
