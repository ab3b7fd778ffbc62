#include "base/conf/edgemesh_config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/conf/yaml.h"
#include "base/core/file.h"
#include "base/sim/source_dir.h"

namespace base::conf {
namespace {

const EdgeMeshEnvironment kEdge{"edge-1", "", false}, kCloud{"cloud-1", "kubeedge", true};

Result<DaemonConfig> map_text(const std::string& text, const EdgeMeshEnvironment& env) {
  EM_TRY_ASSIGN(const Value root, parse_yaml(text, "agent.yaml"));
  EXPECT_TRUE(is_edgemesh_config(root)) << text;
  return map_edgemesh_config(root, "agent.yaml", env);
}
DaemonConfig must(const std::string& text, const EdgeMeshEnvironment& env = kEdge) {
  auto c = map_text(text, env);
  EXPECT_TRUE(c) << (c ? "" : c.error().what);
  return c ? *c : DaemonConfig();
}
std::string error_of(const std::string& text) {
  auto c = map_text(text, kEdge);
  return c ? "no error" : c.error().what;
}
// How many notes are about this path, and do not forget to say why.
size_t notes_about(const DaemonConfig& c, const std::string& path) {
  return size_t(std::count_if(c.notes.begin(), c.notes.end(), [&](const std::string& n) {
    return n.starts_with("agent.yaml:") && n.find(": " + path + ": ") != std::string::npos;
  }));
}
std::string fixture(const std::string& name) {
  auto text = read_file(source_path("base/conf/testing/" + name), 1 << 20);
  EXPECT_TRUE(text) << text.error().what;
  return text ? *text : "";
}
const std::string kHead = "apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1\nkind: EdgeMeshAgent\n";

TEST(EdgeMeshConfig, EveryAgentFieldIsMappedOrNamed) {
  const DaemonConfig c = must(fixture("edgemesh-agent-full.yaml"));
  EXPECT_EQ(c.node_name, "edge-1");
  EXPECT_EQ(c.mesh.device, "edgemesh7");
  EXPECT_EQ(c.mesh.service_ip.str(), "169.254.96.17");
  EXPECT_TRUE(c.mesh.enabled && c.mesh.intercept && c.dns.enabled && c.tunnel.enabled);
  EXPECT_EQ(c.mesh.service_filter_mode, ServiceFilterMode::if_label_does_not_exist);
  EXPECT_EQ(c.dns.port, 5353);
  EXPECT_EQ(c.dns.upstreams, (std::vector<std::string>{"10.96.0.10", "10.244.0.3:5300"}));
  EXPECT_EQ(c.tunnel.port, 20106);
  EXPECT_EQ(c.tunnel.signal_port, 20106);
  ASSERT_EQ(c.tunnel.relays.size(), 1u);
  EXPECT_EQ(c.tunnel.relays[0].name, "k8s-master");
  EXPECT_EQ(c.tunnel.relays[0].address, "192.0.2.7:20106");
  EXPECT_TRUE(c.tunnel.relay.enabled);  // edge-1 is in the list too
  EXPECT_EQ(c.tunnel.advertise[0].str(), "198.51.100.9:20106");
  EXPECT_EQ(c.tunnel.psk.files, (std::vector<std::string>{"/etc/edgemesh/key"}));
  EXPECT_EQ(c.tunnel.interfaces.include, (std::vector<std::string>{"eth0", "wlan0"}));
  EXPECT_TRUE(std::count(c.tunnel.interfaces.exclude.begin(), c.tunnel.interfaces.exclude.end(), "vxlan*"));
  EXPECT_EQ(c.dns.cluster_upstreams, DnsClusterUpstreams::auto_);  // autoDetect
  EXPECT_EQ(c.admin.address.str(), "0.0.0.0:9998");
  EXPECT_TRUE(c.mesh.socks5.enabled);
  EXPECT_EQ(c.mesh.socks5.port, 10800);
  ASSERT_EQ(c.mesh.open_ports.size(), 1u);
  EXPECT_EQ(c.mesh.open_ports[0].port, 22);
  EXPECT_TRUE(c.mesh.open_ports[0].nodes.empty());
  EXPECT_EQ(c.source.meta_server.server, "https://127.0.0.1:10551");
  EXPECT_EQ(c.source.meta_server.cert, "/etc/edgemesh/metaserver/edge.crt");
  for (const char* path : {"kubeAPIConfig.contentType",
                           "kubeAPIConfig.qps",
                           "kubeAPIConfig.burst",
                           "kubeAPIConfig.mode",
                           "kubeAPIConfig.deleteKubeConfig",
                           "commonConfig.pprofConfig",
                           "modules.edgeDNS.kubeAPIConfig",
                           "modules.edgeDNS.listenInterface",
                           "modules.edgeDNS.cacheDNS.cacheTTL",
                           "modules.edgeProxy.listenInterface",
                           "modules.edgeProxy.socks5Proxy.enable",
                           "modules.edgeProxy.socks5Proxy.nodeName",
                           "modules.edgeProxy.socks5Proxy.namespace",
                           "modules.edgeProxy.loadBalancer",
                           "modules.edgeTunnel.mode",
                           "modules.edgeTunnel.nodeName",
                           "modules.edgeTunnel.configPath",
                           "modules.edgeTunnel.transport",
                           "modules.edgeTunnel.rendezvous",
                           "modules.edgeTunnel.enableIpfsLog",
                           "modules.edgeTunnel.maxCandidates",
                           "modules.edgeTunnel.heartbeatPeriod",
                           "modules.edgeTunnel.finderPeriod",
                           "modules.edgeTunnel.tunnelLimitConfig",
                           "modules.edgeCNI.enable",
                           "modules.edgeCNI.encapsulationIP",
                           "modules.edgeCNI.tunMode",
                           "modules.edgeCNI.meshCIDRConfig"})
    EXPECT_EQ(notes_about(c, path), 1u) << path;
  EXPECT_EQ(notes_about(c, "modules.edgeDNS.cacheDNS.upstreamServers"), 1u);  // the bad one of its list
  for (const std::string& n : c.notes) EXPECT_EQ(n.find("is not a key"), std::string::npos) << n;
}

TEST(EdgeMeshConfig, TheSocksProxyNeedsAProxyAndATunnelAndSaysSo) {
  const DaemonConfig c = must(kHead + "modules:\n  edgeProxy:\n    enable: true\n    socks5Proxy: {enable: true, listenPort: 1080}\n");
  EXPECT_FALSE(c.mesh.socks5.enabled);
  EXPECT_TRUE(c.mesh.open_ports.empty());
  EXPECT_EQ(notes_about(c, "modules.edgeProxy.socks5Proxy.enable"), 1u);
}

TEST(EdgeMeshConfig, EveryGatewayFieldIsMappedOrNamed) {
  const DaemonConfig c = must(fixture("edgemesh-gateway-full.yaml"), kCloud);
  EXPECT_FALSE(c.dns.enabled || c.mesh.intercept);
  EXPECT_TRUE(c.mesh.enabled && c.tunnel.enabled);
  EXPECT_EQ(c.tunnel.port, 20007);
  EXPECT_EQ(c.tunnel.relays[0].address, "192.0.2.7:20006");  // where the agents' relay listens
  for (const char* path : {"pprofConfig", "modules.edgeGateway.enable", "modules.edgeGateway.nic", "modules.edgeGateway.includeIP",
                           "modules.edgeGateway.excludeIP", "modules.edgeGateway.loadBalancer"})
    EXPECT_EQ(notes_about(c, path), 1u) << path;
  for (const std::string& n : c.notes) EXPECT_EQ(n.find("is not a key"), std::string::npos) << n;
}

TEST(EdgeMeshConfig, NamesMatchInAnyCaseAndUnknownOnesDoNoHarm) {
  const DaemonConfig c = must(kHead + "Modules:\n  EDGETUNNEL:\n    Enable: true\n    listenport: 20100\n    tunnelLimitConfig:\n      TunnelPeerBaseStreamIn: 1\n"
                                      "    listenPrt: 7\n    quux: {a: 1}\n");
  EXPECT_TRUE(c.tunnel.enabled);
  EXPECT_EQ(c.tunnel.port, 20100);
  EXPECT_NE(std::find(c.notes.begin(), c.notes.end(), "agent.yaml:9:5: modules.edgeTunnel.listenPrt: is not a key of this file and has no effect; did you mean \"listenPort\"?"),
            c.notes.end());
  EXPECT_EQ(notes_about(c, "modules.edgeTunnel.quux"), 1u);
}

TEST(EdgeMeshConfig, TheEnvironmentSaysWhereWeAre) {
  const std::string shipped = kHead + "modules: {edgeProxy: {enable: true}, edgeTunnel: {enable: true}}\n";
  const DaemonConfig edge = must(shipped, kEdge), cloud = must(shipped, kCloud);
  EXPECT_TRUE(edge.dns.enabled);
  EXPECT_EQ(edge.source.meta_server.server, "http://127.0.0.1:10550");
  EXPECT_FALSE(cloud.dns.enabled);
  EXPECT_TRUE(cloud.source.in_cluster);
  EXPECT_EQ(cloud.source.meta_server.server, "");
  EXPECT_TRUE(must(kHead + "modules: {edgeDNS: {enable: true}}", kCloud).dns.enabled);
  EXPECT_EQ(must(shipped, {}).node_name, "");
}

TEST(EdgeMeshConfig, TheApiServerIsChosenAsThere) {
  EXPECT_EQ(must(kHead + "kubeAPIConfig: {kubeConfig: /k, master: \"https://10.0.0.1:6443\"}", kCloud).source.kubeconfig, "/k");
  EXPECT_FALSE(must(kHead + "kubeAPIConfig: {kubeConfig: /k}", kCloud).source.in_cluster);
  EXPECT_EQ(must(kHead + "kubeAPIConfig: {master: \"http://10.0.0.1:8080\"}", kCloud).source.meta_server.server, "http://10.0.0.1:8080");
  const auto secured = must(kHead + "kubeAPIConfig: {metaServer: {security: {requireAuthorization: true}}}").source.meta_server;
  EXPECT_EQ(secured.server, "https://127.0.0.1:10550");
  EXPECT_EQ(secured.ca, "/etc/edgemesh/metaserver/rootCA.crt");
  EXPECT_EQ(secured.token_file, "/var/run/secrets/kubernetes.io/serviceaccount/token");
  const DaemonConfig one_way = must(kHead + "kubeAPIConfig: {metaServer: {security: {requireAuthorization: true, insecureSkipTLSVerify: true}}}");
  EXPECT_EQ(one_way.source.meta_server.cert, "");
  EXPECT_EQ(notes_about(one_way, "kubeAPIConfig.metaServer.security.insecureSkipTLSVerify"), 1u);
}

TEST(EdgeMeshConfig, NoModuleIsOnUnlessTheFileSaysSo) {
  const DaemonConfig c = must(kHead, kCloud);
  EXPECT_FALSE(c.mesh.enabled || c.dns.enabled || c.tunnel.enabled);
  const DaemonConfig tunnel_only = must(kHead + "modules: {edgeTunnel: {enable: true}}", kCloud);
  EXPECT_TRUE(tunnel_only.mesh.enabled);
  EXPECT_FALSE(tunnel_only.mesh.intercept);  // kube-proxy's services stay kube-proxy's
}

TEST(EdgeMeshConfig, WhatWouldRunWronglyIsAnError) {
  EXPECT_EQ(error_of(kHead + "modules:\n  edgeTunnel: {enable: true, transport: carrier}"),
            "agent.yaml:4:41: modules.edgeTunnel.transport: \"carrier\" is not one of tcp, ws, quic");
  EXPECT_EQ(error_of(kHead + "modules:\n  edgeProxy: {enable: true, serviceFilterMode: All}").substr(0, 64),
            "agent.yaml:4:48: modules.edgeProxy.serviceFilterMode: \"All\" is n");
  EXPECT_EQ(error_of(kHead + "modules: {edgeProxy: {enable: 3}}"), "agent.yaml:3:31: modules.edgeProxy.enable: needs true or false, not an integer");
  EXPECT_EQ(error_of(kHead + "modules: [1]"), "agent.yaml:3:10: modules: needs a map, not a list");
  EXPECT_NE(error_of(kHead + "kubeAPIConfig: {kubeConfig: here}").find("is not an absolute path"), std::string::npos);
  EXPECT_NE(error_of(kHead + "kubeAPIConfig: {master: \"https://h:6443\"}").find("give kubeConfig"), std::string::npos);
  EXPECT_NE(error_of(kHead + "commonConfig: {bridgeDeviceIP: edge}").find("\"edge\" is not an IP address"), std::string::npos);
  EXPECT_NE(error_of(kHead + "modules: {edgeDNS: {listenPort: 70000}}").find("70000 is not between 1 and 65535"), std::string::npos);
  EXPECT_EQ(error_of(kHead + "modules: {edgeTunnel: {relayNodes: [{nodeName: r, advertiseAddress: [relay.example]}]}}"),
            "agent.yaml:3:69: modules.edgeTunnel.relayNodes[0].advertiseAddress[0]: \"relay.example\" is not an IP address");
}

TEST(EdgeMeshConfig, PrintedFilesAreReadAgainAndSayNothing) {
  for (auto kind : {EdgeMeshKind::agent, EdgeMeshKind::gateway})
    for (bool minimal : {false, true}) {
      const std::string text = print_edgemesh_config(kind, minimal);
      const DaemonConfig c = must(text, kEdge);
      EXPECT_FALSE(c.mesh.enabled || c.dns.enabled || c.tunnel.enabled) << text;
      EXPECT_EQ(c.mesh.service_ip.str(), "169.254.96.16");
      EXPECT_TRUE(c.notes.empty()) << c.notes[0] << "\n" << text;
    }
}

TEST(EdgeMeshConfig, TheDaemonsLoaderTakesThem) {
  auto c = parse_daemon_config(kHead + "modules: {edgeTunnel: {transport: tcp}}", "agent.yaml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_FALSE(c->node_name.empty());
  EXPECT_EQ(c->admin.socket, "/run/edgemeshd/admin.sock");
  EXPECT_EQ(notes_about(*c, "modules.edgeTunnel.transport"), 1u);
  EXPECT_FALSE(is_edgemesh_config(*parse_yaml("apiVersion: edgemeshd.io/v1alpha1\nkind: Config\nmodules: {}\n", "c")));
}

}  // namespace
}  // namespace base::conf
