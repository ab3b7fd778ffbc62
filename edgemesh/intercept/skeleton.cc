#include "edgemesh/intercept/skeleton.h"

#include "base/core/limits.h"

namespace edgemesh::detail {

using base::Cidr;
using base::Family;
using base::IpAddr;
using base::nft::Batch;
using base::nft::CtKey;
using base::nft::Hook;
using base::nft::MetaKey;
using base::nft::Rule;
using base::nft::Type;

namespace {

constexpr Family kFamilies[] = {Family::v4, Family::v6};
constexpr uint32_t kAffinityClientsMax = 65536;
constexpr uint32_t kUnusual = base::nft::kCtNew | base::nft::kCtRelated;  // few packets: of established flows none
constexpr uint32_t kLiveStates = base::nft::kCtEstablished | base::nft::kCtRelated;

int width(Family f) { return f == Family::v4 ? 1 : 4; }  // registers of an address
Type addr_type(Family f) { return f == Family::v4 ? Type::ipv4 : Type::ipv6; }

// daddr (or saddr) . l4proto . dport in registers 0...
Rule& load_dest(Rule& r, Family f) { return r.family_is(f).daddr(f, 0).meta(MetaKey::l4proto, width(f)).dport(width(f) + 1); }
Rule& load_source(Rule& r, Family f) { return r.saddr(f, 0).meta(MetaKey::l4proto, width(f)).dport(width(f) + 1); }

void add_sets(Batch& b, Family f) {
  Type a = addr_type(f), p = Type::inet_proto, s = Type::inet_service;
  b.add_set({.name = fam("svc", f), .key = {a, p, s}, .verdict_map = true});
  b.add_set({.name = fam("np", f), .key = {p, s}, .verdict_map = true});
  b.add_set({.name = slot_map(f, -1), .key = {a, p, s, Type::mark}, .data = {a, s}});
  for (size_t counter = 0; counter < base::limits::kRoundRobinChains; counter += base::limits::kRoundRobinChainsPerMap)
    b.add_set({.name = slot_map(f, int(counter)), .key = {a, p, s, Type::mark}, .data = {a, s}});
  b.add_set({.name = fam("slotid", f), .key = {a, p, s, Type::mark}, .data = {Type::mark}});
  b.add_set({.name = fam("endpoint", f), .key = {a, p, s, Type::mark}, .data = {a, s}});
  b.add_set({.name = fam("affinity", f), .key = {a, a, p, s}, .data = {Type::mark}, .dynamic = true, .size = kAffinityClientsMax});
  b.add_set({.name = fam("none", f), .key = {a, p, s}});
  b.add_set({.name = fam("nonenp", f), .key = {p, s}});
  b.add_set({.name = fam("vip", f), .key = {a}});
  b.add_set({.name = fam("self", f), .key = {a, a}});
  b.add_set({.name = fam("exports", f), .key = {a, p, s}, .data = {a, s}});
  b.add_set({.name = fam("granted", f), .key = {a, p, s}});
  b.add_set({.name = fam("native", f), .key = {a}, .interval = true});
  b.add_set({.name = fam("ownpods", f), .key = {a}, .interval = true});
  b.add_set({.name = fam("never", f), .key = {a}, .interval = true});
}

void fill_prefixes(Batch& b, const std::string& set, const std::vector<Cidr>& list) {
  for (const Cidr& c : list) b.add_elements(set, base::nft::prefix_elements(c));
}

// Multicast, broadcast, loopback and link-local never cross, whoever sends.
std::vector<Cidr> never_cross(Family f) {
  if (f == Family::v4) return {*Cidr::parse("127.0.0.0/8"), *Cidr::parse("169.254.0.0/16"), *Cidr::parse("224.0.0.0/3")};
  return {*Cidr::parse("::1/128"), *Cidr::parse("fe80::/10"), *Cidr::parse("ff00::/8")};
}

std::vector<Cidr> of_family(const std::vector<Cidr>& all, Family f) {
  std::vector<Cidr> out;
  for (const Cidr& c : all)
    if (c.ip.family() == f) out.push_back(c);
  return out;
}

void allow_native(Batch& b, const char* chain, Family f, const char* from, const char* to) {
  b.add_rule(chain, std::move(Rule().family_is(f).saddr(f, 0).in_set(fam(from, f), 0).daddr(f, 0).in_set(fam(to, f), 0).accept()));
}

void add_ingress_guard(Batch& b, const InterceptConfig& c) {
  for (Family f : kFamilies) {
    b.add_rule("guard_in_tun", std::move(Rule().family_is(f).saddr(f, 0).in_set(fam("never", f), 0).counter().drop()));
    b.add_rule("guard_in_tun", std::move(Rule().family_is(f).daddr(f, 0).in_set(fam("never", f), 0).counter().drop()));
  }
  b.add_rule("guard_in_tun", std::move(Rule().ct_state(base::nft::kCtRelated).jump("report")));
  b.add_rule("guard_in_tun", std::move(Rule().ct_state(kLiveStates).accept()));
  for (Family f : kFamilies) {
    if (auto ip = own(c.overlay_ips, f)) {
      Rule r;
      r.family_is(f).daddr(f, 0).equal(0, ip->bytes());
      load_source(r, f).from_map(fam("exports", f), 0, 8).accept();
      b.add_rule("guard_in_tun", r);
    }
    allow_native(b, "guard_in_tun", f, "native", "ownpods");
  }
  b.add_rule("guard_in_tun", std::move(Rule().counter().drop()));
  // The second lock, behind routing: whatever let a packet past the first one, it stops here.
  b.add_rule("guard_second", std::move(Rule().ct_state(kLiveStates).accept()));
  b.add_rule("guard_second", std::move(Rule().ct_dnat().accept()));
  for (Family f : kFamilies) allow_native(b, "guard_second", f, "native", "ownpods");
  b.add_rule("guard_second", std::move(Rule().counter().drop()));
}

void add_egress_guard(Batch& b, const InterceptConfig& c) {
  for (Family f : kFamilies)
    b.add_rule("guard_out", std::move(Rule().family_is(f).daddr(f, 0).in_set(fam("never", f), 0).counter().drop()));
  b.add_rule("guard_out", std::move(Rule().mark_bit(c.socket_mark).accept()));
  b.add_rule("guard_out", std::move(Rule().ct_state(kLiveStates).ct_reply_direction(true).accept()));
  b.add_rule("guard_out", std::move(Rule().ct_state(base::nft::kCtRelated).accept()));
  for (Family f : kFamilies) {
    Rule granted;
    load_dest(granted, f).in_set(fam("granted", f), 0).ct_dnat().accept();
    b.add_rule("guard_out", granted);
    b.add_rule("guard_out", std::move(Rule().family_is(f).daddr(f, 0).in_set(fam("vip", f), 0).accept()));
    allow_native(b, "guard_out", f, "ownpods", "native");
  }
  for (const Cidr& s : c.service_cidrs)
    b.add_rule("guard_out", std::move(Rule().family_is(s.ip.family()).daddr(s.ip.family(), 0).prefix(0, s).accept()));
  b.add_rule("guard_out", std::move(Rule().counter().drop()));
}

// The service addresses (DNS, proxy): for this host and its pods. The proxy takes only flows that we redirected to it.
// "Not a pod" is decided by interface: the set uplinks, filled by links.cc.
void add_service_address_guard(Batch& b, const InterceptConfig& c) {
  for (const IpAddr& ip : c.service_ips)
    b.add_rule("guard_input", std::move(Rule().family_is(ip.family()).daddr(ip.family(), 0).equal(0, ip.bytes()).go("guard_service")));
  b.add_rule("guard_service", std::move(Rule().iif_is("lo").ret()));
  b.add_rule("guard_service", std::move(Rule().ct_dnat().ret()));
  if (c.proxy_port) {
    uint8_t port[2];
    base::store_be16(port, c.proxy_port);
    b.add_rule("guard_service", std::move(Rule().l4proto_is(base::Proto::tcp).dport(0).equal(0, port).counter().drop()));
  }
  b.add_rule("guard_service", std::move(Rule().meta(MetaKey::iifname, 0).in_set("uplinks", 0).counter().drop()));
}

void add_none(Batch& b, const InterceptConfig& c) {
  b.add_rule("pre", std::move(Rule().iif_is(c.tun).go("guard_in_tun")));
  b.add_rule("pre", std::move(Rule().ct_state(kUnusual).jump("arrived")));
  b.add_rule("out", std::move(Rule().mark_bit(c.socket_mark).accept()));
  b.add_rule("out", std::move(Rule().ct_state(kUnusual).jump("sent")));
  // What comes over lo passed "sent" a moment ago, and was rewritten in between: it says nothing new.
  b.add_rule("arrived", std::move(Rule().jump("refuse")));
  b.add_rule("arrived", std::move(Rule().iif_is_not("lo").jump("report")));
  b.add_rule("sent", std::move(Rule().jump("refuse")));
  b.add_rule("sent", std::move(Rule().jump("report")));
  for (Family f : kFamilies) {
    Rule vip;
    load_dest(vip, f).in_set(fam("none", f), 0).go("reject_it");
    b.add_rule("refuse", vip);
    Rule np;
    np.family_is(f).meta(MetaKey::l4proto, 0).dport(1).in_set(fam("nonenp", f), 0).daddr_is_local().go("reject_it");
    b.add_rule("refuse", np);
  }
  b.add_rule("reject_it", std::move(Rule().l4proto_is(base::Proto::tcp).counter().reject_tcp_reset()));
  b.add_rule("reject_it", std::move(Rule().counter().reject_port_unreachable()));
}

void add_services(Batch& b, const InterceptConfig& c) {
  b.add_rule("nat_pre", std::move(Rule().iif_is(c.tun).go("exported")));
  b.add_rule("nat_pre", std::move(Rule().jump("services")));
  b.add_rule("nat_out", std::move(Rule().mark_bit(c.socket_mark).accept()));
  b.add_rule("nat_out", std::move(Rule().jump("services")));
  // A change may fall between the filter chains and these: a service that lost its last endpoint was not in "none" there and has no
  // slot here. The same transaction put it into "none", so a second look finds it, and only first packets of flows pay for it.
  for (auto* chain : {"nat_pre", "nat_out"}) b.add_rule(chain, std::move(Rule().jump("refuse")));
  for (Family f : kFamilies) {
    Rule vip;
    load_dest(vip, f).vmap(fam("svc", f), 0);
    b.add_rule("services", vip);
  }
  for (Family f : kFamilies) {  // node ports: on every local address but loopback (its answers could not come back)
    Cidr loopback = *Cidr::parse(f == Family::v4 ? "127.0.0.0/8" : "::1/128");
    Rule np;
    np.family_is(f).daddr(f, 0).not_prefix(0, loopback).daddr_is_local().meta(MetaKey::l4proto, 0).dport(1).vmap(fam("np", f), 0);
    b.add_rule("services", np);
    if (auto ip = own(c.overlay_ips, f)) {
      Rule ex;
      ex.family_is(f).daddr(f, 0).equal(0, ip->bytes());
      load_source(ex, f).from_map(fam("exports", f), 0, 0).dnat(f, 0, width(f));
      b.add_rule("exported", ex);
    }
  }
}

void add_source_nat(Batch& b, const InterceptConfig& c) {
  b.add_rule("nat_post", std::move(Rule().oif_is(c.tun).go("to_tun")));
  for (Family f : kFamilies)
    b.add_rule("nat_post", std::move(Rule().family_is(f).ct_dnat().saddr(f, 0).daddr(f, width(f)).in_set(fam("self", f), 0).masquerade()));
  b.add_rule("nat_post", std::move(Rule().ct_dnat().meta(MetaKey::iifname, 0).meta(MetaKey::oifname, 4).in_set("hairpin", 0).masquerade()));
  for (Family f : kFamilies)
    b.add_rule("nat_post", std::move(Rule().family_is(f).ct_dnat().oif_is_not("lo").saddr_is_local().masquerade()));
  b.add_rule("to_tun", std::move(Rule().mark_bit(c.socket_mark).accept()));
  for (const Cidr& o : c.overlay_cidrs) {
    Family f = o.ip.family();
    auto ip = own(c.overlay_ips, f);
    if (!ip) continue;
    b.add_rule("to_tun", std::move(Rule().family_is(f).saddr(f, 0).equal(0, ip->bytes()).accept()));
    b.add_rule("to_tun", std::move(Rule().family_is(f).daddr(f, 0).prefix(0, o).immediate(0, ip->bytes()).snat(f, 0)));
  }
  // Held datagrams and native pods keep their source: a NAT that changes nothing, before other programs masquerade.
  for (Family f : kFamilies) b.add_rule("to_tun", std::move(Rule().family_is(f).saddr(f, 0).snat(f, 0)));
}

}  // namespace

std::string fam(const char* name, Family f) { return std::string(name) + (f == Family::v4 ? "4" : "6"); }

std::string slot_map(Family f, int counter) {
  if (counter < 0) return fam("slot", f);
  return fmt::format("{}_rr{}", fam("slot", f), size_t(counter) / base::limits::kRoundRobinChainsPerMap);
}

std::optional<IpAddr> own(const std::vector<IpAddr>& list, Family f) {
  for (const IpAddr& a : list)
    if (a.family() == f) return a;
  return std::nullopt;
}

void build_skeleton(Batch& b, const InterceptConfig& c) {
  b.add_table();
  b.delete_table();
  b.add_table();
  for (Family f : kFamilies) {
    add_sets(b, f);
    fill_prefixes(b, fam("never", f), never_cross(f));
    fill_prefixes(b, fam("ownpods", f), of_family(c.own_pod_cidrs, f));
  }
  b.add_set({.name = "uplinks", .key = {Type::ifname}});
  b.add_set({.name = "hairpin", .key = {Type::ifname, Type::ifname}});
  for (auto* name : {"guard_in_tun", "guard_second", "guard_out", "guard_service", "refuse", "reject_it", "arrived", "sent", "report", "services", "exported", "to_tun"})
    b.add_chain(name);
  b.add_base_chain("pre", "filter", Hook::prerouting, -150);
  b.add_base_chain("out", "filter", Hook::output, -150);
  b.add_base_chain("nat_pre", "nat", Hook::prerouting, -105);
  b.add_base_chain("nat_out", "nat", Hook::output, -105);
  b.add_base_chain("guard_input", "filter", Hook::input, -5);
  b.add_base_chain("guard_forward", "filter", Hook::forward, -5);
  b.add_base_chain("nat_post", "nat", Hook::postrouting, 95);
  b.add_base_chain("guard_post", "filter", Hook::postrouting, 150);
  b.add_rule("guard_input", std::move(Rule().iif_is(c.tun).go("guard_second")));
  for (auto side : {&Rule::iif_is, &Rule::oif_is}) {  // pods that never hear of ICMP
    Rule r;
    (r.*side)(c.tun).clamp_mss();
    b.add_rule("guard_forward", r);
  }
  b.add_rule("guard_forward", std::move(Rule().iif_is(c.tun).go("guard_second")));
  b.add_rule("guard_post", std::move(Rule().oif_is(c.tun).go("guard_out")));
  add_ingress_guard(b, c);
  add_egress_guard(b, c);
  add_service_address_guard(b, c);
  add_none(b, c);
  add_services(b, c);
  add_source_nat(b, c);
}

}  // namespace edgemesh::detail
