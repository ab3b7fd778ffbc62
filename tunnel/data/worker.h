// Worker: one thread of the data plane with its loop, its TUN queue, its UDP sockets and its own copy of the lookup tables.
// Changes come as functions posted to it and run between reads, so nothing here is locked and nothing is shared but the keys
// (constant) and the counters. What a worker owns alone: the counters of its lane, the replay windows of the receive indices that
// fall to it (index modulo workers), the batches, the queues of packets that wait for keys.
//
// worker.cc: life and tables; worker_send.cc: TUN to UDP; worker_receive.cc: UDP to TUN; worker_held.cc: packets without keys.
#pragma once
#include <atomic>
#include <deque>
#include <thread>
#include <unordered_map>

#include "base/loop/post_queue.h"
#include "tunnel/data/pieces.h"
#include "tunnel/data/prefix_map.h"
#include "tunnel/data/send_batch.h"
#include "tunnel/data/shared.h"
#include "tunnel/session/replay_window.h"
#include "tunnel/tun/coalesce.h"
#include "tunnel/tun/segment.h"

namespace tunnel {

// DATA flag: the inner TCP or UDP checksum covers the pseudo-header only; the receiver's kernel completes it where needed.
inline constexpr uint32_t kFlagPartialChecksum = 1;

class Worker {
 public:
  struct Config {
    size_t number = 0, workers = 1;
    int tun_fd = -1;  // outlives the worker
    std::vector<base::Cidr> own;
    Coalescer::Options join = {};
  };
  Worker(Config, std::unique_ptr<base::Loop>, std::shared_ptr<UdpPort>, std::shared_ptr<ControlGate>, DataCounters&);
  ~Worker();  // ends the thread
  base::Result<void> start(std::vector<Worker*> all);

  // Any thread; in order. Packets that come after the call find the change made.
  void set_peer(PeerId, PeerRoute, std::shared_ptr<PeerCounters>, std::shared_ptr<UdpPort> by = nullptr);  // by null: the own port
  void remove_peer(PeerId);
  void add_receive_keys(PeerId, DataKeysPtr);
  void remove_receive_keys(uint32_t local_index);
  void replace_port(std::shared_ptr<UdpPort>);
  void add_socket(std::shared_ptr<UdpPort>);  // read here
  void remove_socket(uint32_t id);
  void take_packet(PeerId, base::ByteVec);  // an inner one of that peer's
  void take_data(PathAddr from, base::ByteVec datagram, uint8_t ecn);  // one that fell to another worker's socket

 private:
  using Now = base::Instant;
  struct LaneOfKeys {
    DataKeysPtr keys;
    LaneCounter counter;
  };
  struct Held {
    base::ByteVec bytes;  // vnet header and packet
    Now at;
  };
  struct Peer {
    PeerId id;
    PeerRoute route;
    std::shared_ptr<PeerCounters> counters;
    InnerFilter sources;
    Endpoint endpoint;
    std::shared_ptr<UdpPort> by;  // null: port_
    LaneCounter* lane = nullptr;  // of route.tx_keys
    std::deque<Held> held;
    size_t held_bytes = 0;
    size_t may_hand_over = 0;  // to route.stream
    Now wanted_at{};
  };
  struct Receiver {  // one receive index
    DataKeysPtr keys;
    Peer* peer;
    ReplayWindows windows;
    Pieces pieces;
    bool seen = false;
    base::SockAddr last_from;
    uint32_t last_channel = 0, last_socket = 0;
  };
  struct Batch {
    SendBatch out;
    Peer* peer = nullptr;
    size_t inner_bytes = 0, long_ones = 0;
    uint8_t ecn = 0;
  };
  struct Port {
    std::shared_ptr<UdpPort> sockets;
    std::unique_ptr<base::FdWatch> watch[2];
    Now until{};
  };
  struct Arrival {  // what the datagrams of one receive call share
    const base::SockAddr* from;
    uint8_t ecn;
    Now now;
    uint32_t socket = 0;
  };

  // worker.cc
  void change(std::function<void()>);
  Peer& peer_of(PeerId);
  void apply_peer(PeerId, PeerRoute, std::shared_ptr<PeerCounters>, std::shared_ptr<UdpPort>);
  void apply_remove(PeerId);
  LaneCounter* lane_for(const DataKeysPtr&);
  void forget_dead_lanes();
  Port watch_port(std::shared_ptr<UdpPort>);
  void retire_ports();

  // worker_send.cc
  void on_tun();
  bool read_tun();
  void route_packet(const VnetHeader&, base::MutByteView packet);
  void send_segments(Peer&);
  void send_pieces(Peer&, Batch&, uint32_t flags);
  uint8_t* room(Peer&, Batch&, size_t inner_bytes);
  void seal(Peer&, Batch&, uint32_t flags, const uint8_t* text, uint8_t* at, size_t inner_bytes);
  void stray_segment();
  Batch& batch_for(Peer&, uint8_t ecn);
  void flush(Batch&);
  void flush_all();

  // worker_held.cc
  void hold(Peer&, const VnetHeader&, base::ByteView packet);
  bool hand_over(Peer&, size_t bytes);
  base::ByteVec whole_segment();
  void drop_held_before(Peer&, Now);
  void release_held(Peer&);
  void sweep_held();

  // worker_receive.cc
  struct ReceiveBuffers;
  void on_udp(UdpPort&, bool v6);
  void datagrams(base::MutByteView, size_t segment, const Arrival&);
  void datagram(base::MutByteView, const Arrival&);
  void data(base::MutByteView, uint32_t channel, const Arrival&);
  Receiver* receiver_of(uint32_t index);
  void join(Receiver&, const PacketHeader&, base::ByteView piece, const Arrival&);
  void deliver(Receiver&, base::MutByteView packet, uint32_t flags, const Arrival&);
  bool is_admitted(Receiver&, const IpPacket&);
  bool is_admitted(const Peer&, const IpPacket&);
  void settle();
  void note_source(Receiver&, uint32_t channel, const Arrival&);
  void write_tun(iovec* parts, size_t n);

  Config c_;
  InnerFilter own_;
  std::shared_ptr<ControlGate> gate_;
  DataCounters& count_;
  std::vector<Worker*> all_;
  std::unique_ptr<base::Loop> loop_;
  base::PostQueue inbox_;
  std::atomic<size_t> handed_over_{0};  // by other workers, not yet looked at

  std::unordered_map<PeerId, std::unique_ptr<Peer>> peers_;
  PrefixMap<Peer*> routes_;
  std::unordered_map<uint32_t, std::unique_ptr<Receiver>> receivers_;
  std::vector<std::unique_ptr<LaneOfKeys>> lanes_;

  Segmenter segmenter_;
  base::ByteVec whole_;   // a packet that goes in pieces
  base::ByteVec joined_;  // packets that came in pieces, until the coalescer wrote them
  std::unique_ptr<uint8_t[]> tun_buffer_;
  std::array<Batch, 4> batches_;
  size_t next_batch_ = 0;
  size_t strays_ = 0;
  Now strays_since_{};

  Coalescer coalescer_;
  std::unique_ptr<ReceiveBuffers> buffers_;
  Receiver* last_receiver_ = nullptr;  // of the packet before; cleared by every change
  struct {
    Receiver* receiver = nullptr;
    bool v6 = false;
    uint8_t addrs[32];
  } admitted_;

  struct Tally {  // received and not yet counted; settled before anything changes and at the end of a batch
    Peer* peer = nullptr;
    bool relay = false;
    size_t packets = 0, bytes = 0, inner_packets = 0, inner_bytes = 0;
  } tally_;

  Port port_;
  std::vector<Port> old_ports_;  // receive only, 10 s after a rebind
  std::unordered_map<uint32_t, Port> sockets_;  // by UdpPort::id()
  std::unique_ptr<base::Timer> retire_timer_, held_timer_;
  std::unique_ptr<base::FdWatch> tun_watch_;
  std::thread thread_;
};

}  // namespace tunnel
