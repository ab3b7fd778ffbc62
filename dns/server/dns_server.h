// DnsServer: the node's name server. Names of cluster services from the service table, everything else from the host's
// upstreams; UDP and TCP on the given addresses. It never exits over a bad upstream, a loop or bad input.
// Lives on one loop; the loop, store, random source and registry outlive it. What one loop needs (index, upstream, listeners)
// is separate from what is made once (builder), so that further loops only add more of the same.
#pragma once
#include "base/kube/host_names.h"
#include "base/loop/socket_store.h"
#include "dns/server/message_text.h"
#include "dns/server/tcp_listener.h"
#include "dns/server/udp_listener.h"
#include "dns/upstream/cache_keeper.h"
#include "dns/zone/zone_builder.h"

namespace dns {

struct DnsConfig {
  std::vector<base::IpAddr> addresses;  // at least one; an address may come later than the socket
  uint16_t port = 53;
  size_t udp_payload_max = 1232;  // 512 to 4096
  TcpListener::Limits tcp;
  ZoneConfig zone;
  UpstreamConfig upstream;
  LocalConfig local;      // hosts, zones and rewrites
  bool search_paths = false;  // whether DnsHooks::search_namespace is asked at all
  std::vector<Name> search_domains;  // what those paths have after the cluster's domains
  bool cluster_upstreams = false;    // whether set_cluster_upstreams() has an effect
  TapConfig tap;
  RateLimitConfig rate;
  CacheFileOptions cache_file;  // not changed by a reload
};

struct DnsHooks {
  OnServiceQuery on_service_query;
  EndpointAddresses endpoint_addresses;  // default: their own
  PodExists pod_exists;
  SearchNamespace search_namespace;  // default: nobody opted in
};

// What the server itself would answer a client on this node.
struct LookupView {
  std::string name, type, from;  // cluster, cache, old answer, upstream
  MessageText message;
  int64_t us = 0;
};
struct CacheEntryView {
  std::string name, type, status;
  size_t records = 0, bytes = 0;
  int64_t age_s = 0, fresh_s = 0, usable_s = 0;  // fresh: negative once past its time
};
struct CacheView {
  size_t entries = 0, bytes = 0, bytes_max = 0;
  std::vector<CacheEntryView> list;  // used last first
};

class DnsServer {
 public:
  // An error names the address and the mend (port taken, not permitted).
  static base::Result<std::unique_ptr<DnsServer>> start(base::Loop&, base::SocketStore&, base::Rng&, base::Metrics&, DnsConfig, DnsHooks = {});
  ~DnsServer();

  void set_table(base::kube::ServiceTablePtr, const base::kube::ServiceDiff&);
  // The synthetic addresses of these services' endpoints changed.
  void endpoints_moved(const std::vector<base::kube::ObjectName>&);
  // Names beyond the cluster's domain, and what they lead to: the cluster's own go first. "*.x" for what is under x.
  void set_routed_names(const std::vector<base::kube::HostName>&);
  // The cluster's own DNS service, as it moves: asked for other names beside the configured servers, and before the first whole list
  // for what is not known of the cluster. Our own addresses are left out.
  void set_cluster_upstreams(std::vector<base::IpPort>);
  // All or nothing: after an error the old configuration goes on.
  base::Result<void> reload(DnsConfig);

  // Another process reads from these sockets now: takes no new query and no new connection, answers those it has.
  void stop_reading();
  void save_cache();   // before the end; blocks
  void leave_cache();  // another process keeps the file from here on

  // For people and the admin surface.
  using LookedUp = std::function<void(base::Result<LookupView>)>;
  // Asked of itself, as by a client over TCP. type "": A, or PTR where the name is an address.
  void lookup(const std::string& name, std::string type, LookedUp);
  CacheView cache_view(const std::string& under, size_t most) const;        // under: "" or a domain
  TopView top(size_t most) const { return watch_.view(most, loop_.now()); }

  const Upstream& upstream() const { return *upstream_; }
  size_t zone_bytes() const { return index_->bytes(); }
  std::vector<base::IpPort> listening() const;

 private:
  struct Sockets {  // one of each per address; none where the listeners that are there stay
    std::vector<base::UniqueFd> udp, tcp;
    std::vector<size_t> kept;  // which of those, else kNone
  };
  static constexpr size_t kNone = SIZE_MAX;
  struct Retired {  // until what it asked upstream is answered
    std::unique_ptr<ZoneIndex> index;
    std::unique_ptr<Responder> responder;
  };
  DnsServer(base::Loop&, base::SocketStore&, base::Rng&, base::Metrics&, DnsConfig, DnsHooks);
  static base::Result<void> check(const DnsConfig&);
  base::Result<Sockets> open(const DnsConfig&);
  bool keep(const base::IpPort&, size_t udp_payload_max, Sockets&) const;
  void retire();
  void let_go();
  void keep_cache();
  void build_zone();
  void listen(Sockets);
  void keep_for_successor(size_t before);
  void show_sizes();
  void ask_early();
  bool is_early() const;  // objects are still missing

  base::Loop& loop_;
  base::SocketStore& store_;
  base::Rng& rng_;
  base::Metrics& metrics_;
  DnsConfig config_;
  DnsHooks hooks_;
  base::kube::ServiceTablePtr table_;
  std::unique_ptr<ZoneBuilder> builder_;
  std::unique_ptr<ZoneIndex> index_;
  std::unique_ptr<LocalNames> local_;  // or null
  std::unique_ptr<LocalNames> routed_;  // or null
  std::vector<base::IpPort> cluster_upstreams_;
  std::unique_ptr<Upstream> upstream_;
  std::unique_ptr<CacheKeeper> keeper_;
  QueryWatch watch_;
  CookieSecret cookie_secret_;
  TapConfig tapped_;  // what tap_ was made of
  std::unique_ptr<QueryTap> tap_;
  RateLimitConfig rated_;  // what rate_ was made of
  std::unique_ptr<RateLimit> rate_;  // or null
  std::unique_ptr<Responder> responder_;
  std::vector<Retired> retired_;
  std::unique_ptr<base::Timer> let_go_;
  std::vector<std::unique_ptr<UdpListener>> udp_;
  std::vector<std::unique_ptr<TcpListener>> tcp_;
  std::vector<base::IpPort> listening_;
  base::Gauge &names_, &connections_;
};

}  // namespace dns
