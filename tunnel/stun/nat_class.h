// What kind of NAT lies between this node and the internet, judged from the addresses several servers saw it at. The words are
// those of RFC 4787 §4.1: on what the outside port depends.
#pragma once
#include <string>
#include <vector>

#include "base/net/addr.h"

namespace tunnel {

enum class NatMapping : uint8_t {
  unknown,      // not heard from two servers
  none,         // seen at the address it has
  independent,  // one outside port for all destinations: an address learned from one server holds for every peer
  address,      // another port for each destination address
  endpoint,     // another port for each destination address and port (or it is not known which of the two)
};
const char* to_string(NatMapping);

struct NatClass {
  NatMapping mapping = NatMapping::unknown;
  bool keeps_port = false;  // outside port = inside port
  int delta = 0;            // not 0: ports of new mappings go up (or down) by about this much
  bool is_hard() const { return mapping == NatMapping::address || mapping == NatMapping::endpoint; }
  std::string str() const;  // "endpoint-dependent, ports +1"
  bool operator==(const NatClass&) const = default;
};

inline constexpr int kNatDeltaMax = 16;

struct NatSample {
  base::IpPort server, mapped;
};
// Samples of one socket in the order they were asked for; IPv4 alone counts. own: the addresses of the interfaces, with the port.
NatClass classify_nat(const std::vector<NatSample>&, const std::vector<base::IpPort>& own);
// The step between ports of mappings made one after another, 0: none can be seen (fewer than two, or too far apart).
int port_step(const std::vector<uint16_t>& ports);

}  // namespace tunnel
