// Daemon: the modules and what connects them. Built in start() in the order of the data's way, torn down in reverse. Each
// module knows only its own interface; who talks to whom is written here (wiring*.cc) and nowhere else.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/conf/daemon_config.h"
#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/core/rng.h"
#include "base/kube/make_source.h"
#include "base/kube/snapshot_keeper.h"
#include "base/kube/table_builder.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/netlink.h"
#include "daemon/admin/admin.h"
#include "daemon/handover.h"
#include "daemon/pod_index.h"
#include "daemon/pod_search.h"
#include "dns/server/dns_server.h"
#include "edgemesh/discovery/discovery.h"
#include "edgemesh/discovery/exporter.h"
#include "edgemesh/discovery/node_ports.h"
#include "edgemesh/health/check_rules.h"
#include "edgemesh/health/health_monitor.h"
#include "edgemesh/intercept/closed_host.h"
#include "edgemesh/intercept/intercept.h"
#include "edgemesh/proxy/l4_proxy.h"
#include "edgemesh/proxy/socks_proxy.h"
#include "edgemesh/proxy/udp_hold.h"
#include "edgemesh/proxy/udp_relay.h"
#include "tunnel/data/data_plane.h"
#include "tunnel/tunnel.h"

namespace edgemeshd {

extern const char* const kVersion;
inline constexpr uint32_t kSocketMark = 0x00040000;  // SO_MARK bit of the daemon's own sockets
inline constexpr uint16_t kProxyPort = 15001;        // on the service address
inline constexpr std::chrono::seconds kPeersComeBackWithin{60};  // after a start: until then their flows of before are not given up

class Daemon {
 public:
  // Errors are one line with place and mend; nothing of ours is left in the kernel then.
  static base::Result<std::unique_ptr<Daemon>> start(base::conf::DaemonConfig, std::string config_path, base::Loop&);
  ~Daemon();
  // Reads the configuration again; on error the old one stays. Settings that need a restart are named in the log.
  base::Result<void> reload();
  // Accepts nothing new, lets proxied connections end (at most 5 s), takes our state out of the kernel, then calls done.
  void drain(std::function<void()> done);
  // Starts a successor (this program's file as it is now), which takes the sockets over and serves; then on_end is called, with
  // false when the successor was lost after we had given things up. The error is why it was not started: we go on as before.
  base::Result<void> hand_over();
  void on_handed_over(std::function<void(bool well)> f) { on_handed_over_ = std::move(f); }
  bool handed_over() const { return handed_over_; }  // the kernel's state is another's: leave it

 private:
  Daemon(base::conf::DaemonConfig, std::string config_path, base::Loop&);
  base::Result<void> prepare_directories();
  void start_source();
  // restart.cc: following a predecessor, and giving way to a successor
  bool start_snapshot();
  base::Result<void> take_over();
  void follow_up();
  void keep_house();
  void give_way();
  void end_when_idle();
  base::Result<void> start_tunnel();
  base::Result<void> start_intercept();
  base::Result<void> start_proxy();
  base::Result<void> start_relay();
  base::Result<void> start_socks5();
  base::Result<void> reload_socks5();
  edgemesh::SocksProxy::Ways socks_ways(const edgemesh::SocksTarget&, const base::IpAddr& client);
  bool is_node(const std::string& name) const;
  std::optional<std::string> node_at(const base::IpAddr& overlay) const;
  edgemesh::SocksProxy::Ways node_way(const std::string& node, uint16_t port);
  base::kube::ServicePtr service_named(std::string_view name) const;
  edgemesh::SocksProxy::Ways service_ways(const base::IpPort& frontend, const base::IpAddr& client);
  void watch_filters();
  edgemesh::Explanation explain(const base::kube::ObjectName&) const;
  base::Result<void> start_dns();
  base::Result<void> start_admin();
  void make_health();
  void set_checked(const base::kube::ObjectName&);
  void make_discovery();
  void on_table(const base::kube::ServiceTablePtr&, const base::kube::ServiceDiff&);
  void headless_moved();
  void follow_optional();  // the kinds that are read only where the configuration wants them
  void follow_cluster_dns(const base::kube::ServiceDiff*);
  void follow_routed_names();
  void on_peer(const std::string& peer, bool up, const std::vector<base::Cidr>& certified);
  void on_inner_mtu(const std::string& peer, uint16_t mtu);
  void on_stray(base::ByteVec packet);
  void update_peers();
  std::vector<edgemesh::L4Proxy::Choice> choices(const base::IpPort& frontend, base::Proto, const base::IpAddr& client);
  bool routed_off_host(const base::IpAddr&) const;
  std::vector<base::IpAddr> service_ips() const;
  size_t carried() const;  // connections that end with this process
  StatusView status() const;
  AdminHooks admin_hooks();
  tunnel::Tunnel::Hooks tunnel_hooks();
  dns::CacheFileOptions cache_file();
  dns::DnsConfig dns_config(const base::conf::DaemonConfig&);

  base::conf::DaemonConfig config_;
  std::string config_path_;
  base::Loop& loop_;
  base::Instant started_;
  base::Metrics metrics_;
  base::StateDisk disk_{metrics_};
  base::TrustClock clock_;
  base::SystemRng rng_;
  base::SocketStore store_;
  base::UniqueFd lock_;
  std::unique_ptr<base::kube::TableBuilder> builder_;
  std::unique_ptr<base::kube::SnapshotKeeper> snapshot_;
  std::unique_ptr<base::kube::ObjectSource> source_;
  edgemesh::CheckRules check_rules_{{}};
  std::unique_ptr<edgemesh::HealthMonitor> health_;  // discovery reads its verdicts
  std::unique_ptr<edgemesh::Discovery> discovery_;
  std::unique_ptr<edgemesh::Exporter> exporter_;
  std::unique_ptr<edgemesh::UdpHold> hold_;
  std::unique_ptr<edgemesh::L4Proxy> proxy_;
  std::unique_ptr<edgemesh::UdpRelay> udp_relay_;
  std::unique_ptr<edgemesh::ClosedHost> closed_host_;
  std::unique_ptr<edgemesh::Intercept> intercept_;
  std::unique_ptr<base::netlink::NetlinkMonitor> links_;
  std::unique_ptr<tunnel::Tunnel> tunnel_;
  std::unique_ptr<edgemesh::NodePorts> node_ports_;
  std::unique_ptr<edgemesh::SocksProxy> socks_;
  std::unique_ptr<tunnel::DataPlane> device_;  // the TUN alone, when the tunnel is off
  PodIndex pods_;
  PodSearch pod_search_;
  base::kube::HostNames host_names_;
  std::unique_ptr<dns::DnsServer> dns_;
  std::unique_ptr<Admin> admin_;
  std::map<std::string, std::vector<base::Cidr>> certified_;  // of peers that are up
  std::unique_ptr<base::Timer> drain_timer_, house_timer_, watchdog_timer_, give_back_, routed_names_;
  std::optional<Predecessor> predecessor_;
  std::unique_ptr<Handover> handover_;
  std::function<void(bool well)> on_handed_over_;
  std::vector<base::kube::ObjectName> in_use_;                // as last given to the snapshot
  bool handed_over_ = false, peers_had_time_ = false;
};

}  // namespace edgemeshd
