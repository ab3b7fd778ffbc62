#include "base/kube/make_source.h"

#include "base/core/environment.h"
#include "base/kube/api_source.h"
#include "base/kube/dir_source.h"

namespace base::kube {
namespace {

using Access = std::function<Result<ApiAccess>()>;

Result<ApiAccess> meta_server_access(const conf::MetaServerConfig& m) {
  auto url = parse_server_url(m.server);
  if (!url) return fail_in("source.metaServer.server", url.error());
  ApiAccess a;
  a.server = *url;
  a.ca.file = m.ca;
  a.certificate.file = m.cert;
  a.key.file = m.key;
  a.token.file = m.token_file;
  return a;
}

Access access_of(const conf::SourceConfig& c) {
  if (!c.kubeconfig.empty()) return [path = c.kubeconfig] { return load_kubeconfig(path); };
  if (c.in_cluster) return [] { return in_cluster_access(environment("KUBERNETES_SERVICE_HOST"), environment("KUBERNETES_SERVICE_PORT")); };
  if (!c.meta_server.server.empty()) return [m = c.meta_server] { return meta_server_access(m); };
  return nullptr;
}

}  // namespace

std::unique_ptr<ObjectSource> make_source(Loop& loop, Rng& rng, Metrics& metrics, const conf::SourceConfig& c, const std::string& node,
                                          uint32_t socket_mark, TrustClock& clock) {
  const Access access = access_of(c);
  if (!access) return make_dir_source(loop, c.directory);
  const auto now = access();
  const bool meta_server = !c.meta_server.server.empty() || (now && now->server.port == kMetaServerPort);
  ApiClientOptions o{.access = access, .socket_mark = socket_mark};
  o.wall = [&clock] { return clock.for_servers(); };
  o.starts_by = [&clock] { return clock.starts_by(); };
  o.on_time = [&clock](WallTime t) { clock.told_by_api_server(t); };
  return make_api_source(loop, rng, metrics, make_api_client(loop, std::move(o)), meta_server, node);
}

std::string describe(const conf::SourceConfig& c) {
  if (!c.kubeconfig.empty()) return c.kubeconfig;
  if (c.in_cluster) return "the cluster's API server";
  if (!c.meta_server.server.empty()) return c.meta_server.server;
  return c.directory;
}

}  // namespace base::kube
