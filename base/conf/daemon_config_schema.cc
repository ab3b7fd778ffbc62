// The schema tables of daemon_config.h, one function per struct.
#include <charconv>
#include <cstring>

#include "base/conf/daemon_config.h"
#include "base/conf/dns_record.h"
#include "base/conf/dns_upstream.h"

namespace base::conf {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
const Limits kPort{.min = 1, .max = 65535};

std::string dns_label_trouble(const std::string& s) {
  if (s.size() > 253) return "is longer than 253 characters";
  for (char c : s)
    if (!(std::islower(uint8_t(c)) || std::isdigit(uint8_t(c)) || c == '-' || c == '.')) return "may hold only a-z, 0-9, '-' and '.'";
  if (!s.empty() && (s.front() == '-' || s.front() == '.' || s.back() == '-' || s.back() == '.'))
    return "must begin and end with a letter or digit";
  return "";
}

std::string absolute_path_trouble(const std::string& s) { return s.empty() || s[0] == '/' ? "" : "is not an absolute path"; }

std::string device_trouble(const std::string& s) {
  if (s.empty() || s.size() > 15) return "must have 1 to 15 characters";  // IFNAMSIZ
  return s.find_first_of("/ \t%") == std::string::npos ? "" : "may not hold '/', '%' or blanks";
}

std::string object_name_trouble(const std::string& s) {
  const size_t slash = s.find('/');
  const bool ok = slash != std::string::npos && slash > 0 && slash + 1 < s.size() && s.find('/', slash + 1) == std::string::npos;
  return ok ? "" : "is not <namespace>/<service>";
}

std::string exact(const std::string& s, const char* wanted) {
  return s == wanted ? "" : std::string("is not known here; this version reads \"") + wanted + "\"";
}

std::string upstream_trouble(const std::string& s) {
  auto u = parse_dns_upstream(s);
  return u ? "" : u.error().what;
}

std::string address_port_trouble(const std::string& s) {
  auto at = IpPort::parse(s);
  return at && at->port ? "" : "is not <address>:<port>";
}

Limits checked(std::string (*check)(const std::string&)) { return {.check = check}; }

std::string http_url_trouble(const std::string& s) {
  return s.empty() || s.starts_with("http://") || s.starts_with("https://") ? "" : "is not http://<host>:<port> or https://<host>:<port>";
}

Schema<MetaServerConfig> meta_server_schema() {
  return Schema<MetaServerConfig>("KubeEdge's MetaServer, the API server on an edge node")
      .field("server", &MetaServerConfig::server, "its URL, usually http://127.0.0.1:10550. Empty: not used", checked(http_url_trouble))
      .field("ca", &MetaServerConfig::ca, "with https: certificates of the authority that issued its certificate, PEM",
             checked(absolute_path_trouble))
      .field("cert", &MetaServerConfig::cert, "client certificate, PEM, where it wants one", checked(absolute_path_trouble))
      .field("key", &MetaServerConfig::key, "private key of that certificate, PEM", checked(absolute_path_trouble))
      .field("tokenFile", &MetaServerConfig::token_file, "file of a bearer token, read anew when it is renewed",
             checked(absolute_path_trouble));
}

Schema<SourceConfig> source_schema() {
  return Schema<SourceConfig>("Where the objects (services, endpoints, nodes, rules) come from: a directory, or one of the other three")
      .field("directory", &SourceConfig::directory,
             "a directory of *.yaml, *.yml and *.json manifests, one level of subdirectories included, or one such file; changes are "
             "followed. "
             "Not read when one of the following is set",
             {.non_empty = true, .check = absolute_path_trouble})
      .field("kubeconfig", &SourceConfig::kubeconfig, "a kubeconfig file: the Kubernetes API server of its current context",
             checked(absolute_path_trouble))
      .field("inCluster", &SourceConfig::in_cluster, "the API server of the cluster whose pod this is, by the pod's service account")
      .group("metaServer", &SourceConfig::meta_server, meta_server_schema());
}

Schema<ProxyConfig> proxy_schema() {
  return Schema<ProxyConfig>("Connections carried in user space: first contact with a remote endpoint, and fallbacks")
      .field("connectionsMax", &ProxyConfig::connections_max, "connections at once; more are refused", {.min = 1, .max = 1 << 20})
      .field("dialBudget", &ProxyConfig::dial_budget, "how long to go on trying endpoints for one connection",
             {.min = kSecond / 10, .max = 600 * kSecond})
      .field("idleTimeout", &ProxyConfig::idle_timeout, "close a connection that is silent for so long", {.min = kSecond});
}

std::string optional_address_trouble(const std::string& s) { return s.empty() || IpAddr::parse(s) ? "" : "is not an IP address"; }

Schema<Socks5Config> socks5_schema() {
  return Schema<Socks5Config>("A SOCKS5 proxy for this host and its pods: nodes of the mesh by name, as for ssh, and services")
      .field("enabled", &Socks5Config::enabled, "whether it is served; needs tunnel.enabled")
      .field("address", &Socks5Config::address, "where it listens. Empty: mesh.serviceIP, which only this host and its pods reach",
             checked(optional_address_trouble))
      .field("port", &Socks5Config::port, "TCP port", kPort)
      .field("users", &Socks5Config::users,
             "file of lines name:password, readable by root only, read again at SIGHUP. Empty: nobody has to log in",
             checked(absolute_path_trouble))
      .field("services", &Socks5Config::services, "whether names and addresses of services are reached too, not nodes alone")
      .field("connectionsMax", &Socks5Config::connections_max, "connections at once; more are refused", {.min = 1, .max = 1 << 16})
      .field("connectTimeout", &Socks5Config::connect_timeout, "how long a client waits for its connection at most",
             {.min = kSecond / 10, .max = 600 * kSecond})
      .field("idleTimeout", &Socks5Config::idle_timeout, "close a connection that is silent for so long", {.min = kSecond});
}

Schema<OpenPortConfig> open_port_schema() {
  return Schema<OpenPortConfig>(
             "TCP ports of this node itself that other nodes reach by its name (their mesh.socks5). What is not listed is closed")
      .field("port", &OpenPortConfig::port, "the port, such as 22; its server must listen on all addresses", kPort)
      .required()
      .field("nodes", &OpenPortConfig::nodes, "names of the nodes it is open to. Empty: to every node of the mesh",
             checked(dns_label_trouble));
}

std::string label_trouble(const std::string& s) {
  const size_t equal = s.find('=');
  return equal != std::string::npos && equal > 0 ? "" : "is not <key>=<value>";
}

std::string port_trouble(const std::string& s) {
  if (s.empty() || s.size() > 15) return "is not the name or the number of a port";  // IANA_SVC_NAME
  for (char c : s)
    if (!std::islower(uint8_t(c)) && !std::isdigit(uint8_t(c)) && c != '-') return "is not the name or the number of a port";
  return "";
}

std::string http_path_trouble(const std::string& s) {
  if (s.empty()) return "";
  if (s.size() > 256) return "is longer than 256 characters";
  if (s[0] != '/') return "does not begin with '/'";
  for (char c : s)
    if (uint8_t(c) <= ' ' || uint8_t(c) >= 0x7f)
      return "may not hold blanks, control characters or anything beyond ASCII: write them as %XX";
  return "";
}

std::string http_host_trouble(const std::string& s) {
  if (s.size() > 253) return "is longer than 253 characters";
  for (char c : s)
    if (!std::isalnum(uint8_t(c)) && !strchr("-._:[]", c)) return "is not a host name or address";
  return "";
}

std::string status_trouble(const std::string& s) {
  return parse_status_range(s) ? "" : "is not an HTTP status such as 200, or a range such as 200-399";
}

Schema<HealthCheckConfig> health_check_schema() {
  using T = HealthCheckType;
  return Schema<HealthCheckConfig>("Checks of endpoints that go on while all is well. The first entry that fits a service's port counts")
      .field("services", &HealthCheckConfig::services, "the services, as namespace/name; * stands for any namespace or any name",
             {.non_empty = true, .check = object_name_trouble})
      .required()
      .field("labels", &HealthCheckConfig::labels, "only services that carry all these labels, as key=value", checked(label_trouble))
      .field("ports", &HealthCheckConfig::ports, "only these ports of the service, by name or number. Empty: every TCP port",
             {.check = port_trouble, .or_number = true})
      .choice("type", &HealthCheckConfig::type, {{"tcp", T::tcp}, {"http", T::http}},
              "tcp: the endpoint takes a connection; http: it answers a GET as expected")
      .field("path", &HealthCheckConfig::path, "http: what is asked for. Empty: /", checked(http_path_trouble))
      .field("host", &HealthCheckConfig::host, "http: the Host field. Empty: the name and namespace of the service, as web.shop", checked(http_host_trouble))
      .field("status", &HealthCheckConfig::status, "http: the answers that are well, as 200 or 200-399. Empty: 200-399",
             {.check = status_trouble, .or_number = true})
      .field("interval", &HealthCheckConfig::interval, "from one check of an endpoint to the next, a tenth more or less",
             {.min = kSecond / 10, .max = 3600 * kSecond})
      .field("timeout", &HealthCheckConfig::timeout, "a check that has no answer by then failed; not longer than interval",
             {.min = kSecond / 100, .max = 60 * kSecond})
      .field("failures", &HealthCheckConfig::failures, "so many failed checks in a row, and the endpoint gets no new connections",
             {.min = 1, .max = 100})
      .field("successes", &HealthCheckConfig::successes, "so many good checks in a row, and it returns", {.min = 1, .max = 100});
}

Schema<HealthConfig> health_schema() {
  return Schema<HealthConfig>("Endpoints that died without any object being edited")
      .field("enabled", &HealthConfig::enabled, "whether endpoints that do not answer get no new connections until they do")
      .field("ejectionTime", &HealthConfig::ejection_time,
             "how long an endpoint stays out that only clients found dead; doubles each time, up to five minutes (an endpoint of UDP: "
             "one). One that our own checks "
             "found dead stays out until it answers them",
             {.min = kSecond, .max = 300 * kSecond})
      .field("panicThreshold", &HealthConfig::panic_threshold,
             "percent of a port's endpoints that may be out on the word of clients, or because of what they answered to a check of type "
             "http; those our own "
             "checks found dead are not bound by it",
             {.min = 0, .max = 100})
      .list("checks", &HealthConfig::checks, health_check_schema());
}

Schema<MeshConfig> mesh_schema() {
  using M = ServiceFilterMode;
  return Schema<MeshConfig>("Service interception")
      .field("enabled", &MeshConfig::enabled, "whether this node takes part in the mesh: device, service addresses, tunnel")
      .field("intercept", &MeshConfig::intercept,
             "whether calls to service addresses are intercepted; false leaves them to another proxy, DNS and the tunnel still work")
      .field("device", &MeshConfig::device, "name of the network device the daemon makes and owns", checked(device_trouble))
      .field("serviceIP", &MeshConfig::service_ip, "address on that device where DNS answers")
      .field("overlayCIDRs", &MeshConfig::overlay_cidrs,
             "ranges of the nodes' overlay addresses; the IPv6 range is derived from the trust domain unless one is given here",
             {.non_empty = true})
      .field("network", &MeshConfig::network,
             "name of the network this node is in; nodes of one network reach each other's addresses directly. Empty: shared with nobody")
      .field("nodePorts", &MeshConfig::node_ports, "whether node ports of services are served too")
      .field("openInput", &MeshConfig::open_input,
             "whether the daemon adds a rule to INPUT chains of other programs (nftables, iptables-nft) that drop packets to the service "
             "address")
      .choice("serviceFilterMode", &MeshConfig::service_filter_mode,
              {{"FilterIfLabelExists", M::if_label_exists}, {"FilterIfLabelDoesNotExists", M::if_label_does_not_exist}},
              "leave alone services that carry (or that lack) the label service.edgemesh.kubeedge.io/service-proxy-name")
      .field("excludeServices", &MeshConfig::exclude_services, "services that are never intercepted, as namespace/name",
             checked(object_name_trouble))
      .field("serviceCIDRs", &MeshConfig::service_cidrs,
             "ranges of cluster addresses; unused addresses in them are refused at once instead of leaking to the default route")
      .group("proxy", &MeshConfig::proxy, proxy_schema())
      .group("socks5", &MeshConfig::socks5, socks5_schema())
      .list("openPorts", &MeshConfig::open_ports, open_port_schema())
      .group("health", &MeshConfig::health, health_schema());
}

std::string name_trouble(const std::string& s) { return dns_name_trouble(s); }
std::string routed_trouble(const std::string& s) { return s == "." ? "" : dns_name_trouble(s); }

std::string record_trouble(const std::string& s) {
  auto r = parse_dns_record(s);
  return r ? "" : r.error().what;
}

Schema<HostConfig> host_schema() {
  return Schema<HostConfig>("Names of hosts, as in /etc/hosts; they stand in front of every other name")
      .field("address", &HostConfig::address, "what the names lead to")
      .required()
      .field("names", &HostConfig::names, "the names; the address leads back to them", {.non_empty = true, .check = name_trouble})
      .required();
}

Schema<ZoneConfig> zone_schema() {
  return Schema<ZoneConfig>("Zones of one's own, served by every node")
      .field("name", &ZoneConfig::name, "the domain, such as site.example", {.non_empty = true, .check = dns_label_trouble})
      .required()
      .field("ttl", &ZoneConfig::ttl, "time to live of records that give none, and of denials", {.min = 0, .max = 7 * 24 * 3600 * kSecond})
      .field("fallthrough", &ZoneConfig::fallthrough,
             "whether names of the domain that are not listed here are asked elsewhere; else they do not exist")
      .field("records", &ZoneConfig::records,
             "lines of a zone file, \"<name> [<ttl>] <type> <data>\": A, AAAA, CNAME, MX, NS, PTR, SRV or TXT; @ is the domain itself, * "
             "what is not there",
             checked(record_trouble));
}

Schema<RewriteConfig> rewrite_schema() {
  using R = RewriteMatch;
  return Schema<RewriteConfig>("Names that are looked up as other ones; clients see the name they asked for")
      .field("from", &RewriteConfig::from, "the asked name", {.non_empty = true, .check = name_trouble})
      .required()
      .field("to", &RewriteConfig::to, "the name that is looked up", {.non_empty = true, .check = name_trouble})
      .required()
      .choice("match", &RewriteConfig::match, {{"exact", R::exact}, {"suffix", R::suffix}},
              "whether only this name is meant, or everything under it as well: then the end of the name is replaced");
}

Schema<StubDomainConfig> stub_domain_schema() {
  return Schema<StubDomainConfig>(
             "Domains whose names are asked of servers of their own, and of nobody else. The longest one that fits counts")
      .field("name", &StubDomainConfig::name, "the domain, such as corp.example", {.non_empty = true, .check = dns_label_trouble})
      .required()
      .field("upstreams", &StubDomainConfig::upstreams, "its servers, as in dns.upstreams", {.non_empty = true, .check = upstream_trouble})
      .required();
}

Schema<RateLimitConfig> rate_limit_schema() {
  return Schema<RateLimitConfig>(
             "Bounds what one client gets over UDP: a pod or the host by its address, addresses that are not private by their network "
             "(/24, /56)")
      .field("perSecond", &RateLimitConfig::per_second,
             "answers in a second; a quiet client may ask for a second's worth at once. 0: no limit", {.min = 0, .max = 10'000'000})
      .field("truncateEvery", &RateLimitConfig::truncate_every,
             "beyond it, one query of every so many gets an empty truncated answer, so that a real client asks again over TCP, which is "
             "not limited; "
             "the others get none. 0: all get none",
             {.min = 0, .max = 1000});
}

Schema<DnsConfig> dns_schema() {
  return Schema<DnsConfig>("DNS for pods and the host")
      .field("enabled", &DnsConfig::enabled, "whether DNS is served on mesh.serviceIP")
      .field("port", &DnsConfig::port, "UDP and TCP port", kPort)
      .field("clusterDomain", &DnsConfig::cluster_domain, "domain of the cluster's names", {.non_empty = true, .check = dns_label_trouble})
      .field("ttl", &DnsConfig::ttl, "time to live of answers about services", {.min = 0, .max = 3600 * kSecond})
      .field("upstreams", &DnsConfig::upstreams,
             "servers for all other names: address, address:port, tls://address#name or https://address/path#name (the name its "
             "certificate must have); "
             "the fastest is asked first. Empty: those of /etc/resolv.conf",
             checked(upstream_trouble))
      .choice("clusterUpstreams", &DnsConfig::cluster_upstreams,
              {{"none", DnsClusterUpstreams::none}, {"auto", DnsClusterUpstreams::auto_}},
              "auto: the cluster's own DNS service (kube-system/kube-dns, coredns, or what is labelled k8s-app: kube-dns there) is asked "
              "for all "
              "other names as well, as long as it is there; /etc/resolv.conf only while it is not")
      .field("upstreamCA", &DnsConfig::upstream_ca, "certificates of the authorities of upstreams over TLS and HTTPS, PEM",
             checked(absolute_path_trouble))
      .list("stubDomains", &DnsConfig::stub_domains, stub_domain_schema())
      .field("mdnsInterfaces", &DnsConfig::mdns_interfaces,
             "network interfaces on which names under .local are asked for by multicast DNS (RFC 6762). Empty: on none",
             checked(device_trouble))
      .list("hosts", &DnsConfig::hosts, host_schema())
      .list("zones", &DnsConfig::zones, zone_schema())
      .list("rewrites", &DnsConfig::rewrites, rewrite_schema())
      .field("cacheBytes", &DnsConfig::cache, "memory for answers of upstreams; 0 turns the cache off", {.min = 0, .max = 1 << 30})
      .choice("pods", &DnsConfig::pods, {{"disabled", DnsPods::disabled}, {"insecure", DnsPods::insecure}, {"verified", DnsPods::verified}},
              "names like 10-0-0-1.ns.pod: none, for every address, or only for addresses of known endpoints")
      .choice("autopath", &DnsConfig::autopath,
              {{"none", DnsAutopath::none}, {"labelled", DnsAutopath::labelled}, {"all", DnsAutopath::all}},
              "pods of this node whose whole search path is answered with its first name: none, those labelled dns.edgemeshd.io/autopath: "
              "\"true\", or all but those "
              "labelled \"false\"")
      .field("autopathDomains", &DnsConfig::autopath_domains,
             "domains that come after the cluster's in the search path of pods, in their order: those that kubelet takes from the node's "
             "resolv.conf",
             checked(name_trouble))
      .field(
          "routedDomains", &DnsConfig::routed_domains,
          "domains whose host names in Gateway API and Istio objects (Gateway, HTTPRoute, VirtualService, ServiceEntry) are answered with "
          "the addresses of what carries them; \".\" for all. Empty: none, and these objects are not read from an API server",
          checked(routed_trouble))
      .group("rateLimit", &DnsConfig::rate_limit, rate_limit_schema())
      .field("logEvery", &DnsConfig::log_every, "one query of every so many is logged with its answer; 0 for none")
      .field("tapSocket", &DnsConfig::tap_socket, "unix socket of a program that takes dnstap (Frame Streams); empty for none",
             checked(absolute_path_trouble))
      .field("tapFile", &DnsConfig::tap_file, "dnstap into a file instead, 64 MiB and the one before", checked(absolute_path_trouble))
      .field("tapEvery", &DnsConfig::tap_every, "one query of every so many goes there with its answer", {.min = 1});
}

Schema<RelayRoleConfig> relay_role_schema() {
  return Schema<RelayRoleConfig>("Being a relay for other nodes (needs the relay role in this node's certificate)")
      .field("enabled", &RelayRoleConfig::enabled, "whether this node relays")
      .field("tcpPort", &RelayRoleConfig::tcp_port,
             "TCP port it serves besides tunnel.signalPort, for nodes whose network lets nothing else out: these try 443; 0: none",
             {.min = 0, .max = 65535})
      .field("bandwidth", &RelayRoleConfig::bandwidth, "bytes per second for each node it relays for; 0 for no limit", {.min = 0});
}

Schema<RelayPeerConfig> relay_peer_schema() {
  return Schema<RelayPeerConfig>("Relays this node uses, in order of preference")
      .field("name", &RelayPeerConfig::name, "node name of the relay, as in its certificate",
             {.non_empty = true, .check = dns_label_trouble})
      .required()
      .field("address", &RelayPeerConfig::address, "address:port of its signalling and of its relay: TCP and UDP of one number",
             checked(address_port_trouble))
      .required();
}

Schema<IdentityConfig> identity_schema() {
  return Schema<IdentityConfig>("Who this node is: files written by edgemeshctl ca issue")
      .field("cert", &IdentityConfig::cert, "certificate chain of this node, PEM", checked(absolute_path_trouble))
      .field("key", &IdentityConfig::key, "its private key, PEM, readable by root only", checked(absolute_path_trouble))
      .field("ca", &IdentityConfig::ca, "certificates of the authorities whose nodes are trusted, PEM", checked(absolute_path_trouble))
      .field("denyList", &IdentityConfig::deny_list, "signed list of revoked nodes; a missing file is an empty list",
             checked(absolute_path_trouble))
      .field("offlineGrace", &IdentityConfig::offline_grace,
             "how long certificates, this node's and its peers', are accepted past their end (with an alarm): nodes that cannot reach the "
             "CA cannot renew",
             {.min = 0, .max = 366 * 24 * 3600 * kSecond});
}

Schema<PskConfig> psk_schema() {
  return Schema<PskConfig>("Pre-shared keys mixed into session keys, against later key recovery")
      .field("files", &PskConfig::files, "files of 32 random bytes in base64; the first is offered, all are accepted",
             checked(absolute_path_trouble));
}

Schema<InterfacesConfig> interfaces_schema() {
  return Schema<InterfacesConfig>("Interfaces whose addresses are offered to peers as direct paths")
      .field("include", &InterfacesConfig::include, "name patterns; empty: all but the excluded")
      .field("exclude", &InterfacesConfig::exclude, "name patterns left out");
}

Schema<PunchConfig> punch_schema() {
  return Schema<PunchConfig>("Ways to make a direct path through NATs, tried in this order")
      .field("plain", &PunchConfig::plain, "both sides send from their own port at the agreed moment")
      .field("freshPorts", &PunchConfig::fresh_ports, "the same from new ports, which no stale mapping spoils")
      .field("predict", &PunchConfig::predict, "guess the next port of a NAT that counts its ports up")
      .field("birthday", &PunchConfig::birthday,
             "many ports on one side, random ports from the other, for NATs that take a new port for each peer")
      .field("birthdaySockets", &PunchConfig::birthday_sockets, "ports opened for that; 64 where a carrier's NAT gives each customer few",
             {.min = 16, .max = 512});
}

Schema<TunnelConfig> tunnel_schema() {
  return Schema<TunnelConfig>("Encrypted paths to other nodes")
      .field("enabled", &TunnelConfig::enabled, "whether this node takes part; needs tunnel.identity")
      .field("port", &TunnelConfig::port, "UDP port of the tunnel", kPort)
      .field("signalPort", &TunnelConfig::signal_port, "TCP port for signalling; relays often choose 443", kPort)
      .field("advertise", &TunnelConfig::advertise, "addresses where this node can be reached from outside, as address:port")
      .field("proxy", &TunnelConfig::proxy, "address:port of an HTTP proxy through which relays are dialled (CONNECT). Empty: none",
             checked([](const std::string& s) { return s.empty() ? "" : address_port_trouble(s); }))
      .group("relay", &TunnelConfig::relay, relay_role_schema())
      .list("relays", &TunnelConfig::relays, relay_peer_schema())
      .group("identity", &TunnelConfig::identity, identity_schema())
      .group("psk", &TunnelConfig::psk, psk_schema())
      .field("native", &TunnelConfig::native, "carry pod addresses as they are; needs pod ranges that are unique across all sites")
      .field("podCIDRs", &TunnelConfig::pod_cidrs, "pod ranges of this node; must be permitted by its certificate")
      .group("interfaces", &TunnelConfig::interfaces, interfaces_schema())
      .group("punch", &TunnelConfig::punch, punch_schema())
      .field("sessionIdle", &TunnelConfig::session_idle,
             "how long a session without packets and exports is kept; the next packet makes another. 0: for ever",
             {.min = 0, .max = 7 * 24 * 3600 * kSecond})
      .field("lanDiscovery", &TunnelConfig::lan_discovery,
             "whether nodes on the same link are found by multicast DNS, with no relay and no source; false: nothing is sent or heard")
      .field("portMapping", &TunnelConfig::port_mapping,
             "whether the router is asked to forward the tunnel's port (PCP, NAT-PMP) where this node has a private address and "
             "tunnel.advertise is empty")
      .field("upnp", &TunnelConfig::upnp, "whether it is asked by UPnP too, where it answers neither; only with portMapping")
      .field("directEnabled", &TunnelConfig::direct_enabled, "whether direct paths are tried; false keeps everything on relays")
      .field("rekeyAfter", &TunnelConfig::rekey_after,
             "how long session keys are used before new ones are agreed; either side of a session may be the earlier",
             {.min = 10 * kSecond, .max = 24 * 3600 * kSecond});
}

Schema<AdminConfig> admin_schema() {
  return Schema<AdminConfig>("Health, readiness and metrics over HTTP, everything else over a unix socket")
      .field("address", &AdminConfig::address, "where health, readiness and metrics answer")
      .field("socket", &AdminConfig::socket, "unix socket of edgemeshctl. Empty: admin.sock in runDir", checked(absolute_path_trouble));
}

}  // namespace

std::optional<std::pair<int, int>> parse_status_range(std::string_view s) {
  auto one = [](std::string_view t) -> std::optional<int> {
    int n = 0;
    const auto r = std::from_chars(t.data(), t.data() + t.size(), n);
    if (r.ec != std::errc() || r.ptr != t.data() + t.size() || n < 100 || n > 599) return std::nullopt;
    return n;
  };
  const size_t dash = s.find('-');
  const auto from = one(s.substr(0, dash)), to = dash == s.npos ? from : one(s.substr(dash + 1));
  if (!from || !to || *from > *to) return std::nullopt;
  return std::pair(*from, *to);
}

Schema<DaemonConfig> daemon_schema() {
  return Schema<DaemonConfig>("Configuration of edgemeshd. Every key shows its default")
      .field("apiVersion", &DaemonConfig::api_version, "version of this format",
             {.check = [](const std::string& s) { return exact(s, kConfigApiVersion); }})
      .required()
      .field("kind", &DaemonConfig::kind, "kind of this file", {.check = [](const std::string& s) { return exact(s, kConfigKind); }})
      .required()
      .field("nodeName", &DaemonConfig::node_name,
             "name of this node, as in Node objects and its certificate. Empty: NODE_NAME of the environment, else the host's name",
             checked(dns_label_trouble))
      .field("dataDir", &DaemonConfig::data_dir, "what must survive a restart: keys, snapshots",
             {.non_empty = true, .check = absolute_path_trouble})
      .field("runDir", &DaemonConfig::run_dir, "sockets and locks", {.non_empty = true, .check = absolute_path_trouble})
      .choice("logLevel", &DaemonConfig::log_level,
              {{"error", LogLevel::error}, {"warn", LogLevel::warn}, {"info", LogLevel::info}, {"debug", LogLevel::debug}},
              "lines up to this level are written")
      .field("workers", &DaemonConfig::workers, "data threads; 0: one on two cores or fewer, else one per core", {.min = 0, .max = 256})
      .group("source", &DaemonConfig::source, source_schema())
      .group("mesh", &DaemonConfig::mesh, mesh_schema())
      .group("dns", &DaemonConfig::dns, dns_schema())
      .group("tunnel", &DaemonConfig::tunnel, tunnel_schema())
      .group("admin", &DaemonConfig::admin, admin_schema());
}

}  // namespace base::conf
