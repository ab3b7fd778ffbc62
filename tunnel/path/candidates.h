// Candidates: the addresses a node may be reached at. Own ones come from its interfaces, from what relays see (srflx) and from
// the configuration; a peer's arrive inside the session and are filtered before a single packet is sent to them, so that a
// peer cannot aim our checks at loopback, at the overlay, at pods, or at well-known ports.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/net/netlink.h"
#include "tunnel/session/messages.h"

namespace tunnel {

struct CandidateRules {
  std::vector<base::Cidr> refused;             // overlay range, pod and service ranges of this node
  std::vector<std::string> interfaces_exclude;  // names, or prefixes ending in '*'
  std::string tun;
  std::vector<std::string> interfaces_include;  // the same; empty: all. A name in it is used even if it looks like a container's
};

// An address of somebody else that checks may be sent to.
bool may_check(const base::IpPort&, const CandidateRules&);
// lo, the TUN, containers' and virtual machines' interfaces, and what the configuration excludes.
bool is_interface_excluded(std::string_view name, const CandidateRules&);
// Own host candidates: every usable address of every usable interface, with the tunnel's port.
std::vector<Candidate> host_candidates(const std::vector<base::netlink::Link>&, const std::vector<base::netlink::Address>&,
                                       uint16_t port, const CandidateRules&);
// The largest MTU of the interfaces host_candidates() takes addresses of; 1500 without any.
size_t usable_mtu(const std::vector<base::netlink::Link>&, const std::vector<base::netlink::Address>&, const CandidateRules&);
// Sorted by usefulness, without doubles, at most kCandidatesPerPeerMax.
std::vector<Candidate> bounded(std::vector<Candidate>);

}  // namespace tunnel
