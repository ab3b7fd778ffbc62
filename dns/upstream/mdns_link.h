// Names of the site (.local) by multicast DNS, as RFC 6762 lets a host ask that does not take part itself (§5.1): a question goes from a
// port of ours to the groups (IPv4 and IPv6) on each interface, and whoever has the name answers us alone. The first answer counts. A name
// nobody claims within a second has no records: never NXDOMAIN, since a host with one family of addresses is silent about the other. An
// interface may come later; it is looked for when there is something to ask. Answers are kept for ten seconds at most (§6.7).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/loop/loop.h"
#include "dns/upstream/server_link.h"

namespace dns {

inline const base::IpPort kMdnsGroup{base::IpAddr::v4(0xE00000FB), 5353};  // 224.0.0.251
inline const base::IpPort kMdnsGroup6{*base::IpAddr::parse("ff02::fb"), 5353};

struct MdnsOptions {
  std::vector<std::string> devices;
  std::vector<base::IpPort> groups = {kMdnsGroup, kMdnsGroup6};
  std::chrono::milliseconds within{1000};
};
std::unique_ptr<ServerLink> make_mdns_link(base::Loop&, MdnsOptions);

}  // namespace dns
