#include "tunnel/tunnel.h"

#include <algorithm>
#include <filesystem>

#include "base/core/log.h"
#include "base/net/netlink.h"
#include "base/net/socket.h"
#include "tunnel/certificate_watch.h"
#include "tunnel/data/data_plane.h"
#include "tunnel/known_peers_file.h"
#include "tunnel/lan_port.h"
#include "tunnel/node_files.h"
#include "tunnel/peer/mesh_node.h"
#include "tunnel/peer_census.h"
#include "tunnel/portmap_port.h"
#include "tunnel/relay_port.h"
#include "tunnel/session/tls_channel.h"
#include "tunnel/signal/h2_signal.h"
#include "tunnel/upnp_port.h"

namespace tunnel {
namespace {
constexpr base::Duration kEverySecond = std::chrono::seconds(1);

base::IpAddr any6() {
  const uint8_t zero[16] = {};
  return base::IpAddr::v6(zero);
}

// Overlay addresses are never candidates: the range the own address lies in.
std::vector<base::Cidr> overlay_ranges(const std::vector<base::IpAddr>& own) {
  const base::Cidr standard = *base::Cidr::parse("100.64.0.0/10");
  std::vector<base::Cidr> out;
  for (const auto& ip : own) {
    if (standard.contains(ip)) out.push_back(standard);
    else out.push_back(*base::Cidr::parse(ip.str() + (ip.is_v4() ? "/24" : "/64")));
  }
  return out;
}

base::Counter& renewals(base::Metrics& m, const char* result) {
  return m.counter("edgemeshd_certificate_renewals_total", "Times the node's certificate file was replaced while this process ran, by what became of it.",
                   {{"result", result}});
}

class TunnelImpl final : public Tunnel {
 public:
  TunnelImpl(Config c, Hooks h, base::Loop& loop, base::SocketStore& store, base::Rng& rng, base::Metrics& metrics)
      : c_(std::move(c)), h_(std::move(h)), loop_(loop), store_(store), rng_(rng), metrics_(metrics), certificates_(*c_.clock, c_.offline_grace, metrics), renewed_(renewals(metrics, "ok")), not_renewed_(renewals(metrics, "refused")),
        frozen_(metrics.gauge("edgemeshd_mesh_nodes_frozen", "MeshNodes that are gone and still count, because too many went within a minute; anything but 0 is an alarm.")) {}
  ~TunnelImpl() override {
    c_.clock->keep();
    monitor_.reset();
    if (lan_) lan_->stop_for_good();
    lan_.reset();
    if (portmap_) portmap_->stop_for_good();
    if (upnp_) upnp_->stop_for_good();
    upnp_.reset();
    portmap_.reset();
    if (mesh_) mesh_->close_all("this node stops");
    data_.reset();  // no hook runs from here on
    if (mesh_) mesh_->attach(nullptr);
    mesh_.reset();
    known_.reset();
  }

  base::Result<void> start() {
    EM_TRY(make_state_dir());
    certificate_stamp_ = stamp_of(node_paths());
    EM_TRY_ASSIGN(files_, read_node_files(node_paths(), *c_.clock, *c_.disk, c_.offline_grace));
    certificates_.own(files_.identity);
    known_ = std::make_unique<KnownPeersFile>(state_dir().empty() ? "" : state_dir() + "/known-peers", c_.disk, loop_);
    KnownPeers known = known_->load();
    EM_TRY(settle_ports());
    if (c_.udp_port == 0 && base::udp_socket({base::IpAddr(), known.port})) c_.udp_port = known.port;  // the NAT's mapping stays
    EM_TRY(start_signal());
    EM_TRY(start_data());
    EM_TRY(start_mesh(std::move(known)));
    EM_TRY(start_lan());
    start_port_mapping();
    watch_network();
    set_peers({});
    second_timer_ = loop_.timer([this] { once_a_second(); });
    second_timer_->arm(kEverySecond);
    EM_LOG(info, "tunnel", "node {} in {}: overlay {}, UDP port {}{}, packets sealed by {}", files_.identity.name,
           files_.identity.trust_domain, files_.identity.overlay_ips[0].str(), data_->port(),
           relay_ ? fmt::format(", relay on port {}", relay_udp_.port) : "", packet_aead_name(AeadId::aes_128_gcm));
    return {};
  }

  const std::vector<base::IpAddr>& overlay_ips() const override { return files_.identity.overlay_ips; }

  void hand_over() override {
    monitor_.reset();
    lan_.reset();
    upnp_.reset();
    portmap_.reset();
    second_timer_.reset();
    refresh_timer_.reset();
    data_.reset();
    mesh_->attach(nullptr);
    mesh_.reset();
    known_->flush();
    signal_.reset();
    relay_.reset();
  }
  void set_peers(std::vector<PeerHint> peers) override {
    if (!mesh_) return;
    std::erase_if(peers, [&](const PeerHint& p) { return p.name == files_.identity.name; });
    advertised_.clear();
    said_ = peers;
    peers = census_.take(std::move(peers), loop_.now());
    tell_census();
    std::vector<H2Signal::RelayTarget> relays;
    auto add_relay = [&](const std::string& name, const base::IpPort& at) {
      bool known = name == files_.identity.name || std::any_of(relays.begin(), relays.end(), [&](const auto& r) { return r.address == at; });
      if (!known) relays.push_back({name, at});
    };
    for (const auto& r : c_.relays) add_relay(r.name, r.address);
    for (const auto& p : peers) {
      if (!p.advertise.empty()) advertised_[p.name] = p.advertise;
      if (p.relay)
        for (const auto& a : p.advertise) add_relay(p.name, a);
    }
    signal_->set_relays(std::move(relays));
    std::set<std::string> names;
    for (const auto& p : peers) names.insert(p.name);
    certificates_.keep_only(names);
    mesh_->set_peers(std::move(peers));
    follow_lan_peers();
    tell_addresses();
    recheck_denied();
  }
  void connect(const std::string& peer) override {
    if (mesh_) mesh_->connect(peer);
  }
  void request_export(const std::string& peer, ExportRequest r, std::function<void(base::Result<ExportGrant>)> done) override {
    if (!mesh_) return done(base::fail(base::Code::unavailable, "this process has handed over"));
    mesh_->request_export(peer, std::move(r), std::move(done));
  }
  void release_export(const std::string& peer, const ExportRequest& r) override {
    if (mesh_) mesh_->release_export(peer, r);
  }
  void withdraw_export(const std::string& peer, const ExportRequest& r) override {
    if (mesh_) mesh_->withdraw_export(peer, r);
  }
  void ping(const std::string& peer, std::function<void(base::Result<std::chrono::nanoseconds>, std::string)> done) override {
    if (!mesh_) return done(base::fail(base::Code::unavailable, "this process has handed over"), "");
    mesh_->ping(peer, std::move(done));
  }
  void write_tun(base::ByteView packet) override {
    if (data_) data_->write_tun(packet);
  }
  void reload_deny_list() override {
    if (mesh_ && files_.deny.reload()) apply_deny_list();
  }
  std::vector<PeerView> peers() const override { return mesh_ ? mesh_->peers() : std::vector<PeerView>{}; }
  NatView nat() const override {
    NatView v = mesh_ ? mesh_->nat() : NatView{};
    if (portmap_) v.port_mapping = portmap_->view();
    if (upnp_) add_upnp(v.port_mapping, upnp_->client(), loop_.now());
    return v;
  }
  LanView lan() const override { return lan_ ? lan_->view() : LanView{}; }
  std::vector<PathView> paths() const override { return mesh_ ? mesh_->paths() : std::vector<PathView>{}; }

 private:
  // The relay role has a socket of its own at the port it is known by; where that is also the tunnel's, the tunnel takes the next.
  base::Result<void> settle_ports() {
    if (!c_.serve_relay) return {};
    if (!files_.identity.has_role(base::kRelayRole))
      return base::fail(base::Code::denied, "{}: tunnel.relay.enabled needs the role relay in the certificate of {}: edgemeshctl ca issue --role relay",
                        c_.cert_file, files_.identity.name);
    uint16_t port = c_.advertise.empty() ? c_.signal_port : c_.advertise[0].port;
    for (const auto& r : c_.relays)
      if (r.name == files_.identity.name) port = r.address.port;
    relay_udp_ = {base::IpAddr(), port};  // an unspecified address: "as dialled"
    if (c_.udp_port == port) c_.udp_port = uint16_t(port + 1);
    for (auto& a : c_.advertise) a.port = c_.udp_port;
    EM_TRY_ASSIGN(relay_, RelayPort::open({.name = files_.identity.name, .public_address = relay_udp_, .bytes_per_s_per_node = c_.relay_bytes_per_s_per_node}, loop_, store_, rng_, metrics_));
    return {};
  }

  NodeFilePaths node_paths() const { return {c_.node, c_.cert_file, c_.key_file, c_.ca_file, c_.deny_file, state_dir(), c_.psk_files}; }
  std::string state_dir() const { return c_.state_dir.empty() ? "" : c_.state_dir + "/tunnel"; }
  base::Result<void> make_state_dir() const {
    if (c_.state_dir.empty()) return {};
    std::error_code ec;
    std::filesystem::create_directories(state_dir(), ec);
    if (!ec) std::filesystem::permissions(state_dir(), std::filesystem::perms::owner_all, ec);
    if (ec) return base::fail(base::Code::io, "{}: {}: set dataDir to a folder this program may write", state_dir(), ec.message());
    return {};
  }

  std::function<base::WallTime()> trust_time() const {
    return [clock = c_.clock] { return clock->now(); };
  }
  base::DateRules date_rules() const {
    return {[clock = c_.clock] { return clock->starts_by(); }, c_.offline_grace};
  }

  base::Result<std::shared_ptr<TlsIdentity>> tls_identity(const NodeFiles& f) {
    auto is_denied = [this](const base::NodeIdentity& id) { return files_.deny.list().is_denied(id); };
    return TlsIdentity::make({f.certificate_pem, f.key_pem, f.ca_pem}, trust_time(), is_denied, date_rules());
  }
  base::Result<TlsChannelFactory> channels(const NodeFiles& f) {
    return TlsChannelFactory::make({f.certificate_pem, f.key_pem, f.ca_pem}, f.identity.trust_domain, trust_time(), date_rules());
  }

  // Certificate and key are replaced one after the other, so they are judged when neither has changed for a second.
  void follow_certificate() {
    std::string stamp = stamp_of(node_paths());
    if (stamp == certificate_stamp_ || std::exchange(certificate_news_, stamp) != stamp) return;
    certificate_stamp_ = stamp;
    auto done = renew_certificate();
    (done ? renewed_ : not_renewed_).add();
    if (!done) EM_LOG(error, "tunnel", "{}; the certificate in use until now stays, and the files are read again when they change", done.error().what);
    else EM_LOG(info, "tunnel", "the certificate of this node was renewed: good until {}", base::to_date(files_.identity.not_after));
  }

  // Sessions go on with the keys they have; handshakes and connections from now on show the new one.
  base::Result<void> renew_certificate() {
    EM_TRY_ASSIGN(NodeFiles f, read_renewed(node_paths(), files_.identity, *c_.clock, c_.offline_grace));
    if (files_.deny.list().is_denied(f.identity)) return base::fail(base::Code::denied, "{}: this certificate is on the deny list: issue another", c_.cert_file);
    EM_TRY_ASSIGN(auto tls, tls_identity(f));
    EM_TRY_ASSIGN(auto make, channels(f));
    files_.identity = f.identity;
    files_.certificate_pem = std::move(f.certificate_pem);
    files_.key_pem = std::move(f.key_pem);
    files_.ca_pem = std::move(f.ca_pem);
    files_.leaf = f.leaf;
    signal_->set_tls(std::move(tls));
    mesh_->renew(files_.identity, files_.leaf, [make](bool client, const std::string&) { return make.channel(client); });
    certificates_.own(files_.identity);
    return {};
  }

  base::Result<void> start_signal() {
    EM_TRY_ASSIGN(auto tls, tls_identity(files_));
    base::UniqueFd listener;
    if (c_.signal_port != 0) {
      EM_TRY_ASSIGN(listener, listen_tcp("signal-tcp", c_.signal_port));
    }
    H2Signal::Config s{.tls = std::move(tls), .instance = rng_.u64(), .serve_relay = c_.serve_relay, .relay_udp = relay_udp_, .proxy = c_.proxy, .socket_mark = c_.socket_mark};
    signal_ = H2Signal::make(std::move(s), loop_, rng_, metrics_, std::move(listener));
    if (relay_) {
      listen_where_firewalls_let_out();
      signal_->set_record_taker([this](uint64_t connection, const std::string&, base::ByteView b) { relay_->on_record(connection, b); });
      relay_->set_record_sender([this](uint64_t connection, base::ByteView b) { if (signal_) signal_->send_record(connection, b); });
      signal_->set_granter([this](const std::string& a, const std::string& b) { return relay_->server().grant(a, b, loop_.now()); });
    }
    return {};
  }

  base::Result<base::UniqueFd> listen_tcp(const std::string& name, uint16_t port) {
    base::SocketOptions o;
    o.v6_only = false;
    return store_.acquire(name, [&]() -> base::Result<base::UniqueFd> {
      auto dual = base::tcp_listen({any6(), port}, o);
      return dual ? std::move(dual) : base::tcp_listen({base::IpAddr(), port});
    });
  }

  void listen_where_firewalls_let_out() {
    if (c_.relay_tcp_port == 0 || c_.relay_tcp_port == c_.signal_port) return;
    auto fd = listen_tcp("relay-tcp", c_.relay_tcp_port);
    if (fd) return signal_->listen(std::move(*fd));
    EM_LOG(warn, "relay", "nodes whose network lets only TCP {} out cannot use this relay: {}; or set tunnel.relay.tcpPort: 0", c_.relay_tcp_port, fd.error().what);
  }

  base::Result<void> start_data() {
    DataPlane::Config d;
    d.tun = c_.tun;
    d.listen = {{base::IpAddr(), c_.udp_port}};
    if (base::udp_socket({any6(), 0})) d.listen.push_back({any6(), c_.udp_port});  // this kernel has IPv6
    d.workers = c_.workers;
    d.socket_mark = c_.socket_mark;
    for (const auto& ip : files_.identity.overlay_ips) d.own.push_back(base::Cidr::host(ip));
    if (c_.native) d.own.insert(d.own.end(), own_pod_cidrs().begin(), own_pod_cidrs().end());
    DataPlaneHooks hooks;
    hooks.on_control = [this](const PathAddr& from, base::ByteVec b) { if (mesh_) mesh_->on_control(from, b); };
    hooks.on_first_data = [this](uint32_t index) { if (mesh_) mesh_->on_first_data(index); };
    hooks.on_wanted = [this](PeerId id) { if (mesh_) mesh_->on_wanted(id); };
    hooks.on_held = [this](PeerId id, base::ByteVec b) { if (mesh_) mesh_->on_held(id, b); };
    hooks.on_stray = h_.on_stray;
    EM_TRY_ASSIGN(data_, DataPlane::start(std::move(d), std::move(hooks), loop_, store_, metrics_));
    return {};
  }
  const std::vector<base::Cidr>& own_pod_cidrs() const { return c_.own_pod_cidrs.empty() ? files_.identity.pod_cidrs : c_.own_pod_cidrs; }

  base::Result<void> start_mesh(KnownPeers known) {
    EM_TRY_ASSIGN(auto make, channels(files_));
    MeshNode::Config m;
    m.node.identity = files_.identity;
    m.node.leaf = files_.leaf;
    m.node.psks = files_.psks;
    m.node.direct = c_.direct;
    m.node.punch = c_.punch;
    m.node.rekey.after = c_.rekey_after;
    m.node.session_idle = c_.session_idle;
    m.node.rules = {overlay_ranges(files_.identity.overlay_ips), c_.interfaces_exclude, c_.tun, c_.interfaces_include};
    for (const auto& cidr : own_pod_cidrs()) m.node.rules.refused.push_back(cidr);
    m.node.make_channel = [make](bool client, const std::string&) { return make.channel(client); };
    m.node.accept = [this](const base::NodeIdentity& id) -> base::Result<void> {
      if (files_.deny.list().is_denied(id)) return base::fail(base::Code::denied, "{} is on the deny list", id.name);
      certificates_.accepted(id);
      return {};
    };
    m.advertise = c_.advertise;
    m.native = c_.native;
    m.known = std::move(known);
    m.known.port = data_->port();
    MeshNode::Hooks hooks{h_.on_export_request, h_.on_export_released, h_.on_grant_withdrawn, h_.on_peer, h_.on_inner_mtu,
                          [this](const std::string& peer, const std::string& text) { on_deny_list(peer, text); },
                          [this](const KnownPeers& k) { known_->save(k); }};
    rules_ = m.node.rules;
    mesh_ = std::make_unique<MeshNode>(std::move(m), std::move(hooks), loop_, rng_, metrics_, *signal_);
    mesh_->attach(data_.get());
    apply_deny_list();
    return {};
  }

  base::Result<void> start_lan() {
    if (!c_.lan_discovery || !c_.direct) return {};
    LanPort::Config l{{}, files_.identity.trust_domain, files_.identity.name, data_->port(), c_.signal_port, c_.socket_mark};
    for (const auto& der : files_.ca_certs) {
      EM_TRY_ASSIGN(auto key, base::spki_sha256_of(der));
      l.authorities.emplace_back(key.begin(), key.end());
    }
    lan_ = std::make_unique<LanPort>(std::move(l), [this](const std::string& peer) { on_lan(peer); }, loop_, rng_, metrics_);
    return {};
  }

  // Where the operator has forwarded a port himself there is nothing to ask for.
  void start_port_mapping() {
    if (!c_.port_mapping || !c_.direct || !c_.advertise.empty()) return;
    auto opened = PortmapPort::open(data_->port(), c_.socket_mark, [this] { on_mapped(); }, loop_, rng_, metrics_);
    if (opened) portmap_ = std::move(*opened);
    else EM_LOG(warn, "tunnel", "the router is not asked for a forwarded port: {}", opened.error().what);
    if (!portmap_ || !c_.upnp) return;
    auto upnp = UpnpPort::open(data_->port(), c_.socket_mark, [this] { on_mapped(); }, loop_, rng_, metrics_);
    if (upnp) upnp_ = std::move(*upnp);
    else EM_LOG(warn, "tunnel", "the router is not asked by UPnP: {}", upnp.error().what);
  }

  // PCP and NAT-PMP before UPnP: what one of them gave, the other needs not give.
  void on_mapped() {
    auto at = portmap_->outside();
    if (upnp_) upnp_->follow(at ? std::nullopt : portmap_->way());  // may come here again
    if (!at && upnp_) at = upnp_->client().outside();
    if (std::exchange(mapped_, at) == at) return;
    metrics_.gauge("edgemeshd_tunnel_port_mapped", "1 while the router forwards the tunnel's port to this node.").set(at ? 1 : 0);
    if (mesh_) mesh_->set_mapped(at);
    if (!at) EM_LOG(info, "tunnel", "the router forwards no port any more");
    else
      EM_LOG(info, "tunnel", "the router forwards {} to this node{}", at->str(),
             at->ip.is_private() ? ", but there is another NAT behind it: of no use to peers" : "");
  }

  void on_lan(const std::string& peer) {
    if (!mesh_) return;
    mesh_->set_lan(peer, lan_->udp_at(peer));
    tell_addresses();
  }

  // Relays see another address: the router may have been restarted, and have forgotten.
  void look_at_mapping() {
    if (!portmap_ || std::exchange(seen_at_, mesh_->context().outside) == mesh_->context().outside) return;
    portmap_->check();
    if (upnp_) upnp_->check();
  }

  // Of whom LanPort is to tell; and whether somebody is missed who was not a second ago.
  void follow_lan_peers() {
    if (!lan_) return;
    lan_->set_peers(mesh_->names());
    auto missing = mesh_->missing();
    bool is_news = !std::includes(missed_.begin(), missed_.end(), missing.begin(), missing.end());
    missed_ = std::move(missing);
    if (is_news) lan_->look();
  }

  // Where peers can be dialled: on the link first, where it is nearest and costs nobody else anything.
  void tell_addresses() {
    auto all = advertised_;
    for (const auto& n : lan_ ? lan_->view().nodes : std::vector<LanView::Node>{}) {
      auto at = lan_->signal_at(n.name);
      for (const auto& a : all[n.name])
        if (std::find(at.begin(), at.end(), a) == at.end()) at.push_back(a);
      all[n.name] = std::move(at);
    }
    signal_->set_addresses(std::move(all));
  }

  // Later: whoever brought it may be on it.
  void on_deny_list(const std::string& peer, const std::string& text) {
    auto taken = files_.deny.take(text);
    if (!taken) EM_LOG(warn, "tunnel", "{} offers a deny list: {}", peer, taken.error().what);
    if (!taken || !*taken) return;
    EM_LOG(info, "tunnel", "deny list {} came from {}", files_.deny.list().number(), peer);
    second_timer_->arm(base::Duration{0});
  }

  void once_a_second() {
    c_.clock->look();
    certificates_.look();
    follow_certificate();
    (void)files_.deny.follow();
    follow_lan_peers();
    if (files_.deny.list().number() != denied_up_to_) apply_deny_list();
    if (census_.is_due(loop_.now())) set_peers(said_);
    second_timer_->arm(kEverySecond);
  }

  void tell_census() {
    size_t frozen = census_.frozen(), before = size_t(frozen_.value());
    frozen_.set(int64_t(frozen));
    if (frozen > before)
      EM_LOG(error, "tunnel", "{} of {} MeshNodes disappeared within a minute: they count until they are back. If they are meant to be gone, restart this daemon; "
             "to shut a node out, deny it: edgemeshctl ca deny", frozen, census_.known_before());
    else if (frozen == 0 && before > 0) EM_LOG(info, "tunnel", "the MeshNodes that had disappeared are back");
  }

  void apply_deny_list() {
    const base::DenyList& list = files_.deny.list();
    denied_up_to_ = list.number();
    if (list.issued()) c_.clock->signed_by_ca(*list.issued());
    if (list.is_denied(files_.identity)) EM_LOG(error, "tunnel", "this node is on the deny list (number {}): no peer talks to it any more; issue a new certificate", list.number());
    signal_->recheck();
    if (relay_)
      for (const auto& name : list.names()) relay_->server().revoke(name);
    recheck_denied();
    if (list.number() != 0) mesh_->spread_deny_list(list.number(), list.text());
  }

  void recheck_denied() {
    mesh_->recheck_denied([this](const auto& id) { return files_.deny.list().is_denied(id); }, [this](const auto& name) { return files_.deny.list().is_name_denied(name); });
  }

  void watch_network() {
    auto m = base::netlink::NetlinkMonitor::start(loop_, [this] { refresh_timer_->arm(std::chrono::milliseconds(200)); });
    refresh_timer_ = loop_.timer([this] { refresh_candidates(); });
    if (m) monitor_ = std::move(*m);
    else EM_LOG(warn, "tunnel", "changes of the network are not followed: {}", m.error().what);
    refresh_candidates();
  }

  void refresh_candidates() {
    auto links = base::netlink::links();
    auto addresses = base::netlink::addresses();
    if (!links || !addresses) {
      EM_LOG(warn, "tunnel", "own addresses: {}", (links ? addresses.error() : links.error()).what);
      return;
    }
    mesh_->set_link_mtu(usable_mtu(*links, *addresses, rules_));
    mesh_->set_host_candidates(host_candidates(*links, *addresses, data_->port(), rules_));
    if (lan_) lan_->follow(lan_links(*links, *addresses, rules_));
    auto routes = portmap_ ? base::netlink::routes(base::Family::v4) : std::vector<base::netlink::Route>{};
    if (!portmap_ || !routes) return;
    portmap_->follow(portmap_way(*routes, *links, *addresses, rules_));
    if (upnp_ && !portmap_->outside()) upnp_->follow(portmap_->way());
  }

  Config c_;
  Hooks h_;
  base::Loop& loop_;
  base::SocketStore& store_;
  base::Rng& rng_;
  base::Metrics& metrics_;
  CertificateWatch certificates_;
  NodeFiles files_;
  std::string certificate_stamp_, certificate_news_;
  base::Counter &renewed_, &not_renewed_;
  CandidateRules rules_;
  base::IpPort relay_udp_;
  std::unique_ptr<RelayPort> relay_;
  std::unique_ptr<H2Signal> signal_;
  std::unique_ptr<DataPlane> data_;
  std::unique_ptr<KnownPeersFile> known_;
  std::unique_ptr<MeshNode> mesh_;
  std::unique_ptr<LanPort> lan_;
  std::unique_ptr<PortmapPort> portmap_;
  std::unique_ptr<UpnpPort> upnp_;
  std::optional<base::IpPort> mapped_;
  std::optional<base::IpPort> seen_at_;                          // by relays
  std::map<std::string, std::vector<base::IpPort>> advertised_;  // by peer, as its MeshNode says
  std::set<std::string> missed_;
  std::unique_ptr<base::netlink::NetlinkMonitor> monitor_;
  std::unique_ptr<base::Timer> refresh_timer_, second_timer_;
  PeerCensus census_;
  std::vector<PeerHint> said_;  // by the source, last
  base::Gauge& frozen_;
  uint64_t denied_up_to_ = 0;  // number of the list that is in force everywhere here
};

}  // namespace

base::Result<std::unique_ptr<Tunnel>> Tunnel::start(Config c, Hooks h, base::Loop& loop, base::SocketStore& store, base::Rng& rng, base::Metrics& metrics) {
  auto t = std::make_unique<TunnelImpl>(std::move(c), std::move(h), loop, store, rng, metrics);
  EM_TRY(t->start());
  return t;
}

}  // namespace tunnel
