// A simulated mesh: real MeshNodes with the deterministic handshake over SimNet, a SimSignal between them, and a data plane that
// seals and opens real DATA packets. Relays with the real RelayServer, one to begin with. For tests and the program mesh_sim.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/sim/jumping_loop.h"
#include "base/sim/sim_loop.h"
#include "base/sim/sim_net.h"
#include "tunnel/lan/lan_discovery.h"
#include "tunnel/peer/mesh_node.h"
#include "tunnel/relay/relay_server.h"
#include "tunnel/session/replay_window.h"
#include "tunnel/session/sim_channel.h"

namespace tunnel {

class MeshSim;

// Frames between nodes with a delay; each node is on or off. Grants come from the simulated relay.
class SimSignal final : public Signal {
 public:
  SimSignal(MeshSim& sim, std::string name) : sim_(sim), name_(std::move(name)) {}
  bool has_route(const std::string& node) const override;
  void send(const std::string& to, SignalKind, base::ByteView) override;
  void on_frame(std::function<void(const std::string&, SignalKind, base::ByteView)> f) override { frame = std::move(f); }
  void on_routes_changed(std::function<void()> f) override { routes = std::move(f); }
  std::vector<RelayInfo> relays() const override;
  void request_grant(const std::string& peer, const std::string& relay) override;
  void on_grant(std::function<void(RelayGrant)> f) override { grant = std::move(f); }
  void want_records(const std::string& relay, bool wanted) override;
  RecordRoute records_to(const std::string& relay) override;
  void on_record(std::function<void(const std::string&, base::ByteView)> f) override { record = std::move(f); }
  std::function<void(const std::string&, SignalKind, base::ByteView)> frame;
  std::function<void()> routes;
  std::function<void(RelayGrant)> grant;
  std::function<void(const std::string&, base::ByteView)> record;

 private:
  friend class MeshSim;
  std::map<std::string, uint64_t> streams_;  // by relay: the number of the connection for records
  MeshSim& sim_;
  std::string name_;
};

// Carries "inner packets" that are numbered texts: who sent it, to whom, which number.
class SimDataPlane final : public DataPlane {
 public:
  SimDataPlane(MeshSim&, std::string name, base::SimHost&, base::Loop& clock, uint16_t port);
  uint16_t port() const override { return socket_->port(); }
  void set_peer(PeerId, PeerRoute) override;
  void remove_peer(PeerId) override;
  void add_receive_keys(PeerId, DataKeysPtr) override;
  void remove_receive_keys(uint32_t index) override { keys_.erase(index); }
  void send(const PathAddr&, base::ByteView, uint8_t ttl = 0) override;
  base::Result<uint32_t> open_socket(bool v6, uint16_t port) override;
  void close_socket(uint32_t socket) override { sockets_.erase(socket), carriers_.erase(socket); }
  uint16_t socket_port(uint32_t socket) const override;
  uint32_t open_carrier(std::function<void(base::ByteView)>) override;
  void carried(uint32_t carrier, const base::IpPort& relay, base::ByteView) override;
  size_t open_sockets() const { return sockets_.size(); }
  void deliver(PeerId, base::ByteView packet) override;
  void write_tun(base::ByteView) override {}
  PeerTraffic traffic(PeerId id) const override;
  base::Result<void> rebind(uint16_t) override { return {}; }
  // Sends one inner packet if there are keys; else it waits, for a second at most, or goes with a handshake. False: no such peer.
  bool send_inner(const std::string& to);

 private:
  friend class MeshSim;
  struct Keys {
    DataKeysPtr keys;
    PeerId peer;
    ReplayWindow window;
    bool used = false;
  };
  struct Peer {
    PeerRoute route;
    PeerTraffic traffic;
    struct Held {
      std::string text;
      base::Instant at;
    };
    std::deque<Held> held;
    size_t may_hand_over = 0;
  };
  void send_text(Peer&, std::string text);
  void release(PeerId, Peer&);
  void on_datagram(uint32_t socket, base::IpPort from, base::ByteView);
  void on_data(const PathAddr&, base::ByteView);
  MeshSim& sim_;
  std::string name_;
  base::SimHost& host_;
  base::Loop& clock_;
  std::unique_ptr<base::SimSocket> socket_;
  std::map<uint32_t, std::unique_ptr<base::SimSocket>> sockets_;
  std::map<uint32_t, std::function<void(base::ByteView)>> carriers_;
  uint32_t last_socket_ = 0, last_carrier_ = kFirstCarrier - 1;
  LaneCounter& counter_of(const DataKeysPtr&);
  std::unordered_map<PeerId, Peer> peers_;
  std::unordered_map<std::string, PeerId> by_name_;
  std::map<uint32_t, Keys> keys_;
  std::map<DataKeysPtr, LaneCounter> counters_;  // a route may lose its keys and get the same ones back: they count on
  DataPlaneHooks hooks_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class MeshSim {
 public:
  explicit MeshSim(uint64_t seed);
  ~MeshSim();
  struct NodeSpec {
    std::optional<base::NatSpec> nat;  // none: on the internet
    base::IpAddr ip;
    std::vector<base::IpPort> advertise;
    bool direct = true;
    RekeyLimits rekey;
    std::optional<base::IpAddr> overlay;  // none: one of its own
    base::Duration idle = std::chrono::minutes(10);
    bool lan = false;         // finds and is found by multicast on its LAN; signalling reaches what was found
    std::string certificate;  // the name in it; empty: its own
  };
  void add(const std::string& name, NodeSpec);
  void start(const std::string& name);  // the daemon: again after kill() with a new instance
  void kill(const std::string& name);
  void jump_clock(const std::string& name, base::Duration ahead) { nodes_.at(name).loop->jump(ahead); }
  // Ends everything; what still waits for its time afterwards was left behind by a node.
  bool ends_clean();
  void add_relay();                              // one more, farther away; before the nodes start
  void set_relay(bool alive, size_t which = 0);  // the process of a relay: dead ones lose their bindings
  bool is_any_relay_alive() const;
  // Before or after its start; the other nodes are there.
  void block_udp(const std::string& node, bool blocked);   // nothing but signalling and records leaves it or reaches it
  void set_direct_signal(bool on) { direct_signal = on; }  // frames reach peers without the relay
  base::Duration talk_every = std::chrono::milliseconds(100);
  void talk(const std::string& a, const std::string& b);  // a sends to b every so often from now on, and b to a
  void send(const std::string& a, const std::string& b) { (void)nodes_.at(a).data->send_inner(b); }  // one packet
  void silence() { talks_.clear(); }
  void run_for(base::Duration d) { loop.run_for(d); }
  // b got something from a, and a from b, sent after `since`.
  bool met(const std::string& a, const std::string& b, base::Instant since) const;
  bool is_direct(const std::string& a, const std::string& b) const;
  PeerView view(const std::string& a, const std::string& b) const;
  // The receive indices of the peer that a seals with for b, and those at which a receives from b.
  std::string keys(const std::string& a, const std::string& b) const;
  const LanDiscovery* lan(const std::string& n) const { return nodes_.at(n).lan.get(); }
  // What a move of the host means to a daemon: netlink tells it.
  void tell_own_addresses(const std::string& name);
  base::SimHost& host(const std::string& n) { return *nodes_.at(n).host; }
  MeshNode& mesh(const std::string& n) { return *nodes_.at(n).mesh; }
  size_t open_sockets(const std::string& n) const { return nodes_.at(n).data->open_sockets(); }

  base::SimLoop loop;
  base::SimNet net;
  base::SeededRng rng;
  bool direct_signal = false;
  std::map<std::string, std::string> signalled_at;  // frames for a certificate's name go to this node
  uint64_t numbers() const { return numbers_; }     // inner packets sent so far
  const base::Metrics& metrics(const std::string& n) const { return *nodes_.at(n).metrics; }
  bool full_size = false;                      // inner packets are as long as one datagram may be
  size_t largest = 0;                          // of the DATA that arrived
  bool sources = true;                         // nodes that start are told of the others; without, they know who they met
  std::map<std::string, base::ByteVec> disks;  // by node: the known peers as it wrote them last
  uint64_t delivered = 0, doubled = 0, misattributed = 0, lost = 0;  // inner packets
  std::vector<std::string> problems;
  std::map<std::string, std::string> deny_lists;  // by node: the text it was brought; its number is the text's first one

 private:
  friend class SimSignal;
  friend class SimDataPlane;
  struct Node {
    NodeSpec spec;
    base::NodeIdentity identity;
    base::SimHost* host = nullptr;
    std::unique_ptr<base::JumpingLoop> loop;
    std::unique_ptr<base::Metrics> metrics;
    std::unique_ptr<SimSignal> signal;
    std::unique_ptr<SimDataPlane> data;
    std::unique_ptr<MeshNode> mesh;
    std::unique_ptr<base::SimSocket> lan_socket;
    std::unique_ptr<LanDiscovery> lan;
  };
  struct Got {
    base::Instant sent;
    uint64_t number = 0;
  };
  struct Relay {
    std::string name;
    base::IpPort at;
    base::SimHost* host = nullptr;
    std::unique_ptr<base::SimSocket> socket;
    std::unique_ptr<RelayServer> server;
  };
  const std::string& at_node(const std::string& certificate) const {
    auto it = signalled_at.find(certificate);
    return it == signalled_at.end() ? certificate : it->second;
  }
  void boot(Relay&);
  void start_lan(const std::string& name);
  void look_around();
  void pump();
  void delivered_inner(const std::string& at, const std::string& certified_sender, base::ByteView text);
  void later(base::Duration, std::function<void()>);
  void tell_routes();
  void from_relay(Relay&, const base::IpPort& to, base::ByteView);

  std::map<std::string, Node> nodes_;
  std::vector<std::unique_ptr<Relay>> relays_;
  base::Metrics relay_metrics_;
  std::unique_ptr<base::Timer> relay_tick_, pump_timer_, lan_tick_;
  std::map<uint64_t, std::unique_ptr<base::Timer>> flying_;
  uint64_t flights_ = 0, numbers_ = 0, streams_ = 0;
  std::set<std::pair<std::string, std::string>> dialled_;  // who found whom on a LAN
  std::set<std::pair<std::string, std::string>> talks_;
  std::map<std::pair<std::string, std::string>, base::Instant> last_sent_seen_;  // (from, to): sending time of the newest that arrived
  std::unordered_set<uint64_t> seen_;                                            // numbers of packets that arrived where they were to
};

}  // namespace tunnel
