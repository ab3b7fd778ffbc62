// LanMessage: the multicast DNS messages (RFC 6762, RFC 6763) by which nodes on one link find each other, for one service type and
// nothing else: `_edgemesh._udp.local`.
//
//   _edgemesh._udp.local          PTR   <label>._edgemesh._udp.local
//   <label>._edgemesh._udp.local  SRV   0 0 <UDP port of the tunnel> <label>.local
//                                 TXT   "v=1" "t=<TCP port of signalling>"
//   <label>.local                 A, AAAA
//   label = <tag, 16 hex digits> "-" <instance, 8 hex digits>
//
// The tag stands for the node's name: HMAC-SHA256(SHA-256 of the authority's public key, "edgemesh lan" 0 trust domain 0 name), the
// first 8 bytes. Multicast is heard by everybody on the link, and names of nodes tell what a company calls its machines, what runs
// there, and that two networks belong together; so names are never sent, nor is the trust domain, and whoever lacks the authority's
// certificate cannot test a guess. Whoever has it (a member) can, and can recognise a node elsewhere: that is what it is for. The
// instance is drawn anew by each process, so that a name on the link is never disputed between a node and its own past.
//
// Names are compared without case. What is not of this service is passed over; a service counts only when one datagram holds all of
// it. Pure; bounded by kLanMessageBytesMax and the limits below.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/bytes.h"
#include "base/net/addr.h"

namespace tunnel {

inline constexpr size_t kLanMessageBytesMax = 1472, kLanRecordsMax = 64;
inline constexpr size_t kLanServicesMax = 8, kLanAddressesMax = 8;  // in one message; of one service

using LanTag = uint64_t;
// authority: SHA-256 of the public key of a root certificate.
LanTag lan_tag(base::ByteView authority, std::string_view trust_domain, std::string_view name);

struct LanLabel {
  LanTag tag = 0;
  uint32_t instance = 0;
  std::string str() const;
  static std::optional<LanLabel> parse(std::string_view);
  auto operator<=>(const LanLabel&) const = default;
};

struct LanService {
  LanLabel label;
  uint16_t udp_port = 0, tcp_port = 0;  // tcp_port 0: no signalling
  std::vector<base::IpAddr> addresses;
  uint32_t ttl = 0;  // seconds; 0: it goes away
  bool operator==(const LanService&) const = default;
};

struct LanKnown {  // of a query: need not be told
  LanLabel label;
  uint32_t ttl = 0;
  bool operator==(const LanKnown&) const = default;
};

struct LanMessage {
  bool response = false;
  bool browses = false;         // asks who is there
  std::vector<LanLabel> asked;  // asks about these
  std::vector<LanKnown> known;
  std::vector<LanLabel> proposed;  // somebody is about to take these names (a probe's authority section)
  std::vector<LanService> services;
};

std::optional<LanMessage> read_lan(base::ByteView);          // none: not multicast DNS, or damaged
base::ByteVec make_lan_query(const std::vector<LanKnown>&);  // as many of them as fit
base::ByteVec make_lan_probe(const std::vector<LanService>&);
base::ByteVec make_lan_response(const std::vector<LanService>&);

}  // namespace tunnel
