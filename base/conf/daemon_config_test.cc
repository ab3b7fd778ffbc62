#include "base/conf/daemon_config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/conf/dns_upstream.h"
#include "base/conf/yaml.h"
#include "base/core/file.h"
#include "base/sim/source_dir.h"

namespace base::conf {
namespace {

const std::string kHead = "apiVersion: edgemeshd.io/v1alpha1\nkind: Config\n";

std::string error_of(const std::string& rest) {
  auto c = parse_daemon_config(kHead + rest, "config.yaml");
  return c ? "no error" : c.error().what;
}

TEST(DaemonConfig, HeadAloneGivesTheDefaults) {
  auto c = parse_daemon_config(kHead, "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_FALSE(c->node_name.empty());
  EXPECT_EQ(c->mesh.service_ip.str(), "169.254.96.16");
  EXPECT_EQ(c->mesh.overlay_cidrs[0].str(), "100.64.0.0/10");
  EXPECT_EQ(c->admin.address.str(), "127.0.0.1:10551");
  EXPECT_EQ(c->admin.socket, "/run/edgemeshd/admin.sock");
  EXPECT_EQ(c->mesh.exclude_services.size(), 3u);
}

TEST(DaemonConfig, TheDefaultFileIsValidAndComplete) {
  auto c = parse_daemon_config(print_default_config(), "default.yaml");
  ASSERT_TRUE(c) << c.error().what << "\n" << print_default_config();
  EXPECT_EQ(c->tunnel.port, 20006);
  EXPECT_EQ(c->dns.cluster_domain, "cluster.local");
}

TEST(DaemonConfig, AFullTunnelSection) {
  auto c = parse_daemon_config(kHead + R"(nodeName: edge-1
tunnel:
  enabled: true
  advertise: ["192.0.2.7:20006"]
  relays:
  - {name: relay-1, address: "192.0.2.9:443"}
  - {name: relay-2, address: "[2001:db8::2]:443"}
  relay: {enabled: true, bandwidth: 10MiB}
  psk: {files: [/etc/edgemeshd/pki/psk]}
  interfaces: {exclude: ["docker*"]}
)", "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->tunnel.relays[1].address, "[2001:db8::2]:443");
  EXPECT_EQ(c->tunnel.relay.bandwidth.count, 10u << 20);
  EXPECT_EQ(c->tunnel.advertise[0].port, 20006);
}

TEST(DaemonConfig, OneSourceOfObjects) {
  auto c = parse_daemon_config(kHead + "source: {metaServer: {server: \"http://127.0.0.1:10550\"}}\n", "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->source.meta_server.server, "http://127.0.0.1:10550");
  EXPECT_EQ(error_of("source: {kubeconfig: /a, inCluster: true}"), "config.yaml:3:9: source: give one of kubeconfig, inCluster and metaServer.server at most");
  EXPECT_EQ(error_of("source: {metaServer: {server: \"https://h\"}}"), "config.yaml:3:22: source.metaServer: an https server needs ca");
  EXPECT_EQ(error_of("source: {metaServer: {server: \"https://h\", ca: /c, cert: /c}}"), "config.yaml:3:22: source.metaServer: cert and key go together");
  EXPECT_NE(error_of("source: {metaServer: {server: \"127.0.0.1:10550\"}}"), "no error");
}

TEST(DaemonConfig, StubDomains) {
  auto c = parse_daemon_config(kHead + "dns: {stubDomains: [{name: corp.example, upstreams: [10.0.0.1, \"[fd00::1]:5353\"]}]}\n", "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->dns.stub_domains[0].upstreams.size(), 2u);
  EXPECT_EQ(error_of("dns: {stubDomains: [{name: corp.example, upstreams: []}]}"), "config.yaml:3:53: dns.stubDomains[0].upstreams: must not be empty");
  EXPECT_EQ(error_of("dns: {stubDomains: [{name: corp.example, upstreams: [ns.corp.example]}]}"),
            "config.yaml:3:54: dns.stubDomains[0].upstreams[0]: \"ns.corp.example\" is neither an address nor an address with a port");
  EXPECT_EQ(error_of("dns: {stubDomains: [{name: x.cluster.local, upstreams: [10.0.0.1]}]}"),
            "config.yaml:3:20: dns.stubDomains: \"x.cluster.local\" is in dns.clusterDomain cluster.local, whose names are answered here; leave it out");
}

TEST(DaemonConfig, UpstreamsOverTlsAndHttps) {
  auto c = parse_daemon_config(kHead + "dns: {upstreams: [\"tls://9.9.9.9#dns.quad9.net\", \"https://[2620:fe::fe]:8443/q#dns.quad9.net\", \"tls://[fd00::1]\"]}\n", "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  auto h = parse_dns_upstream(c->dns.upstreams[1]);
  ASSERT_TRUE(h) << h.error().what;
  EXPECT_EQ(h->at.str(), "[2620:fe::fe]:8443");
  EXPECT_EQ(h->path + "#" + h->name, "/q#dns.quad9.net");
  EXPECT_EQ(parse_dns_upstream("tls://[fd00::1]")->at.port, 853);
  EXPECT_EQ(parse_dns_upstream("https://9.9.9.9")->path, "/dns-query");
  EXPECT_EQ(error_of("dns: {upstreams: [\"tls://dns.quad9.net\"]}"),
            "config.yaml:3:19: dns.upstreams[0]: \"tls://dns.quad9.net\" has no address behind ://; write tls://9.9.9.9#dns.quad9.net or https://9.9.9.9/dns-query#dns.quad9.net");
  for (auto* bad : {"tls://9.9.9.9#", "https://9.9.9.9/a b", "udp://9.9.9.9", "9.9.9.9:0"}) EXPECT_FALSE(parse_dns_upstream(bad)) << bad;
}

TEST(DaemonConfig, NamesOfOnesOwn) {
  auto c = parse_daemon_config(kHead + R"(dns:
  hosts: [{address: 192.0.2.7, names: [printer.site.example, printer]}]
  zones: [{name: site.example, ttl: 5m, records: ["www A 192.0.2.1", '* TXT "any"']}]
  rewrites: [{from: old.example, to: new.example, match: suffix}]
)", "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->dns.hosts[0].names.size(), 2u);
  EXPECT_EQ(c->dns.zones[0].records.size(), 2u);
  EXPECT_EQ(error_of("dns: {zones: [{name: a.example, records: [\"www A here\"]}]}"),
            "config.yaml:3:43: dns.zones[0].records[0]: \"www A here\" \"here\" is not an IPv4 address");
  EXPECT_EQ(error_of("dns: {zones: [{name: local}]}"), "config.yaml:3:14: dns.zones: \"local\" would hide the names of the cluster, cluster.local; set fallthrough: true");
  EXPECT_EQ(error_of("dns: {hosts: [{address: 192.0.2.7}]}").substr(0, 52), "config.yaml:3:15: dns.hosts[0]: \"names\" is missing: ");
  EXPECT_NE(error_of("dns: {rewrites: [{from: a b, to: c}]}"), "no error");
}

TEST(DaemonConfig, HealthChecks) {
  auto checks = [](const std::string& flow) { return "mesh: {health: {checks: [" + flow + "]}}"; };
  auto c = parse_daemon_config(
      kHead +
          checks("{services: [\"shop/*\"], labels: [app=web], ports: [http, 8080], type: http, path: /healthz, status: [200, 300-399]}") +
          "\n",
      "config.yaml");
  ASSERT_TRUE(c) << c.error().what;
  const HealthCheckConfig& k = c->mesh.health.checks.at(0);
  EXPECT_EQ(k.type, HealthCheckType::http);
  EXPECT_EQ(k.ports, (std::vector<std::string>{"http", "8080"}));
  EXPECT_EQ(k.status, (std::vector<std::string>{"200", "300-399"}));
  EXPECT_EQ(error_of(checks("{type: tcp}")).substr(0, 65), "config.yaml:3:26: mesh.health.checks[0]: \"services\" is missing: t");
  EXPECT_EQ(error_of(checks("{services: [web]}")),
            "config.yaml:3:38: mesh.health.checks[0].services[0]: \"web\" is not <namespace>/<service>");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], path: /a}")),
            "config.yaml:3:52: mesh.health.checks[0].path: is for checks of type: http");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], type: http, path: a}")),
            "config.yaml:3:64: mesh.health.checks[0].path: \"a\" does not begin with '/'");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], type: http, host: \"a b\"}")),
            "config.yaml:3:64: mesh.health.checks[0].host: \"a b\" is not a host name or address");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], type: http, status: [2xx]}")),
            "config.yaml:3:67: mesh.health.checks[0].status[0]: \"2xx\" is not an HTTP status such as 200, or a range such as 200-399");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], interval: 1s, timeout: 2s}")),
            "config.yaml:3:69: mesh.health.checks[0].timeout: 2s is longer than interval, 1s");
  EXPECT_EQ(error_of(checks("{services: [\"*/*\"], labels: [web]}")),
            "config.yaml:3:55: mesh.health.checks[0].labels[0]: \"web\" is not <key>=<value>");
  EXPECT_EQ(error_of("mesh: {health: {enabled: false, checks: [{services: [\"*/*\"]}]}}"),
            "config.yaml:3:41: mesh.health.checks: has no effect without mesh.enabled and mesh.health.enabled: set both, or leave it out");
}

TEST(DaemonConfig, BadInputNamesPlaceAndMend) {
  EXPECT_EQ(error_of("mesh:\n  serviceIp: 1.2.3.4\n"), "config.yaml:4:3: mesh: unknown key \"serviceIp\"; did you mean \"serviceIP\"?");
  EXPECT_EQ(error_of("tunnel:\n  advertise:\n  - 10.0.0.300:1\n").substr(0, 44), "config.yaml:5:5: tunnel.advertise[0]: \"10.0.");
  EXPECT_EQ(error_of("tunnel: {relays: [{name: a}]}"), "config.yaml:3:19: tunnel.relays[0]: \"address\" is missing: address:port of its signalling and of its relay: TCP and UDP of one number");
  EXPECT_EQ(error_of("tunnel: {relays: [{name: a, address: b}]}"), "config.yaml:3:38: tunnel.relays[0].address: \"b\" is not <address>:<port>");
  EXPECT_EQ(error_of("mesh: {excludeServices: [kubernetes]}"),
            "config.yaml:3:26: mesh.excludeServices[0]: \"kubernetes\" is not <namespace>/<service>");
  EXPECT_EQ(error_of("mesh:\n  serviceCIDRs: [100.64.0.0/16]\n  overlayCIDRs: [100.64.0.0/10]\n"),
            "config.yaml:5:17: mesh.overlayCIDRs: 100.64.0.0/10 overlaps mesh.serviceCIDRs 100.64.0.0/16");
  EXPECT_EQ(error_of("dataDir: here"), "config.yaml:3:10: dataDir: \"here\" is not an absolute path");
  EXPECT_EQ(error_of("dns: {upstreams: [dns.example]}"),
            "config.yaml:3:19: dns.upstreams[0]: \"dns.example\" is neither an address nor an address with a port");
  EXPECT_NE(parse_daemon_config("kind: Config\n", "c.yaml").error().what.find("\"apiVersion\" is missing: add apiVersion: edgemeshd.io/v1alpha1"), std::string::npos);
  EXPECT_NE(parse_daemon_config("", "c.yaml").error().what.find("is empty"), std::string::npos);
  EXPECT_NE(parse_daemon_config("apiVersion: edgemeshd.io/v2\nkind: Config\n", "c.yaml").error().what.find("c.yaml:1:13"), std::string::npos);
  EXPECT_EQ(load_daemon_config("/nonexistent/config.yaml").error().what, "/nonexistent/config.yaml: no such file; edgemeshd --print-default-config writes one to begin with");
}

// The committed pages are what the table says. EDGEMESH_UPDATE_DOCS=1 rewrites them.
void expect_page(const std::string& name, const std::string& wanted) {
  const std::string path = source_path("docs/reference/" + name);
  if (std::getenv("EDGEMESH_UPDATE_DOCS")) std::ofstream(path) << wanted;
  auto have = read_file(path, 1 << 20);
  ASSERT_TRUE(have) << have.error().what;
  EXPECT_TRUE(*have == wanted) << path << " is out of date: run base_conf_test with EDGEMESH_UPDATE_DOCS=1";
}

TEST(DaemonConfig, ReferencePageIsUpToDate) {
  expect_page("config.md", config_reference_markdown());
  expect_page("config.schema.json", config_json_schema());
  EXPECT_TRUE(parse_yaml(config_json_schema(), "schema"));
}

}  // namespace
}  // namespace base::conf
