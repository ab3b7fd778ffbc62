// The admin surfaces. On TCP (127.0.0.1 by default, which every hostNetwork pod can reach): health, readiness, metrics, no
// more. On the unix socket, for root and the daemon's own user: everything that shows more or changes anything.
//   GET /healthz /readyz /metrics
//   GET /v1/status /v1/services /v1/explain?service=ns/name /v1/peers /v1/paths /v1/nat /v1/lan      POST /v1/ping?node=NAME /v1/reload
//   /v1/handover GET /v1/dns/lookup?name=NAME&type=TYPE /v1/dns/cache?under=DOMAIN /v1/dns/upstreams /v1/dns/top
// Answers of /v1 are JSON objects; their fields are documented in docs/reference/admin-api.md and only grow.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/http/server.h"
#include "base/kube/service_table.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "dns/server/dns_server.h"
#include "edgemesh/discovery/discovery.h"
#include "tunnel/tunnel.h"

namespace edgemeshd {

struct StatusView {
  std::string node, version;
  bool ready = false;
  std::vector<std::string> modules;
  std::vector<base::IpAddr> overlay_ips;
  size_t services = 0, frontends = 0, exports = 0;
  int64_t uptime_s = 0;
  int64_t pid = 0;
  std::vector<std::string> problems;
};

struct DnsUpstreamsView {
  std::vector<dns::ServerView> servers;
  size_t in_flight = 0;
};

struct DnsHooks {  // all empty: DNS is off
  std::function<void(const std::string& name, const std::string& type, dns::DnsServer::LookedUp)> lookup;
  std::function<dns::CacheView(const std::string& under, size_t most)> cache;
  std::function<DnsUpstreamsView()> upstreams;
  std::function<dns::TopView(size_t most)> top;
};

struct AdminHooks {
  std::function<StatusView()> status;
  std::function<base::kube::ServiceTablePtr()> table;
  std::function<edgemesh::Explanation(const base::kube::ObjectName&)> explain;
  std::function<std::vector<tunnel::PeerView>()> peers;
  std::function<std::vector<tunnel::PathView>()> paths;
  std::function<std::optional<tunnel::NatView>()> nat;  // none: the tunnel is off
  std::function<std::optional<tunnel::LanView>()> lan;  // likewise
  std::function<void(const std::string& node, std::function<void(base::Result<std::chrono::nanoseconds>, std::string path)>)> ping;
  std::function<base::Result<void>()> reload;
  std::function<base::Result<void>()> handover;
  DnsHooks dns;
};

class Admin {
 public:
  static base::Result<std::unique_ptr<Admin>> start(const base::IpPort& tcp, const std::string& unix_path, AdminHooks, base::Loop&,
                                                    base::SocketStore&, base::Metrics&);
  void drain();

 private:
  Admin(AdminHooks hooks, base::Metrics& metrics) : hooks_(std::move(hooks)), metrics_(metrics) {}
  void serve_public(const base::Request&, base::HttpServer::Respond);
  void serve_private(const base::Request&, const base::HttpPeer&, base::HttpServer::Respond);
  void serve_dns(const base::Request&, base::HttpServer::Respond);  // admin_dns.cc
  void ping(const std::string& node, base::HttpServer::Respond);

  AdminHooks hooks_;
  base::Metrics& metrics_;
  std::unique_ptr<base::HttpServer> tcp_, unix_;
};

}  // namespace edgemeshd
