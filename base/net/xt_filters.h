// The filter tables of the older iptables (ip_tables, not nf_tables), as the kernel gives them out. Internal to base/net.
#pragma once
#include <vector>

#include "base/net/packet_filters.h"

namespace base::detail {

// One family's filter table: entries of variable size; empty when there is none.
struct XtTable {
  Family family = Family::v4;
  ByteVec entries;
  uint32_t forward = 0, forward_policy = 0, input = 0, input_policy = 0;  // offsets of first and last entry
  bool has_docker_user = false;
};

XtTable read_xt_filter(Family);                       // never loads a kernel module
std::optional<Refusal> xt_refuses(const XtTable&, const TriedPacket&);
std::string xt_state(Family);

}  // namespace base::detail
