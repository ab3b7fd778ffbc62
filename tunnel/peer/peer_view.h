// Peers as others see them: what is hinted about one before it is met, and what is shown about it. Values.
#pragma once
#include <string>
#include <vector>

#include "base/net/addr.h"

namespace tunnel {

// What is known of a node before it has been met: hints from its MeshNode. Authority is only in its certificate.
struct PeerHint {
  std::string name;
  std::vector<base::IpAddr> overlay_ips;
  std::vector<base::IpPort> advertise;  // signalling (TCP) and tunnel (UDP) without punching
  std::vector<base::Cidr> pod_cidrs;
  bool relay = false;
  bool revoked = false;  // the MeshNode says so: as if there were none
  bool operator==(const PeerHint&) const = default;
};

struct PortMappingView {          // of the tunnel's port at the router
  bool enabled = false;           // tunnel.portMapping
  std::string router;             // that is asked; "": none that could be
  std::string outside, protocol;  // where it stands; "": it does not
  bool is_public = false;         // outside; else another NAT lies behind the router
  int64_t seconds_left = 0;
  std::string trouble;  // why there is none, in words
};

struct RelayView {
  std::string name, address;  // of signalling, as it was dialled
  bool connected = false;
  std::string trouble;  // why not, in words
};

struct NatView {  // of this node
  std::string mapping;                     // NatClass::str()
  std::vector<std::string> outside;        // addresses relays see it at
  std::vector<std::string> hosts, servers;  // own addresses; STUN servers that answer
  bool direct = true;                      // tunnel.directEnabled
  size_t peers_direct = 0, peers_relayed = 0;
  PortMappingView port_mapping;
  std::string hairpin = "unknown";         // yes|no|unknown: packets to the own outside address come back
  bool ipv6 = false;                       // an address of the internet's IPv6
  int link_mtu = 0;                        // the largest of the interfaces packets leave by
  std::vector<RelayView> relays;           // of the configuration and of MeshNodes
  std::vector<std::string> relays_by_tcp;  // relays that do not answer over UDP and carry datagrams by TCP
};

struct LanView {  // what multicast DNS told
  struct Node {
    std::string name, interface;
    std::vector<std::string> addresses;  // with the tunnel's UDP port
    uint16_t signal_port = 0;
    int64_t seconds_left = 0;
  };
  bool enabled = false;  // tunnel.lanDiscovery
  std::vector<std::string> interfaces;
  std::vector<Node> nodes;  // peers, the last heard first
  size_t strangers = 0;     // heard, and none of this node's peers
};

struct AttemptView {
  std::string rung;
  bool ok = false;
  int64_t ms = 0;
};

struct PeerView {  // for edgemeshctl
  std::string name, state, path, relay, rtt, network;  // state: idle|connecting|up|denied
  std::vector<base::IpAddr> overlay_ips;
  bool direct = false;
  bool resumed = false;  // over a path known from an earlier session, without signalling
  uint64_t tx_direct = 0, tx_relay = 0, rx_direct = 0, rx_relay = 0;
  int64_t rtt_us = 0, since_s = 0;
  int mtu = 0;  // of inner packets; 0: not up
  std::string last_error;
  std::string nat, rung;           // of the peer; that made the direct path: plain|fresh|predict|birthday
  int64_t direct_after_ms = -1;    // the session stood
  std::vector<AttemptView> attempts;
};

struct PathView {
  std::string peer, address, kind, state;  // kind: host|srflx|prflx|relay|advertised; state: waiting|checking|valid|suspect|dead
  bool active = false;
  bool resumed = false;  // the one the session was resumed over
  int64_t rtt_us = 0;
  int mtu = 0;  // of outer packets; 0: not known yet
};

}  // namespace tunnel
