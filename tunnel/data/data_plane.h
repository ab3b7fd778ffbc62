// DataPlane: the packets' way between the TUN and the UDP socket, on worker threads of its own; everything else about peers is
// decided on the control loop and handed over as immutable values.
//
//   out: TUN read (TSO superpackets) -> peer by inner destination -> segment, seal on the worker's lane -> UDP GSO batch
//   in:  UDP GRO batch -> index -> open, replay window -> inner source and destination checked -> coalesce -> TUN write
//
// All functions are called on the control loop; hooks run on the control loop. Datagrams that are not DATA (STUN, CHECK, ACK,
// CONTROL, HANDSHAKE, relay control) are copied and posted there, at most kControlBacklogMax at a time, the rest counted.
// Lanes: DATA of this process leaves on worker_lane(w), so lane 0 stays the control loop's, for sending CHECK, ACK and CONTROL with
// the same keys. Types decide on receipt: every DATA is the workers', every other sealed packet is posted to the control loop
// unopened, which keeps the replay window of the peer's lane 0 itself. An empty DATA is a keepalive. DATA flag kFlagPartialChecksum
// (tunnel/data/worker.h) is the workers' own affair. PathAddr of received datagrams has local unset (any).
// Inner packets are dropped and counted unless: source inside the sending peer's certified prefixes, destination one of our own
// addresses (or own pod CIDR in native mode). Multicast, broadcast, 127/8, 169.254/16, link-local never cross.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/addr.h"
#include "tunnel/path/path_addr.h"
#include "tunnel/path/path_mtu.h"
#include "tunnel/session/data_keys.h"

namespace tunnel {

using PeerId = uint32_t;  // local handle, never on the wire
inline constexpr size_t kControlBacklogMax = 1024;
inline constexpr size_t kSocketsMax = 1024;

struct PeerRoute {
  std::string name;
  std::vector<base::Cidr> inner;  // certified: sources accepted from it, destinations routed to it
  DataKeysPtr tx_keys;            // null: none yet; packets for it are queued (<= kQueuedBytesPerPeerMax, <= 1 s, head drop)
  PathAddr path;                  // meaningful when tx_keys is set
  uint16_t inner_mtu = kInnerMtuSure;  // longer packets go in pieces (tunnel/data/pieces.h)
  uint64_t stream = 0;            // not 0, without tx_keys: the first kHandedPacketsMax small packets for each number go to on_held instead
};
inline constexpr size_t kHandedPacketsMax = 16, kHandedPacketBytesMax = 1500;

struct PeerTraffic {  // since the peer was added; relay and direct apart; bytes of inner packets
  uint64_t tx_bytes_direct = 0, tx_bytes_relay = 0, rx_bytes_direct = 0, rx_bytes_relay = 0;
  uint64_t tx_packets = 0, rx_packets = 0;  // datagrams
  uint64_t tx_long = 0;           // of them: those whose passing tells that the path carries long ones
  base::Instant last_rx{};        // last authenticated DATA
  base::Instant last_tx{};        // last DATA sent
  PathAddr last_rx_path;
};

struct DataPlaneHooks {
  // A datagram for the control loop. Inside a RELAY DATA frame: path.relay_channel is set and bytes is the inner packet.
  std::function<void(const PathAddr& from, base::ByteVec bytes)> on_control;
  // The first DATA authenticated under a receive index (moves "next" keys to "current").
  std::function<void(uint32_t local_index)> on_first_data;
  // Packets wait for a peer without tx_keys (at most once per peer and 100 ms).
  std::function<void(PeerId)> on_wanted;
  // A whole inner packet for a peer whose route names a stream.
  std::function<void(PeerId, base::ByteVec packet)> on_held;
  // An inner packet whose destination is no peer's (a VIP without a slot, an unknown overlay address). At most 1000/s, copied.
  std::function<void(base::ByteVec packet)> on_stray;
};

class DataPlane {
 public:
  struct Config {
    std::string tun = "edgemesh0";
    std::vector<base::IpPort> listen;          // one UDP socket per family: 0.0.0.0:port, [::]:port; port 0: any. Empty: the TUN alone
    size_t workers = 1;
    uint32_t socket_mark = 0;
    std::vector<base::Cidr> own;               // own overlay hosts, own pod CIDRs: inner destinations accepted
    uint16_t tun_mtu = kInnerMtuMax;           // what a way to a peer carries its routes say
    bool gso = true;                           // false: one datagram per send, for networks that lose batches
  };
  static base::Result<std::unique_ptr<DataPlane>> start(Config, DataPlaneHooks, base::Loop& control, base::SocketStore&, base::Metrics&);
  virtual ~DataPlane() = default;              // joins the workers; no hook runs afterwards

  virtual uint16_t port() const = 0;           // the local UDP port
  virtual void set_peer(PeerId, PeerRoute) = 0;
  virtual void remove_peer(PeerId) = 0;        // its receive keys too
  virtual void add_receive_keys(PeerId, DataKeysPtr) = 0;
  virtual void remove_receive_keys(uint32_t local_index) = 0;
  // A control packet, now; wraps it for a relay channel. ttl: hops it may travel (0: the system's), to open the own NAT and no more.
  virtual void send(const PathAddr&, base::ByteView datagram, uint8_t ttl = 0) = 0;
  virtual void deliver(PeerId, base::ByteView packet) = 0;           // an inner packet of that peer's, checked like one in DATA
  virtual void write_tun(base::ByteView ip_packet) = 0;              // e.g. ICMP unreachable towards a pod
  virtual PeerTraffic traffic(PeerId) const = 0;
  // After a rebind of the local port (fresh-port punch) the old socket goes on receiving for 10 s.
  virtual base::Result<void> rebind(uint16_t port) = 0;
  // A further socket of that family on a port of its own, for punching. It receives like the node's own; what comes in by it says so
  // in PathAddr::socket, and a path with that number is sent by it, DATA too. At most kSocketsMax at a time.
  // port: one of an earlier process whose NAT mapping is to be met again; 0: any.
  virtual base::Result<uint32_t> open_socket(bool v6, uint16_t port = 0) = 0;
  virtual void close_socket(uint32_t socket) = 0;
  virtual uint16_t socket_port(uint32_t socket) const = 0;  // 0: no such socket
  // A stream to a relay in place of a socket: what is sent by the number returned goes to the sink, from any thread; carried() hands in
  // a datagram that came from that relay. close_socket() ends it.
  virtual uint32_t open_carrier(std::function<void(base::ByteView)> sink) = 0;
  virtual void carried(uint32_t carrier, const base::IpPort& relay, base::ByteView datagram) = 0;
};

}  // namespace tunnel
