// The kernel's connection tracking table, through raw ctnetlink: dump it, and delete entries, so that a flow's next packet is
// decided anew (a UDP flow keeps its endpoint for as long as its entry lives). Blocking, control loop only; works in any netns.
#pragma once
#include <functional>
#include <optional>

#include "base/core/result.h"
#include "base/net/addr.h"

namespace base::conntrack {

struct Tuple {
  IpPort src, dst;
  bool operator==(const Tuple&) const = default;
};

struct Entry {
  Proto proto = Proto::tcp;
  Tuple orig;   // as the client sent it
  Tuple reply;  // what answers look like: reply.src is the endpoint that really serves the flow
  uint32_t status = 0;               // IPS_* bits
  std::optional<uint8_t> tcp_state;  // TCP_CONNTRACK_*, if the kernel told
  bool is_answered() const;
  bool is_dnat() const;
};

// Every TCP and UDP entry (or of one protocol) of the family.
Result<void> each(Family, std::optional<Proto>, const std::function<void(const Entry&)>&);
// The entry whose answers look like this; Code::not_found when there is none.
Result<Entry> find_by_reply(Proto, const Tuple& reply);
// The entry of a flow as its client sent it; Code::not_found when there is none.
Result<Entry> find(Proto, const Tuple& orig);
// TCP flows whose destination was rewritten and that nobody has answered yet. Walks the whole table inside the kernel.
Result<void> each_unanswered_dnat(Family, const std::function<void(const Entry&)>&);
// UDP flows whose destination was rewritten: those that somebody answered, or those that nobody has so far. As above.
Result<void> each_udp_dnat(Family, bool answered, const std::function<void(const Entry&)>&);
// Deletes one entry; one that is gone already is success.
Result<void> erase(const Entry&);

// Deletes what `match` picks; the number of entries deleted.
Result<size_t> erase_if(Family, std::optional<Proto>, const std::function<bool(const Entry&)>& match);
// The same among TCP flows whose destination was not rewritten and that nobody has answered. Walks the whole table inside the kernel.
Result<size_t> erase_unserved(Family, const std::function<bool(const Entry&)>& match);

// The usual picks.
Result<size_t> erase_udp_to(const IpPort& original_destination);
Result<size_t> erase_udp_flow(const IpPort& client, const IpPort& original_destination);
Result<size_t> erase_udp_served_by(const IpPort& endpoint);
Result<size_t> erase_from(const IpAddr& source);   // either protocol, by original source
Result<size_t> erase_of_peer(const IpAddr& addr);  // either protocol, by either end of either direction

}  // namespace base::conntrack
