// UdpHold: first contact for UDP. A datagram to a frontend whose endpoints are all unknown stays unNATed and reaches the TUN
// by the VIP's route. Here it waits (at most 64 per flow and 1 s) while the export is asked for; once the kernel has a slot,
// the flow's conntrack entry is deleted and the datagram is sent again from its own source, so that it meets the slot and the
// flow goes on in the kernel. Packets to VIPs nobody serves are answered with ICMP unreachable. Control loop only.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/core/bytes.h"
#include "base/core/metrics.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/net/addr.h"
#include "edgemesh/intercept/intercept.h"

namespace edgemesh {

struct InnerPacket {  // what is needed of an IP packet that reached the TUN
  base::IpPort from, to;
  uint8_t protocol = 0;
  bool first_fragment = true;
};
std::optional<InnerPacket> parse_inner(base::ByteView ip_packet);
// ICMP port unreachable (v4, v6) or a TCP reset for that packet, as the addressed host would send it.
base::ByteVec make_unreachable(base::ByteView ip_packet, const InnerPacket&);

class UdpHold {
 public:
  struct Hooks {
    std::function<bool(const FrontendKey&)> wanted;          // a frontend of ours; marks its service as in use
    std::function<void(const base::IpPort& client, const base::IpPort& frontend)> forget_flow;
    std::function<void(base::ByteView)> write_tun;
    std::function<bool(const FrontendKey&)> awaited;         // no frontend, but a peer whose flows of before this start go on: not refused
  };
  UdpHold(Hooks, base::Loop&, base::Metrics&);
  void on_stray(base::ByteVec ip_packet);
  void on_ready(const FrontendKey&);                         // it has backends now: let go what waits
  size_t held() const;

 private:
  struct Flow {
    std::deque<base::ByteVec> packets;
    base::Instant since;
  };
  void reinject(const base::IpPort& client, const base::IpPort& frontend, Flow&);
  void expire();
  Hooks hooks_;
  base::Loop& loop_;
  base::UniqueFd raw4_, raw6_;
  std::map<std::pair<base::IpPort, base::IpPort>, Flow> flows_;  // client, frontend
  std::unique_ptr<base::Timer> expire_timer_;
  base::Counter &held_, &released_, &dropped_;
};

}  // namespace edgemesh
