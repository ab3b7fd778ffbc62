// Links, addresses, routes and policy rules of this network namespace, through rtnetlink (libnl). Values in, values out.
// Additions replace an equal object and deletions of what is gone succeed, so every call may be repeated.
// Errors name the object and the mend. Blocking; control loop only. NetlinkMonitor tells of changes on a Loop.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/net/addr.h"

namespace base::netlink {

inline constexpr uint8_t kOurProtocol = 0x60;    // rtm_protocol and rule protocol: "made by this program"
inline constexpr uint32_t kMainTable = 254;

struct Link {
  int index = 0;
  std::string name;
  std::string kind;         // "bridge", "veth", "tun"; "" for hardware and lo
  int master = 0;           // index of the bridge it belongs to
  bool up = false, loopback = false;
  uint32_t mtu = 0;
  bool operator==(const Link&) const = default;
};

struct Address {
  int link = 0;
  IpAddr ip;
  uint8_t prefix = 0;
  bool global = false;      // scope
  bool operator==(const Address&) const = default;
};

struct Route {
  Cidr to;
  std::optional<IpAddr> via;
  std::optional<IpAddr> src;
  std::string dev;          // "" with unreachable
  uint32_t table = kMainTable;
  uint32_t metric = 0;      // 0: the kernel's choice (IPv6: 1024)
  uint32_t mtu = 0;         // 0: the interface's
  uint8_t protocol = kOurProtocol;
  bool unreachable = false;
  bool on_link = false;     // scope link (no gateway)
  bool operator==(const Route&) const = default;
};

struct Rule {               // ip rule to <to> lookup <table> priority <priority>
  Cidr to;
  uint32_t table = 0;
  uint32_t priority = 0;
  uint8_t protocol = kOurProtocol;
  bool operator==(const Rule&) const = default;
};

struct Path {               // what the kernel would do with a packet to a destination
  std::string dev;
  int index = 0;
  std::optional<IpAddr> via;
  std::optional<IpAddr> src;
  bool local = false;
};

Result<std::vector<Link>> links();
Result<Link> link(const std::string& name);      // Code::not_found
bool link_exists(const std::string& name);
Result<void> set_link_up(const std::string& name);
Result<void> set_link_mtu(const std::string& name, uint32_t mtu);
Result<void> delete_link(const std::string& name);

Result<std::vector<Address>> addresses();
Result<void> add_address(const std::string& dev, const Cidr&);
Result<void> delete_address(const std::string& dev, const Cidr&);

Result<std::vector<Route>> routes(Family);       // unicast and unreachable, of every table but the local one
Result<void> add_routes(const std::vector<Route>&);
Result<void> delete_routes(const std::vector<Route>&);
inline Result<void> add_route(const Route& r) { return add_routes({r}); }
inline Result<void> delete_route(const Route& r) { return delete_routes({r}); }

Result<std::vector<Rule>> rules(Family);         // those with a destination prefix
Result<void> add_rule(const Rule&);
Result<void> delete_rule(const Rule&);

Result<Path> path_to(const IpAddr& destination); // Code::unavailable: no route
std::vector<std::optional<Path>> paths_to(const std::vector<IpAddr>&);  // in their order; nullopt: no route. A few us each

// Calls on_change (at most once per loop turn) when a link, address, route or rule changed. If the kernel's queue overflowed,
// that too is one call: look again, do not count events.
class NetlinkMonitor {
 public:
  static Result<std::unique_ptr<NetlinkMonitor>> start(Loop&, std::function<void()> on_change);
  virtual ~NetlinkMonitor() = default;
};

}  // namespace base::netlink
