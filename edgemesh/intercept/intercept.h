// Intercept: the kernel's copy of the mesh's decisions. Owns the table `inet edgemesh`, the TUN's addresses and routes and the
// policy-routing rule; touches nothing else. Control loop only. The skeleton has a constant number of rules; apply() changes
// map elements in one atomic netlink batch. Priorities, slot classes and the guard: docs/architecture.md, interception.
//
// A frontend is (address, protocol, port) that clients dial; a backend is what the kernel rewrites it to. Backends of all
// tiers look alike: a pod's address, a peer's overlay address and export port, or the proxy.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/net/addr.h"

namespace edgemesh {

struct FrontendKey {
  base::IpAddr ip;                     // any (0.0.0.0 / ::) with node_port: every local address of that family
  base::Proto proto = base::Proto::tcp;
  uint16_t port = 0;
  bool node_port = false;
  auto operator<=>(const FrontendKey&) const = default;
};

struct Backend {
  base::IpAddr ip;                     // same family as the frontend
  uint16_t port = 0;
  uint32_t weight = 1;                 // 0: no new connections
  bool here = true;                    // maybe on this node, so that it may be led to itself; false: surely elsewhere
  auto operator<=>(const Backend&) const = default;
};

struct Frontend {
  enum class Policy : uint8_t { random, round_robin, source_hash };
  enum class Mode : uint8_t {
    balance,  // among backends; none: refuse new connections at once (TCP RST, ICMP unreachable)
    proxy,    // TCP: to the daemon's proxy port, which learns the frontend from SO_ORIGINAL_DST
    hold,     // UDP: keep the packet as it is; it reaches the TUN by the VIP route, where the daemon holds it (first contact)
  };
  Mode mode = Mode::balance;
  Policy policy = Policy::round_robin;
  std::optional<std::chrono::seconds> affinity;  // ClientIP; beats the policy
  std::vector<Backend> backends;
  bool operator==(const Frontend&) const = default;
};

struct FrontendChange {
  FrontendKey key;
  std::optional<Frontend> frontend;    // nullopt: removed
};

// One endpoint of ours made reachable for one peer, at (our overlay address, port): docs/reference/tunnel-protocol.md, exports.
struct ExportRule {
  base::IpAddr peer_overlay;           // source
  base::Proto proto = base::Proto::tcp;
  uint16_t port = 0;                   // on our overlay address of the same family
  base::IpPort target;
  auto operator<=>(const ExportRule&) const = default;
};

// One remote export we were granted: the only thing local flows may reach through the TUN.
struct GrantedExport {
  base::IpAddr overlay;
  base::Proto proto = base::Proto::tcp;
  uint16_t port = 0;
  auto operator<=>(const GrantedExport&) const = default;
};

struct InterceptConfig {
  std::string tun = "edgemesh0";
  std::vector<base::IpAddr> service_ips{};       // 169.254.96.16: DNS and proxy; held by the TUN
  std::vector<base::IpAddr> overlay_ips;         // own, one per family at most
  std::vector<base::Cidr> overlay_cidrs;         // 100.64.0.0/10 and the ULA /64: ip rule per family
  std::vector<base::Cidr> own_pod_cidrs;         // native mode; empty otherwise
  uint16_t proxy_port = 0;                       // on service_ips[family]
  uint16_t dns_port = 53;
  uint32_t route_table = 10496;
  uint32_t rule_priority = 5210;                 // of `ip rule to <overlay>`
  uint32_t socket_mark = 0x00040000;             // SO_MARK bit on the daemon's own sockets: never intercepted
  bool program_routes = true;                    // VIP routes on the TUN
  std::vector<base::Cidr> service_cidrs{};       // routed as a whole, if known; VIPs outside get a route each
};

inline constexpr uint16_t kRouteMtuStart = 1416;  // what an Ethernet leaves of itself to the inside of a tunnel

class Intercept {
 public:
  // The TUN must exist (tunnel/tun). What an earlier process left serves on until the first apply(), which replaces it in one
  // transaction: calls are neither refused nor unrouted in between. On error nothing of ours is left.
  // Errors name the mend: no NET_ADMIN, no nf_tables, another program's table of our name.
  static base::Result<std::unique_ptr<Intercept>> install(InterceptConfig, base::Metrics&);
  virtual ~Intercept() = default;      // keeps the kernel state (restart); remove() takes it away

  // All or nothing. Afterwards stale UDP conntrack entries of changed frontends are cleared, and TCP connections to new ones that
  // were begun before and had no answer.
  virtual base::Result<void> apply(const std::vector<FrontendChange>&) = 0;
  // The first frontends, in pieces that next() gives until it gives none. Each piece is a transaction of its own, served while the
  // next is made. On error none of them counts, and the next apply() replaces what the kernel had taken. Where a predecessor's table
  // still stands, all pieces are one apply().
  virtual base::Result<void> apply_first(const std::function<std::vector<FrontendChange>()>& next) = 0;
  virtual base::Result<void> apply_exports(const std::vector<ExportRule>& add, const std::vector<ExportRule>& remove) = 0;
  virtual base::Result<void> apply_granted(const std::vector<GrantedExport>& add, const std::vector<GrantedExport>& remove) = 0;
  // Route to a peer's addresses (overlay hosts; pod CIDRs in native mode) through the TUN, with the unreachable backstop behind.
  virtual base::Result<void> add_peer_routes(const std::vector<base::Cidr>&) = 0;
  virtual base::Result<void> remove_peer_routes(const std::vector<base::Cidr>&) = 0;
  // The MTU of the way to these addresses, whether they are routed now or later; kRouteMtuStart before. The kernel does the rest:
  // ICMP to pods, fragments, and the MSS of connections that are opened. For IPv6 never below 1280.
  virtual base::Result<void> set_peer_mtu(const std::vector<base::Cidr>&, uint16_t mtu) = 0;
  // Native mode: sources and destinations of pod CIDRs routed through the mesh (no NAT).
  virtual base::Result<void> set_native_peers(const std::vector<base::Cidr>&) = 0;
  // Deletes conntrack entries of one UDP flow so that its next packet meets the new slots.
  virtual base::Result<void> forget_udp_flow(const base::IpPort& client, const base::IpPort& frontend) = 0;
  // Two kinds of packets go to that packet log group from now on, as they arrived (base/net/packet_log.h): SYNs of local clients
  // that are sent again because no endpoint answered, and ICMP errors about flows of services. Code::io: the kernel has no nft_log.
  virtual base::Result<void> report_failures(uint16_t log_group) = 0;
  // Links, addresses or routes of the node changed (base/net/netlink.h, NetlinkMonitor): looks again at which interfaces are
  // uplinks, where hairpins are, and which source address VIP routes carry. Cheap when nothing changed.
  virtual base::Result<void> refresh_links() = 0;
  // Round-robin frontends that share a counter with another one, and so do not rotate strictly on their own.
  virtual size_t shared_round_robin() const = 0;
  // Routes to peers, and exports granted by them, that an earlier process left and nobody has asked for since: they go. To be
  // called when peers have had time to come back; until then their established flows find their way.
  virtual base::Result<void> forget_predecessor() = 0;
  // A successor owns the kernel state from now on: every change is accepted and done by nobody.
  virtual void let_go() = 0;
  virtual void remove() = 0;           // table, rules, routes; idempotent

  // Without an instance: `edgemeshctl cleanup`, and after a kill -9.
  static base::Result<void> cleanup(const std::string& tun);
};

}  // namespace edgemesh
