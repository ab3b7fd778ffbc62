// The constant part of table `inet edgemesh`: sets, maps, hooks, and the guard around the TUN. What changes at run time are
// elements, and the few policy chains made on demand (policy_chains.h).
//
//   hook (priority)      chain        does
//   prerouting  (-150)   pre          from the TUN: guard_in_tun (only exports, replies, native pods); else refuse `none` frontends
//                                  and report what failed (Intercept::report_failures)
//   prerouting  (-105)   nat_pre      from the TUN: exports; else services (svc4/6, np4/6 -> a policy chain -> dnat)
//   output      (-150)   out          refuse `none` frontends       (-105) nat_out: services; our own sockets are left alone
//   input, forward (-5)  guard_input, guard_forward: from the TUN only what guard_in_tun let in; the service addresses
//   postrouting (95)     nat_post     to the TUN: snat to our overlay address; hairpins and host calls: masquerade
//   postrouting (150)    guard_post   to the TUN: guard_out (granted exports, replies, VIPs the daemon holds, native pods)
//
// dnat stands before and snat before other programs' chains (-100, 100): the first NAT of a flow wins.
#pragma once
#include "base/net/nft.h"
#include "edgemesh/intercept/intercept.h"

namespace edgemesh::detail {

inline constexpr const char* kTable = "edgemesh";

// The name of a set, map or chain for one family: "slot4", "slot6".
std::string fam(const char* name, base::Family);
// The map that holds the slots of a frontend with that round-robin counter; -1: none. Each new element is checked by the kernel once
// for every chain that looks into its map, and there are as many such chains as counters: a map for each 32 of them.
std::string slot_map(base::Family, int counter);
std::optional<base::IpAddr> own(const std::vector<base::IpAddr>&, base::Family);

void build_skeleton(base::nft::Batch&, const InterceptConfig&);

}  // namespace edgemesh::detail
