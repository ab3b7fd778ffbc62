// Packets that a rule's log action hands to user space (nfnetlink_log), the first bytes of each. The queue is bounded and what does
// not fit is lost: these are hints, never the only way to learn something. The packets go on as if nobody had looked.
#pragma once
#include <functional>
#include <memory>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/net/addr.h"
#include "base/net/conntrack.h"

namespace base {

class PacketLog {
 public:
  struct Hooks {
    std::function<void(ByteView ip_packet)> on_packet;
    std::function<void()> on_lost;
  };
  // One listener per group and network namespace; Code::exists when somebody else listens already.
  static Result<std::unique_ptr<PacketLog>> start(Loop&, uint16_t group, uint32_t bytes, Hooks);
  virtual ~PacketLog() = default;  // not from its own hooks
};

// Ends of a TCP packet, its ports there; nullopt for anything else (fragments, extension headers, cut short).
std::optional<conntrack::Tuple> tcp_tuple(ByteView ip_packet);

// A flow's packet that an ICMP error says nobody took: no listener (a port unreachable), or no way there.
struct Undelivered {
  Proto proto = Proto::tcp;
  conntrack::Tuple packet;   // as whoever sent the error saw it
  bool refused = false;      // by the addressed host itself: nobody listens there
};
// nullopt for anything else: other ICMP (too big, time exceeded), other protocols inside, extension headers, cut short.
std::optional<Undelivered> undelivered(ByteView ip_packet);

}  // namespace base
