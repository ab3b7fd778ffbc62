// The daemon's configuration: what each module is told, with its defaults, and the schema table that reads it
// (docs/reference/config.md is generated from the table). Modules get their own struct, never the whole.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/conf/schema.h"
#include "base/core/log.h"
#include "base/core/result.h"
#include "base/net/addr.h"

namespace base::conf {

inline constexpr const char* kConfigApiVersion = "edgemeshd.io/v1alpha1";
inline constexpr const char* kConfigKind = "Config";

struct MetaServerConfig {  // KubeEdge's API server on the edge node
  std::string server;      // "": not used
  std::string ca, cert, key, token_file;
};

struct SourceConfig {
  std::string directory = "/etc/edgemeshd/objects";
  std::string kubeconfig;
  bool in_cluster = false;
  MetaServerConfig meta_server;
};

enum class ServiceFilterMode { if_label_exists, if_label_does_not_exist };  // which services are left alone
enum class DnsAutopath { none, labelled, all };  // which pods' search paths are answered at once
enum class DnsClusterUpstreams : uint8_t { none, auto_ };
enum class DnsPods { disabled, insecure, verified };

struct ProxyConfig {
  uint32_t connections_max = 8192;
  Duration dial_budget = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::hours(1);
};

enum class HealthCheckType { tcp, http };
struct HealthCheckConfig {
  std::vector<std::string> services;  // namespace/service, "*" for either
  std::vector<std::string> labels;    // key=value
  std::vector<std::string> ports;     // names or numbers; empty: every TCP port
  HealthCheckType type = HealthCheckType::tcp;
  std::string path, host;           // http; empty: "/", the service's name
  std::vector<std::string> status;  // http: "200", "200-399"; empty: 200-399
  Duration interval = std::chrono::seconds(5), timeout = std::chrono::seconds(1);
  uint32_t failures = 3, successes = 2;
};

// "204" or "200-399", in 100 to 599; nullopt: neither.
std::optional<std::pair<int, int>> parse_status_range(std::string_view);

struct HealthConfig {
  bool enabled = true;
  Duration ejection_time = std::chrono::seconds(10);
  uint32_t panic_threshold = 50;  // percent
  std::vector<HealthCheckConfig> checks;
};

struct Socks5Config {
  bool enabled = false;
  std::string address;  // empty: mesh.serviceIP
  uint16_t port = 10800;
  std::string users;    // file; empty: nobody has to log in
  bool services = true;
  uint32_t connections_max = 1024;
  Duration connect_timeout = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::hours(24);
};

struct OpenPortConfig {
  uint16_t port = 0;
  std::vector<std::string> nodes;  // empty: all
};

struct MeshConfig {
  bool enabled = true;
  bool intercept = true;
  std::string device = "edgemesh0";
  IpAddr service_ip = IpAddr::v4(0xA9FE6010);  // 169.254.96.16
  std::vector<Cidr> overlay_cidrs = {{IpAddr::v4(0x64400000), 10}};
  std::string network;
  bool node_ports = false;
  bool open_input = false;
  ServiceFilterMode service_filter_mode = ServiceFilterMode::if_label_exists;
  std::vector<std::string> exclude_services = {"default/kubernetes", "kube-system/kube-dns", "kube-system/coredns"};
  std::vector<Cidr> service_cidrs;
  ProxyConfig proxy;
  Socks5Config socks5;
  std::vector<OpenPortConfig> open_ports;
  HealthConfig health;
};

struct HostConfig {
  IpAddr address;
  std::vector<std::string> names;
};

struct ZoneConfig {
  std::string name;
  Duration ttl = std::chrono::seconds(60);
  bool fallthrough = false;
  std::vector<std::string> records;  // dns_record.h
};

enum class RewriteMatch { exact, suffix };
struct RewriteConfig {
  std::string from, to;
  RewriteMatch match = RewriteMatch::exact;
};

struct StubDomainConfig {
  std::string name;
  std::vector<std::string> upstreams;
};

struct RateLimitConfig {
  uint32_t per_second = 0;
  uint32_t truncate_every = 2;
};

struct DnsConfig {
  bool enabled = true;
  uint16_t port = 53;
  std::string cluster_domain = "cluster.local";
  Duration ttl = std::chrono::seconds(5);
  std::vector<std::string> upstreams;  // dns_upstream.h; empty: /etc/resolv.conf
  std::string upstream_ca = "/etc/ssl/certs/ca-certificates.crt";
  DnsClusterUpstreams cluster_upstreams = DnsClusterUpstreams::none;
  std::vector<StubDomainConfig> stub_domains;
  std::vector<std::string> mdns_interfaces;
  std::vector<HostConfig> hosts;
  std::vector<ZoneConfig> zones;
  std::vector<RewriteConfig> rewrites;
  Bytes cache{8 << 20};
  DnsPods pods = DnsPods::insecure;
  DnsAutopath autopath = DnsAutopath::none;
  std::vector<std::string> autopath_domains;
  std::vector<std::string> routed_domains;  // "." for all; empty: none
  RateLimitConfig rate_limit;
  uint32_t log_every = 0;         // 0: no query is logged
  std::string tap_socket, tap_file;  // dnstap; both empty: none
  uint32_t tap_every = 1;
};

struct RelayRoleConfig {
  bool enabled = false;
  uint16_t tcp_port = 443;
  Bytes bandwidth{0};  // bytes per second for each node; 0: no limit
};

struct RelayPeerConfig {
  std::string name;
  std::string address;  // address:port of its signalling
};

struct IdentityConfig {
  std::string cert = "/etc/edgemeshd/pki/node.crt";
  std::string key = "/etc/edgemeshd/pki/node.key";
  std::string ca = "/etc/edgemeshd/pki/ca.crt";
  std::string deny_list = "/etc/edgemeshd/pki/deny.list";
  Duration offline_grace = std::chrono::hours(90 * 24);
};

struct PskConfig {
  std::vector<std::string> files;  // the first is offered; all are accepted
};

struct InterfacesConfig {
  std::vector<std::string> include, exclude = {"docker*", "br-*", "veth*", "cni*", "flannel*", "cali*", "virbr*"};
};

struct PunchConfig {
  bool plain = true, fresh_ports = true, predict = true, birthday = true;
  uint32_t birthday_sockets = 256;
};

struct TunnelConfig {
  bool enabled = false;
  uint16_t port = 20006;
  uint16_t signal_port = 20006;
  std::vector<IpPort> advertise;
  std::string proxy;  // address:port; "": none
  RelayRoleConfig relay;
  std::vector<RelayPeerConfig> relays;
  IdentityConfig identity;
  PskConfig psk;
  bool native = false;
  std::vector<Cidr> pod_cidrs;
  InterfacesConfig interfaces;
  PunchConfig punch;
  Duration session_idle = std::chrono::minutes(10);
  bool lan_discovery = true, port_mapping = true;
  bool upnp = true;
  bool direct_enabled = true;
  Duration rekey_after = std::chrono::minutes(60);
};

struct AdminConfig {
  IpPort address{IpAddr::v4(0x7F000001), 10551};
  std::string socket;  // resolved: <runDir>/admin.sock
};

struct DaemonConfig {
  std::string api_version = kConfigApiVersion;
  std::string kind = kConfigKind;
  std::string node_name;  // resolved: the host's name
  std::string data_dir = "/var/lib/edgemeshd";
  std::string run_dir = "/run/edgemeshd";
  LogLevel log_level = LogLevel::info;
  uint32_t workers = 0;  // 0: 1 on two cores or fewer, else one per core
  SourceConfig source;
  MeshConfig mesh;
  DnsConfig dns;
  TunnelConfig tunnel;
  AdminConfig admin;
  std::vector<std::string> notes;  // of a file in EdgeMesh's form: what has no effect here, one line each (edgemesh_config.h)
};

Schema<DaemonConfig> daemon_schema();

// Reads our own form or EdgeMesh's (edgemesh_config.h), checks keys against each other and fills in what follows from others
// (node name: the environment's NODE_NAME, else the host's; admin socket).
// Errors: "<file>:<line>:<column>: <path>: <what>".
Result<DaemonConfig> parse_daemon_config(std::string_view text, std::string_view file);
Result<DaemonConfig> load_daemon_config(const std::string& path);

std::string print_default_config();       // --print-default-config
std::string config_reference_markdown();  // docs/reference/config.md
std::string config_json_schema();

}  // namespace base::conf
