#include "base/conf/daemon_config.h"

#include <unistd.h>

#include "base/conf/edgemesh_config.h"
#include "base/conf/yaml.h"
#include "base/core/environment.h"
#include "base/core/file.h"

namespace base::conf {
namespace {

constexpr size_t kConfigBytesMax = 1 << 20;
constexpr size_t kOpenPortsMax = 64;
constexpr size_t kHealthChecksMax = 64;  // rules; each is tried on each service that changes

std::string host_name() {
  char buf[256] = {};
  ::gethostname(buf, sizeof buf - 1);
  std::string out = buf;
  for (char& c : out) c = char(std::tolower(uint8_t(c)));
  return out;
}

// Keys that must fit together. Errors stand at the key that is easiest to change.
class CrossCheck {
 public:
  CrossCheck(const DaemonConfig& c, const Value& root, std::string_view file) : c_(c), root_(root), file_(file) {}

  Result<void> run() const {
    EM_TRY(source());
    EM_TRY(overlay());
    EM_TRY(health_checks());
    EM_TRY(socks5());
    EM_TRY(stub_domains());
    EM_TRY(zones());
    return tunnel();
  }

 private:
  tl::unexpected<Error> at(std::initializer_list<std::string_view> path, std::string_view what) const {
    std::string shown;
    const Value* v = down(path, shown);
    return at(*v, shown, what);
  }
  // The key of one entry of a list.
  tl::unexpected<Error> at(std::initializer_list<std::string_view> path, size_t index, std::string_view key, std::string_view what) const {
    std::string shown;
    const Value* v = down(path, shown);
    if (const auto* l = v->list(); l && index < l->size()) v = &(*l)[index];
    if (const Value* next = v->find(key)) v = next;
    return at(*v, fmt::format("{}[{}].{}", shown, index, key), what);
  }
  tl::unexpected<Error> at(const Value& v, std::string_view shown, std::string_view what) const {
    return fail(Code::invalid, "{}:{}:{}: {}: {}", file_, v.mark.line, v.mark.column, shown, what);
  }
  const Value* down(std::initializer_list<std::string_view> path, std::string& shown) const {
    const Value* v = &root_;
    for (auto key : path) {
      shown += (shown.empty() ? "" : ".") + std::string(key);
      if (const Value* next = v->find(key)) v = next;
    }
    return v;
  }

  Result<void> source() const {
    const auto& s = c_.source;
    const auto& m = s.meta_server;
    if ((!s.kubeconfig.empty()) + s.in_cluster + (!m.server.empty()) > 1) return at({"source"}, "give one of kubeconfig, inCluster and metaServer.server at most");
    if (m.cert.empty() != m.key.empty()) return at({"source", "metaServer"}, "cert and key go together");
    if (m.server.starts_with("https:") && m.ca.empty()) return at({"source", "metaServer"}, "an https server needs ca");
    return {};
  }

  Result<void> overlay() const {
    const auto& all = c_.mesh.overlay_cidrs;
    for (size_t i = 0; i < all.size(); ++i) {
      for (const Cidr& s : c_.mesh.service_cidrs)
        if (all[i].overlaps(s)) return at({"mesh", "overlayCIDRs"}, fmt::format("{} overlaps mesh.serviceCIDRs {}", all[i].str(), s.str()));
      if (all[i].contains(c_.mesh.service_ip)) return at({"mesh", "overlayCIDRs"}, fmt::format("{} contains mesh.serviceIP {}", all[i].str(), c_.mesh.service_ip.str()));
      for (size_t j = 0; j < i; ++j)
        if (all[i].ip.family() == all[j].ip.family()) return at({"mesh", "overlayCIDRs"}, "give one range per address family at most");
    }
    return {};
  }

  Result<void> health_checks() const {
    const auto& h = c_.mesh.health;
    if (h.checks.empty()) return {};
    if (!c_.mesh.enabled || !h.enabled)
      return at({"mesh", "health", "checks"}, "has no effect without mesh.enabled and mesh.health.enabled: set both, or leave it out");
    if (h.checks.size() > kHealthChecksMax)
      return at({"mesh", "health", "checks"},
                fmt::format("{} entries are more than {}; let one name several services", h.checks.size(), kHealthChecksMax));
    for (size_t i = 0; i < h.checks.size(); ++i) {
      const HealthCheckConfig& k = h.checks[i];
      auto wrong = [&](std::string_view key, std::string_view what) { return at({"mesh", "health", "checks"}, i, key, what); };
      if (k.timeout > k.interval)
        return wrong("timeout", fmt::format("{} is longer than interval, {}", to_text(k.timeout), to_text(k.interval)));
      if (k.type == HealthCheckType::http) continue;
      for (auto& [key, given] :
           {std::pair("path", !k.path.empty()), std::pair("host", !k.host.empty()), std::pair("status", !k.status.empty())})
        if (given) return wrong(key, "is for checks of type: http");
    }
    return {};
  }

  Result<void> socks5() const {
    const auto& m = c_.mesh;
    if (m.socks5.enabled && !(m.enabled && c_.tunnel.enabled))
      return at({"mesh", "socks5", "enabled"}, "needs mesh.enabled and tunnel.enabled: other nodes are reached through the tunnel");
    if (m.open_ports.size() > kOpenPortsMax)
      return at({"mesh", "openPorts"}, fmt::format("{} entries are more than {}", m.open_ports.size(), kOpenPortsMax));
    return {};
  }

  Result<void> stub_domains() const {
    for (auto& d : c_.dns.stub_domains)
      if (d.name == c_.dns.cluster_domain || d.name.ends_with("." + c_.dns.cluster_domain))
        return at({"dns", "stubDomains"}, fmt::format("\"{}\" is in dns.clusterDomain {}, whose names are answered here; leave it out", d.name, c_.dns.cluster_domain));
      else if (d.name == "local" && !c_.dns.mdns_interfaces.empty())
        return at({"dns", "stubDomains"}, "\"local\" is asked for on dns.mdnsInterfaces; leave one of the two out");
    return {};
  }

  Result<void> zones() const {
    const std::string& cluster = c_.dns.cluster_domain;
    for (auto& z : c_.dns.zones)
      if (!z.fallthrough && (z.name == cluster || cluster.ends_with("." + z.name)))
        return at({"dns", "zones"}, fmt::format("\"{}\" would hide the names of the cluster, {}; set fallthrough: true", z.name, cluster));
    return {};
  }

  Result<void> tunnel() const {
    if (c_.tunnel.relay.enabled && !c_.tunnel.enabled) return at({"tunnel", "relay", "enabled"}, "a relay needs tunnel.enabled: true");
    if (!c_.tunnel.enabled) return {};
    const auto& id = c_.tunnel.identity;
    if (id.cert.empty() || id.key.empty() || id.ca.empty())
      return at({"tunnel", "identity"}, "cert, key and ca are all needed; edgemeshctl ca issue writes them");
    if (c_.tunnel.native && c_.tunnel.pod_cidrs.empty()) return at({"tunnel", "native"}, "needs tunnel.podCIDRs");
    return {};
  }

  const DaemonConfig& c_;
  const Value& root_;
  std::string_view file_;
};

}  // namespace

Result<DaemonConfig> parse_daemon_config(std::string_view text, std::string_view file) {
  EM_TRY_ASSIGN(const Value root, parse_yaml(text, file));
  if (root.is_null()) return fail(Code::invalid, "{}: is empty; edgemeshd --print-default-config writes one to begin with", file);
  auto read = is_edgemesh_config(root) ? map_edgemesh_config(root, file, edgemesh_environment()) : daemon_schema().parse(root, file);
  EM_TRY_ASSIGN(DaemonConfig c, std::move(read));
  EM_TRY(CrossCheck(c, root, file).run());
  if (c.node_name.empty()) c.node_name = environment("NODE_NAME");
  if (c.node_name.empty()) c.node_name = host_name();
  if (c.admin.socket.empty()) c.admin.socket = c.run_dir + "/admin.sock";
  return c;
}

Result<DaemonConfig> load_daemon_config(const std::string& path) {
  const auto text = read_file(path, kConfigBytesMax);
  if (!text && text.error().code == Code::not_found)
    return fail(Code::not_found, "{}; edgemeshd --print-default-config writes one to begin with", text.error().what);
  if (!text) return tl::unexpected(text.error());
  return parse_daemon_config(*text, path);
}

std::string print_default_config() { return default_file(*daemon_schema().table()); }

std::string config_reference_markdown() {
  return "# Configuration\n\n"
         "`edgemeshd --config FILE` reads one YAML (or JSON) document. `edgemeshd --print-default-config` writes a commented file with every\n"
         "key at its default, `edgemeshd --check-config` only checks. Unknown keys are errors. Durations are written `5s`, `250ms`, `1h30m`;\n"
         "sizes `64KiB`, `8MiB`. Files written for EdgeMesh are read too: [EdgeMesh's files](edgemesh-files.md). This page is generated from the table that the parser uses.\n" +
         markdown_reference(*daemon_schema().table());
}

std::string config_json_schema() { return json_schema(*daemon_schema().table(), "edgemeshd configuration"); }

}  // namespace base::conf
