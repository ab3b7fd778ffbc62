// The mapping, one function per section of the files, in their order.
#include "base/conf/edgemesh_config.h"

#include <algorithm>

#include "base/conf/go_section.h"
#include "base/core/environment.h"

namespace base::conf {
namespace {

constexpr std::string_view kGroupSuffix = ".edgemesh.config.kubeedge.io/";
constexpr uint16_t kSshPort = 22;
constexpr std::string_view kFoundOut = "it is found out here, as there";

bool is_ip(const std::string& s) { return IpAddr::parse(s).has_value(); }

std::vector<std::string> split(const std::string& text) {  // "a, b,,c" -> a b c
  std::vector<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string word = text.substr(at, end - at);
    word.erase(0, word.find_first_not_of(" \t"));
    word.erase(word.find_last_not_of(" \t") + 1);
    if (!word.empty()) out.push_back(std::move(word));
    at = end + 1;
  }
  return out;
}

class Mapping {
 public:
  Mapping(const Value& root, std::string_view file, const EdgeMeshEnvironment& env) : env_(env), root_(root) { file_.name = file; }

  Result<DaemonConfig> run() {
    GoSection top(file_, &root_, "");
    head(top);
    environment();
    api(top.sub("kubeAPIConfig"));
    if (agent()) common(top.sub("commonConfig"));
    else pprof(top);
    modules(top.sub("modules"));
    top.finish();
    if (file_.error) return tl::unexpected(*file_.error);
    c_.notes = std::move(file_.notes);
    return std::move(c_);
  }

 private:
  bool agent() const { return kind_ == EdgeMeshKind::agent; }

  void head(GoSection& top) {
    std::string api_version, kind;
    top.read("apiVersion", api_version);
    top.read("kind", kind);
    const bool gateway = kind.empty() ? api_version.starts_with("gateway.") : kind == "EdgeMeshGateway";
    if (gateway) kind_ = EdgeMeshKind::gateway;
    if (!kind.empty() && kind != "EdgeMeshAgent" && kind != "EdgeMeshGateway")
      top.fail("kind", fmt::format("\"{}\" is not EdgeMeshAgent or EdgeMeshGateway", kind));
    if (!api_version.empty() && !api_version.ends_with("/v1alpha1")) top.note("apiVersion", "is not v1alpha1: read as that");
  }

  void environment() {
    c_.node_name = env_.node_name;
    c_.dns.enabled = agent() && !env_.in_cluster;
    if (env_.node_name.empty()) file_.note({1, 1}, "NODE_NAME", "is not set in the environment: the host's name is used");
    if (!env_.name_space.empty()) file_.note({1, 1}, "NAMESPACE", "has no effect: no pod of the daemon's own is looked up");
  }

  // ---- kubeAPIConfig: the first of kubeConfig, master, the cluster around us, the MetaServer

  void api(GoSection s) {
    s.ignore({"contentType"}, "JSON is spoken with every API server");
    s.ignore({"qps", "burst"}, "one list and one watch per kind need no rate limit");
    s.ignore({"mode"}, kFoundOut);
    s.ignore({"deleteKubeConfig"}, "no kubeconfig is written");
    std::string master;
    s.read("master", master);
    s.read("kubeConfig", c_.source.kubeconfig);
    GoSection meta = s.sub("metaServer");
    if (!c_.source.kubeconfig.empty()) {
      if (c_.source.kubeconfig[0] != '/') s.fail("kubeConfig", fmt::format("\"{}\" is not an absolute path", c_.source.kubeconfig));
      if (!master.empty()) s.note("master", "has no effect: the server is the one that kubeConfig names");
    } else if (!master.empty()) {
      c_.source.meta_server.server = master;
      if (!master.starts_with("http://")) s.fail("master", fmt::format("\"{}\": only an http:// server needs no credentials; give kubeConfig", master));
    } else {
      c_.source.in_cluster = env_.in_cluster;
    }
    if (c_.source.kubeconfig.empty() && master.empty() && !env_.in_cluster) meta_server(meta);
    else if (s.has("metaServer")) s.note("metaServer", "has no effect: objects come from another API server");
    s.finish();
  }

  void meta_server(GoSection s) {
    auto& m = c_.source.meta_server;
    m.server = "http://127.0.0.1:10550";
    if (s.read("server", m.server) && !m.server.starts_with("http://") && !m.server.starts_with("https://"))
      s.fail("server", fmt::format("\"{}\" is not http://<host>:<port> or https://<host>:<port>", m.server));
    GoSection security = s.sub("security");
    bool authorize = false;
    security.read("requireAuthorization", authorize);
    if (authorize && m.server.starts_with("http:")) m.server.insert(4, "s");
    if (m.server.starts_with("https:")) credentials(security);
    else security.ignore({"insecureSkipTLSVerify", "tlsCaFile", "tlsCertFile", "tlsPrivateKeyFile"}, "the MetaServer is asked without TLS");
    security.finish();
    s.finish();
  }

  void credentials(GoSection& s) {
    auto& m = c_.source.meta_server;
    bool one_way = false;
    m.ca = "/etc/edgemesh/metaserver/rootCA.crt";
    m.token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    s.read("tlsCaFile", m.ca);
    if (s.read("insecureSkipTLSVerify", one_way) && one_way) {
      s.note("insecureSkipTLSVerify", fmt::format("has half its effect: no client certificate is shown, but the server's is verified with {}", m.ca));
      s.ignore({"tlsCertFile", "tlsPrivateKeyFile"}, "insecureSkipTLSVerify is true");
      return;
    }
    m.cert = "/etc/edgemesh/metaserver/server.crt", m.key = "/etc/edgemesh/metaserver/server.key";
    s.read("tlsCertFile", m.cert);
    s.read("tlsPrivateKeyFile", m.key);
  }

  // ---- commonConfig

  void common(GoSection s) {
    if (s.read("bridgeDeviceName", c_.mesh.device) && (c_.mesh.device.empty() || c_.mesh.device.size() > 15))
      s.fail("bridgeDeviceName", "must have 1 to 15 characters");
    std::string ip;
    if (s.read("bridgeDeviceIP", ip)) {
      if (auto a = IpAddr::parse(ip)) c_.mesh.service_ip = *a;
      else s.fail("bridgeDeviceIP", fmt::format("\"{}\" is not an IP address", ip));
    }
    pprof(s);
    s.finish();
  }

  void pprof(GoSection& s) { s.ignore({"pprofConfig"}, "it profiles Go programs; perf and /metrics look into this one"); }

  // ---- modules

  void modules(GoSection s) {
    bool proxy = false;
    if (agent()) {
      dns(s.sub("edgeDNS"));
      proxy = edge_proxy(s.sub("edgeProxy"));
      cni(s.sub("edgeCNI"));
    } else {
      gateway(s.sub("edgeGateway"));
    }
    tunnel(s.sub("edgeTunnel"));
    s.finish();
    c_.mesh.enabled = proxy || c_.dns.enabled || c_.tunnel.enabled;  // the device and the DNS address are the mesh's
    c_.mesh.intercept = proxy;
    socks5(proxy);
  }

  void dns(GoSection s) {
    s.read("enable", c_.dns.enabled);
    port(s, "listenPort", c_.dns.port);
    s.ignore({"kubeAPIConfig", "listenInterface"}, "it follows from kubeAPIConfig and commonConfig");
    GoSection cache = s.sub("cacheDNS");
    bool cached = false;
    cache.read("enable", cached);
    bool detect = true;
    cache.read("autoDetect", detect);
    if (cached && detect) c_.dns.cluster_upstreams = DnsClusterUpstreams::auto_;
    cache.ignore({"cacheTTL"}, "answers are kept for as long as their server said");
    std::vector<std::string> servers;
    if (cache.read("upstreamServers", servers)) upstreams(cache, servers, cached);
    cache.finish();
    s.finish();
  }

  void upstreams(GoSection& s, const std::vector<std::string>& servers, bool cached) {
    if (!cached && !servers.empty()) return s.note("upstreamServers", "has no effect: cacheDNS.enable is false");
    for (const std::string& u : servers) {
      if (is_ip(u) || IpPort::parse(u)) c_.dns.upstreams.push_back(u);
      else s.note("upstreamServers", fmt::format("\"{}\" is left out: it is neither an address nor an address with a port", u));
    }
  }

  bool edge_proxy(GoSection s) {
    bool enabled = false;
    s.read("enable", enabled);
    s.ignore({"listenInterface"}, "it follows from commonConfig");
    std::string mode;
    if (s.read("serviceFilterMode", mode)) {
      if (mode == "FilterIfLabelDoesNotExists") c_.mesh.service_filter_mode = ServiceFilterMode::if_label_does_not_exist;
      else if (mode != "FilterIfLabelExists" && enabled)
        s.fail("serviceFilterMode", fmt::format("\"{}\" is not one of FilterIfLabelExists, FilterIfLabelDoesNotExists", mode));
    }
    socks5(s.sub("socks5Proxy"));
    s.ignore({"loadBalancer"}, "hashing is done in the kernel and needs no sizes");
    s.finish();
    return enabled;
  }

  void socks5(GoSection s) {
    auto& p = c_.mesh.socks5;
    s.read("enable", p.enabled);
    port(s, "listenPort", p.port);
    s.ignore({"nodeName", "namespace"}, kFoundOut);
    s.finish();
    socks_mark_ = s.mark("enable");
    socks_path_ = s.path("enable");
  }

  // There every node lets every other one reach any port of it while the proxy is on. Here it is what their guide does with it: ssh.
  void socks5(bool proxy) {
    auto& p = c_.mesh.socks5;
    if (!p.enabled) return;
    p.enabled = c_.tunnel.enabled && proxy;
    if (!p.enabled) return file_.note(socks_mark_, socks_path_, "has no effect without edgeProxy.enable and edgeTunnel.enable");
    c_.mesh.open_ports = {{kSshPort, {}}};
    file_.note(socks_mark_, socks_path_,
               "opens port 22 of this node to the nodes of the mesh, and no other port: mesh.openPorts of a configuration of edgemeshd's own form");
  }

  void cni(GoSection s) {
    bool enabled = false;
    if (s.read("enable", enabled) && enabled)
      s.note("enable", "has no effect: set tunnel.native and this node's own tunnel.podCIDRs in a configuration of edgemeshd's own form");
    s.ignore({"encapsulationIP", "tunMode", "meshCIDRConfig"}, "pod ranges are given per node, in tunnel.podCIDRs and its certificate");
    s.finish();
  }

  void gateway(GoSection s) {
    bool enabled = false;
    if (s.read("enable", enabled) && enabled) s.note("enable", "has no effect: this version has no gateway; the tunnel of this node works");
    s.ignore({"nic", "includeIP", "excludeIP", "loadBalancer"}, "this version has no gateway");
    s.finish();
  }

  // ---- modules.edgeTunnel

  void tunnel(GoSection s) {
    auto& t = c_.tunnel;
    s.read("enable", t.enabled);
    s.ignore({"mode", "nodeName", "configPath"}, kFoundOut);
    port(s, "listenPort", t.port);
    if (!agent()) t.port = t.port == 65535 ? t.port : uint16_t(t.port + 1);  // their gateway leaves the port itself to the agent beside it
    t.signal_port = t.port;
    transport(s);
    relays(s);
    psk(s.sub("psk"));
    interfaces(s);
    metrics(s.sub("metricConfig"));
    s.ignore({"rendezvous"}, "nodes are told apart by their authority's trust domain and found through MeshNode objects and relays");
    s.ignore({"enableIpfsLog"}, "there is no libp2p inside; logLevel: debug of edgemeshd's own form shows more");
    s.ignore({"maxCandidates"}, "all relays given are used");
    s.ignore({"heartbeatPeriod", "finderPeriod"}, "lost relays are noticed and called again within seconds");
    s.ignore({"tunnelLimitConfig"}, "there are no streams to count: the tunnel carries packets");
    if (t.enabled) s.note("enable", fmt::format("needs this node's certificate, {}: edgemeshctl ca issue writes it", t.identity.cert));
    s.finish();
  }

  void transport(GoSection& s) {
    std::string word;
    if (!s.read("transport", word)) return;
    if (word != "tcp" && word != "ws" && word != "quic") {
      if (c_.tunnel.enabled) s.fail("transport", fmt::format("\"{}\" is not one of tcp, ws, quic", word));
      return;
    }
    s.note("transport", fmt::format("has no effect: packets go over UDP {0}, signalling over TCP {0}: open both", c_.tunnel.port));
  }

  void relays(GoSection& s) {
    for (GoSection& r : s.list("relayNodes")) {
      std::string name;
      std::vector<std::string> addresses;
      r.read("nodeName", name);
      r.read("advertiseAddress", addresses);
      if (name.empty()) r.fail("nodeName", "is missing");
      else if (addresses.empty()) r.fail("advertiseAddress", "is missing");
      for (size_t i = 0; i < addresses.size(); ++i)
        if (!is_ip(addresses[i])) file_.fail(r.mark("advertiseAddress"), fmt::format("{}[{}]", r.path("advertiseAddress"), i), fmt::format("\"{}\" is not an IP address", addresses[i]));
        else relay(r, name, *IpAddr::parse(addresses[i]), i);
      r.finish();
    }
  }

  // The relays of these files listen on the agents' port, also those a gateway calls.
  void relay(GoSection& r, const std::string& name, const IpAddr& ip, size_t index) {
    auto& t = c_.tunnel;
    const IpPort at{ip, agent() ? t.port : uint16_t(t.port - 1)};
    if (name != env_.node_name) {
      if (index == 0) t.relays.push_back({name, at.str()});
      else if (index == 1) r.note("advertiseAddress", "only the first is called; the relay's MeshNode object can name more");
      return;
    }
    if (!agent()) return;
    t.relay.enabled = t.enabled;
    t.advertise.push_back(at);
    if (index == 0 && t.enabled)
      r.note("nodeName", fmt::format("is this node: it relays on UDP {}, takes UDP {} for packets of its own, and its certificate needs the role "
                                     "(edgemeshctl ca issue --role relay)", t.port, t.port + 1));
  }

  void psk(GoSection s) {
    bool enabled = true;
    std::string path = "/etc/edgemesh/psk";
    s.read("enable", enabled);
    if (s.read("path", path) && (path.empty() || path[0] != '/')) s.fail("path", fmt::format("\"{}\" is not an absolute path", path));
    if (enabled) c_.tunnel.psk.files = {path};
    s.finish();
  }

  void interfaces(GoSection& s) {
    auto& i = c_.tunnel.interfaces;
    std::string text;
    if (s.read("listenInterfaces", text))
      if (auto names = split(text); std::find(names.begin(), names.end(), "*") == names.end()) i.include = names;
    for (const char* theirs : {"tunl*", "kube-ipvs*"}) i.exclude.emplace_back(theirs);
    if (s.read("extraFilteredInterfaces", text))
      for (const std::string& prefix : split(text)) i.exclude.push_back(prefix + "*");
  }

  void metrics(GoSection s) {
    bool enabled = false;
    uint16_t at = 9999;
    s.read("enable", enabled);
    port(s, "port", at);
    if (enabled) c_.admin.address = {IpAddr::v4(uint32_t{0}), at};
    s.finish();
  }

  void port(GoSection& s, std::string_view key, uint16_t& out) {
    int64_t wide = out;
    if (s.read(key, wide, 1, 65535)) out = uint16_t(wide);
  }

  const EdgeMeshEnvironment& env_;
  const Value& root_;
  GoFile file_;
  Mark socks_mark_{};
  std::string socks_path_;
  EdgeMeshKind kind_ = EdgeMeshKind::agent;
  DaemonConfig c_;
};

constexpr const char* kApiDefaults =
    "kubeAPIConfig:\n"
    "  master: \"\"\n"
    "  kubeConfig: \"\"                # empty: the cluster around the pod, else the MetaServer\n"
    "  metaServer:\n"
    "    server: http://127.0.0.1:10550\n"
    "    security:\n"
    "      requireAuthorization: false\n";

constexpr const char* kTunnelDefaults =
    "    listenPort: 20006             # UDP for packets, TCP for signalling\n"
    "    psk:\n"
    "      enable: true\n"
    "      path: /etc/edgemesh/psk\n"
    "    listenInterfaces: \"*\"\n"
    "    extraFilteredInterfaces: \"\"\n"
    "    metricConfig:\n"
    "      enable: false\n"
    "      port: 9999\n";

}  // namespace

EdgeMeshEnvironment edgemesh_environment() {
  return {base::environment("NODE_NAME"), base::environment("NAMESPACE"), !base::environment("KUBERNETES_PORT").empty()};
}

bool is_edgemesh_config(const Value& root) {
  GoFile file;
  GoSection top(file, root.map() ? &root : nullptr, "");
  std::string api_version, kind;
  if (top.read("apiVersion", api_version)) return api_version.find(kGroupSuffix) != std::string::npos;
  if (top.read("kind", kind)) return kind == "EdgeMeshAgent" || kind == "EdgeMeshGateway";
  return top.has("modules") || top.has("kubeAPIConfig") || top.has("commonConfig");
}

Result<DaemonConfig> map_edgemesh_config(const Value& root, std::string_view file, const EdgeMeshEnvironment& env) {
  return Mapping(root, file, env).run();
}

std::string print_edgemesh_config(EdgeMeshKind kind, bool minimal) {
  const bool agent = kind == EdgeMeshKind::agent;
  std::string out = agent ? "apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1\nkind: EdgeMeshAgent\n"
                          : "apiVersion: gateway.edgemesh.config.kubeedge.io/v1alpha1\nkind: EdgeMeshGateway\n";
  if (!minimal) out += kApiDefaults;
  if (!minimal && agent) out += "commonConfig:\n  bridgeDeviceName: edgemesh0\n  bridgeDeviceIP: 169.254.96.16\n";
  out += "modules:\n";
  if (agent) {
    out += "  edgeDNS:\n    enable: false                 # true where no cluster is around the pod\n";
    if (!minimal) out += "    listenPort: 53\n    cacheDNS:\n      enable: false\n      upstreamServers: []\n";
    out += "  edgeProxy:\n    enable: false\n";
    if (!minimal) out += "    serviceFilterMode: FilterIfLabelExists\n    socks5Proxy:\n      enable: false\n      listenPort: 10800\n";
  }
  out += "  edgeTunnel:\n    enable: false\n    relayNodes: []                # - nodeName: relay-1\n"
         "                                  #   advertiseAddress: [192.0.2.7]\n";
  return minimal ? out : out + kTunnelDefaults;
}

}  // namespace base::conf
