// One peer in the table of MeshNode: its machine, its exports, its relay channels, its route. Internal to tunnel/peer.
#pragma once
#include "tunnel/peer/mesh_node.h"

namespace tunnel {

struct MeshNode::Channel {
  std::unique_ptr<RelayClient> client;
  std::optional<PathAddr> announced;  // told to the machine as bound
  std::optional<base::IpPort> observed;
  base::Instant rebound{};
  uint32_t socket = 0;                                        // by which the relay confirmed the binding last
  std::optional<std::pair<PathAddr, base::Instant>> leaving;  // the way before, kept until then
};

class MeshNode::Record final : public PeerEnv {
 public:
  Record(MeshNode& m, PeerId peer_id, const std::string& name)
      : mesh(m),
        id(peer_id),
        exports({[this] { return machine.has_session(); },  // without a path yet: it is repeated when there is one
                 [this](ControlBody b, ControlChannel::Answer a) { machine.request(std::move(b), std::move(a), mesh.loop_.now()); },
                 [this](const ExportRequest& r) { return decide(r); },
                 [this](const ExportRequest& r) {
                   if (mesh.hooks_.on_export_released) mesh.hooks_.on_export_released(machine.name(), r);
                 },
                 [this](const ExportRequest& r) {
                   if (mesh.hooks_.on_grant_withdrawn) mesh.hooks_.on_grant_withdrawn(machine.name(), r);
                 }}),
        deny({[this](ControlBody b, ControlChannel::Answer a) { machine.request(std::move(b), std::move(a), mesh.loop_.now()); },
              [this](const std::string& text) {
                if (mesh.hooks_.on_deny_list) mesh.hooks_.on_deny_list(machine.name(), text);
              }}),
        door(goes_first(m.config_.node.identity.name, name), m.doors_,
             {[this](const PathAddr& to, base::ByteView b) { send(to, b, 0); }, [this] { return mesh.door_addresses(*this); },
              [this](SignalKind k, base::ByteView b) {
                through_door = true;
                machine.on_signal(k, b, mesh.loop_.now());
              },
              [this] { machine.resume(mesh.loop_.now()); }}),
        machine(name, m.node_, *this) {
    deny.hold(m.deny_);
  }
  ~Record() override {
    for (auto [port, socket] : door_sockets) close_socket(socket);
  }

  // PeerEnv
  void send(const PathAddr& to, base::ByteView b, uint8_t ttl) override {
    if (mesh.data_) mesh.data_->send(to, b, ttl);
  }
  std::optional<uint32_t> open_socket() override {
    auto s = mesh.data_ ? mesh.data_->open_socket(false) : base::fail(base::Code::unavailable, "no data plane");
    return s ? std::optional(*s) : std::nullopt;
  }
  void close_socket(uint32_t s) override {
    if (mesh.data_) mesh.data_->close_socket(s);
  }
  void signal(SignalKind kind, base::ByteView b) override {
    door.send(kind, b, mesh.loop_.now());
    mesh.signal_.send(machine.name(), kind, b);
  }
  bool has_signal_route() const override { return door.is_open(mesh.loop_.now()) || mesh.signal_.has_route(machine.name()); }
  std::string signal_trouble() const override { return mesh.signal_.trouble(machine.name()); }
  std::optional<PathAddr> heard_at_door() const override { return door.is_open(mesh.loop_.now()) ? door.address() : std::nullopt; }
  void add_receive_keys(DataKeysPtr keys) override {
    mesh.by_index_[keys->local_index()] = this;
    if (mesh.data_) mesh.data_->add_receive_keys(id, std::move(keys));
  }
  void remove_receive_keys(uint32_t index) override {
    mesh.by_index_.erase(index);
    if (mesh.data_) mesh.data_->remove_receive_keys(index);
  }
  void set_route(DataKeysPtr keys, const PathAddr& to, uint16_t mtu, uint64_t handshake) override {
    stream = handshake;
    tx_keys = std::move(keys);
    path = to;
    inner_mtu = mtu;
    mesh.push_route(*this);
  }
  void deliver(base::ByteView packet) override {
    tell_up();  // its answer needs the way back
    if (mesh.data_) mesh.data_->deliver(id, packet);
  }
  void tell_up();
  void on_inner_mtu(uint16_t mtu) override {
    if (mesh.hooks_.on_inner_mtu) mesh.hooks_.on_inner_mtu(machine.name(), mtu);
  }
  PeerTraffic traffic() const override { return mesh.data_ ? mesh.data_->traffic(id) : PeerTraffic{}; }
  void on_identity(const base::NodeIdentity&) override { mesh.settle_routes(); }
  void on_session(bool instance_changed) override;
  void on_secret(const ResumeSecret& s) override { mesh.remember(*this, s); }
  ControlBody on_request(const ControlBody& b) override {
    if (auto* part = std::get_if<DenyPart>(&b)) return deny.on_part(*part, mesh.loop_.now());
    auto reply = exports.on_request(b, mesh.loop_.now());
    return reply ? *reply : ControlBody(Ack{});
  }
  void ask_outside() override { mesh.ask_stun_now(); }
  void on_port_step(int step) override {
    mesh.node_.port_step = step;
    mesh.publish_candidates();
  }
  void log(base::LogLevel level, const std::string& text) override {
    if (level == base::LogLevel::info) EM_LOG(info, "tunnel", "{}", text);
    else if (level == base::LogLevel::error) EM_LOG(error, "tunnel", "{}", text);
    else EM_LOG(warn, "tunnel", "{}", text);
  }

  base::Result<ExportGrant> decide(const ExportRequest& r) {
    if (!machine.identity() || conflict || !mesh.hooks_.on_export_request)
      return base::fail(base::Code::denied, "this node exports nothing");
    return mesh.hooks_.on_export_request(machine.name(), machine.identity()->overlay_ips, r);
  }
  std::vector<base::Cidr> certified() const;
  std::vector<base::Cidr> hinted_prefixes() const;

  MeshNode& mesh;
  PeerId id;
  PeerHint hint;
  bool hinted = false;
  std::vector<base::IpPort> lan;  // heard there on a link of this node
  bool conflict = false;          // its addresses are claimed by somebody else too: not routed
  std::string conflict_why;
  bool told_up = false;
  std::vector<base::Cidr> inner;  // what the data plane was told
  DataKeysPtr tx_keys;
  PeerTraffic counted;  // what the metrics have of it
  PathAddr path;
  uint16_t inner_mtu = kInnerMtuSure;
  uint64_t stream = 0;                      // of a handshake that takes packets
  std::map<std::string, Channel> channels;  // by relay name, at most two
  struct Asking {
    base::Instant next;
    base::Duration pause;
  };
  std::map<std::string, Asking> asking;  // for a grant, by connected relay
  std::optional<base::Instant> grant_due, without_direct;
  base::Instant born{};
  base::Instant turn{};  // as in MeshNode::turns_
  ExportLedger exports;
  DenyGossip deny;
  Door door;
  bool through_door = false;                  // the last handshake frame came by it
  bool resumed = false;                       // so did the session
  std::optional<base::Instant> resume_at;     // a peer of an earlier process: knocked at from then on
  bool called_again = false;                  // by signalling, once
  std::optional<PathAddr> confirmed;          // told to the known peers
  std::map<uint16_t, uint32_t> door_sockets;  // by own port: opened anew for paths of an earlier process
  PeerMachine machine;                        // last: its end still calls the functions above
};

}  // namespace tunnel
