// MeshNode: all peers of one node and what they share: signalling frames and control datagrams are led to the peer they are for,
// relay channels are bound, the own address is asked from relays (STUN), exports are kept, and each peer's certified addresses
// become its route. Runs on whatever Loop, DataPlane and Signal it is given: the real ones (tunnel.cc) or simulated ones.
// Control loop only.
//   mesh_node.cc     the peers' table and the facade's calls
//   mesh_relays.cc   grants, channel binding, STUN
//   mesh_carriers.cc relays by TCP where UDP does not pass
//   mesh_doors.cc    peers of earlier sessions: knocking, being knocked at, what is remembered of them
//   mesh_routes.cc   who owns which inner addresses; what the data plane is told
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/loop/loop.h"
#include "tunnel/path/known_peers.h"
#include "tunnel/peer/deny_gossip.h"
#include "tunnel/peer/door.h"
#include "tunnel/peer/exports.h"
#include "tunnel/peer/peer.h"
#include "tunnel/peer/peer_view.h"
#include "tunnel/relay/relay_client.h"
#include "tunnel/stun/hairpin.h"
#include "tunnel/stun/stun_client.h"

namespace tunnel {

class MeshNode {
 public:
  struct Config {
    NodeContext::Config node;
    std::vector<base::IpPort> advertise;
    bool native = false;
    KnownPeers known;  // of the process before
  };
  struct Hooks {
    std::function<base::Result<ExportGrant>(const std::string& peer, const std::vector<base::IpAddr>&, const ExportRequest&)>
        on_export_request;
    std::function<void(const std::string& peer, const ExportRequest&)> on_export_released, on_grant_withdrawn;
    std::function<void(const std::string& peer, bool up, const std::vector<base::Cidr>& certified)> on_peer;
    std::function<void(const std::string& peer, uint16_t mtu)>
        on_inner_mtu;  // that the kernel should give its routes; kInnerMtuStart before
    std::function<void(const std::string& peer, const std::string& text)> on_deny_list;  // a newer one, the peer says; to be verified
    std::function<void(const KnownPeers&)> on_known;                                     // they changed: to be kept
  };
  MeshNode(Config, Hooks, base::Loop&, base::Rng&, base::Metrics&, Signal&);
  ~MeshNode();
  // Once, before anything else. It must outlive this or be detached (null) first.
  void attach(DataPlane* data) { data_ = data; }

  // From the data plane's hooks.
  void on_control(const PathAddr& from, base::ByteView);
  void on_first_data(uint32_t index);
  void on_wanted(PeerId);
  void on_held(PeerId, base::ByteView packet);  // for a peer whose route names a stream

  // The addresses of the own interfaces; called again when the network changed.
  void set_host_candidates(std::vector<Candidate>);
  // Where the router forwards the port from; offered to peers as long as it is public.
  void set_mapped(std::optional<base::IpPort>);
  void set_link_mtu(size_t mtu) { node_.link_mtu = mtu; }  // the largest of the interfaces packets may leave by
  void set_relay_servers(std::vector<base::IpPort> udp) { stun_servers_ = std::move(udp); }  // besides those signalling knows

  void set_peers(std::vector<PeerHint>);
  // Where that peer was heard on a link of this node: a hint, tried beside what else is known. Of nodes not known by name: nothing.
  void set_lan(const std::string& peer, const std::vector<base::IpPort>& udp);
  std::set<std::string> names() const;    // of all nodes that may be met: hinted, in session, or of earlier sessions
  std::set<std::string> missing() const;  // wanted, and without a session
  // The own certificate was renewed: for handshakes from now on. Names, addresses and roles are the same.
  void renew(const base::NodeIdentity&, const Digest& leaf, decltype(NodeContext::Config::make_channel));
  void connect(const std::string& peer);
  void request_export(const std::string& peer, ExportRequest, ExportLedger::Callback);
  void release_export(const std::string& peer, const ExportRequest&);
  void withdraw_export(const std::string& peer, const ExportRequest&);
  void ping(const std::string& peer, std::function<void(base::Result<std::chrono::nanoseconds>, std::string)>);
  void recheck_denied(const std::function<bool(const base::NodeIdentity&)>& is_denied,
                      const std::function<bool(const std::string&)>& is_name_denied);
  // The list this node holds, as signed: goes to every peer it talks to, and to relays, which meet everybody.
  void spread_deny_list(uint64_t number, const std::string& text);
  void close_all(const std::string& reason);
  std::vector<PeerView> peers() const;
  PeerView peer(const std::string& name) const;   // without a name: not known
  bool is_direct(const std::string& peer) const;  // packets for it take a direct path
  std::vector<PathView> paths() const;
  NatView nat() const;
  const NodeContext& context() const { return node_; }

 private:
  class Record;
  struct Channel;
  struct Claim;
  Record* find(const std::string& name);
  Record* meet(const std::string& name, bool hinted);  // null: too many
  void forget(Record&);
  void let_go_if_idle(Record&);
  void touch();         // something happened: all peers are served soon
  void touch(Record&);  // to this one; after every call of its machine, whose deadlines may be others then
  void set_turn(Record&, base::Instant);
  void wake();  // the timer: whose time it is, and what is not a peer's
  void serve(Record&);
  void on_timer();
  void update_gauges();
  PeerView view(const Record&) const;

  // mesh_relays.cc
  void on_frame(const std::string& from, SignalKind, base::ByteView);
  void follow_relays();
  bool is_connected(const std::string& relay) const;
  void on_grant(RelayGrant);
  bool make_room(Record&, const std::string& relay);
  void drive_grants(Record&);
  bool ask_grant(Record&, const std::string& relay, base::Duration pause_max);
  bool is_deserted(const Record&, const Channel&) const;
  void drive_channels(Record&);
  void leave(Record&, Channel&, const std::optional<PathAddr>& path);
  std::optional<base::Instant> channel_deadline(const Channel&) const;
  void on_relay_control(const PathAddr& from, base::ByteView);
  void drive_stun();
  void ask_stun_now();
  void on_stun(const PathAddr& from, base::ByteView);
  std::vector<base::IpPort> own_addresses() const;
  void publish_candidates();

  // mesh_carriers.cc
  struct Carrier {  // to one relay
    bool wanted = false, in_use = false;
    base::IpPort udp;         // the relay's address, where UDP is tried again
    uint64_t connection = 0;  // of signalling; 0: none
    uint32_t socket = 0;      // of the data plane
    StunId probe{};
    base::Instant next_probe{}, returned{}, warm_until{};
    base::Duration probe_pause{0};  // grows with every return that did not last
  };
  const RelayInfo* relay_info(const std::string& relay) const;  // null: not connected
  uint32_t socket_to(const std::string& relay) const;
  void warm_up(const std::string& relay);
  void watch_udp(Record&, const std::string& relay, const RelayClient&);
  void follow_carriers();
  void follow_carrier(const std::string& relay, Carrier&);
  void switch_to(const std::string& relay, Carrier&, bool tcp);
  void probe_udp();
  bool on_udp_answer(const StunMessage&);
  void on_record(const std::string& relay, base::ByteView);
  std::optional<base::Instant> carriers_deadline() const;

  // mesh_doors.cc
  void knock_at_known();
  void on_door(const PathAddr& from, base::ByteView);
  void drive_door(Record&);
  std::optional<base::Instant> door_deadline(const Record&) const;
  std::vector<PathAddr> door_addresses(Record&);
  uint32_t socket_of(Record&, const KnownPath&);
  void close_door_sockets(Record&);
  void remember(Record&, const ResumeSecret&);
  void remember_paths(Record&);
  void forget_known(const std::string& name);
  void index_doors(const std::string& name);
  bool is_known_denied(const std::string& name, const std::function<bool(const base::NodeIdentity&)>&) const;
  void tell_known();

  // mesh_routes.cc
  void settle_routes();
  std::vector<Claim> claims() const;
  void push_route(Record&);

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  Signal& signal_;
  DataPlane* data_ = nullptr;
  NodeContext node_;
  DoorHouse doors_;
  KnownPeers known_peers_;
  uint64_t known_told_ = 0;
  std::unordered_map<uint64_t, std::string> door_ids_;  // id of a door -> the peer behind it
  void count_bytes(Record&);
  base::Counter &sent_direct_, &sent_relay_, &received_direct_, &received_relay_;  // bytes of inner packets
  base::Gauge &sessions_direct_, &sessions_relay_, &known_, &least_mtu_;
  std::map<std::string, std::unique_ptr<Record>> peers_;
  std::unordered_map<PeerId, Record*> by_id_;
  std::unordered_map<uint32_t, Record*> by_index_;
  std::set<std::pair<base::Instant, PeerId>> turns_;  // when each is served at the latest
  bool all_due_ = false;
  PeerId last_id_ = 0;
  std::unique_ptr<base::Timer> timer_;
  base::Instant looked_around_{};
  std::vector<Candidate> hosts_;
  std::optional<base::IpPort> mapped_;
  DenyGossip::HeldPtr deny_;
  std::vector<RelayInfo> relays_;  // signalling has a connection to, the nearest first
  std::vector<base::IpPort> stun_servers_;
  StunClient stun_;
  Hairpin hairpin_;
  std::map<std::string, Carrier> carriers_;
  base::Gauge& carried_;
  base::Counter &to_tcp_, &to_udp_;
};

}  // namespace tunnel
