#include "base/kube/table_builder.h"

#include <gtest/gtest.h>

#include "base/core/log.h"
#include "base/kube/packed.h"
#include "base/sim/sim_loop.h"

namespace base::kube {
namespace {

class TableBuilderTest : public ::testing::Test {
 protected:
  TableBuilderTest() {
    set_log_level(LogLevel::error);
    b->on_change([this](const ServiceTablePtr& t, const ServiceDiff& d) {
      table = t;
      diff = d;
      ++published;
    });
  }
  ~TableBuilderTest() override { set_log_level(LogLevel::info); }

  void apply(std::string_view text) {
    auto p = parse_objects(text, "m.yaml");
    ASSERT_TRUE(p) << p.error().what;
    for (auto& o : p->objects) b->upsert(o);
    loop.run_until_idle();
  }
  void remove(Kind k, const char* ns, const char* name) {
    b->remove(k, {ns, name});
    loop.run_until_idle();
  }
  Service web() { return *table->find({"shop", "web"}); }

  SimLoop loop;
  std::unique_ptr<TableBuilder> b = make_service_table_builder(loop);
  ServiceTablePtr table = b->table();
  ServiceDiff diff;
  int published = 0;
};

const std::string kWeb = R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80, targetPort: 8080}]}
---
)";
const std::string kSlice1 = R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [172.17.0.3], nodeName: b}, {addresses: [172.17.0.2], nodeName: a}]
---
)";
const std::string kSlice2 = R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 9090}]
endpoints: [{addresses: ["fd00::2"]}, {addresses: ["fd00::3"], conditions: {ready: false, serving: true, terminating: true}}]
---
)";
const std::string kEndpoints = R"(apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets: [{addresses: [{ip: 10.9.9.9}], notReadyAddresses: [{ip: 10.9.9.8}], ports: [{name: http, port: 7070}]}]
---
)";
std::string rule(const char* name, const char* lb, const char* host = "other") {
  return fmt::format("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {}, namespace: shop}}\nspec: {{host: {}, trafficPolicy: {{loadBalancer: {}}}}}\n---\n", name, host, lb);
}

TEST_F(TableBuilderTest, SctpPortsAreForDnsAlone) {
  apply(R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: None, ports: [{name: m3ua, port: 2905, protocol: SCTP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: m3ua, port: 2906, protocol: SCTP}]
endpoints: [{addresses: [172.17.0.3], hostname: p-0}]
)");
  EXPECT_TRUE(web().ports.empty());
  ASSERT_EQ(web().sctp_ports.size(), 1u);
  EXPECT_EQ(web().sctp_ports[0].name, "m3ua");
  ASSERT_EQ(web().sctp_ports[0].endpoints.size(), 1u);
  EXPECT_EQ(web().sctp_ports[0].endpoints[0].port, 2906);
}

TEST_F(TableBuilderTest, JoinsSeveralSlicesInOnePublication) {
  apply(kSlice2 + kWeb + kSlice1 + kEndpoints);
  EXPECT_EQ(published, 1);
  ASSERT_EQ(web().ports.size(), 1u);
  const ServicePort p = web().ports[0];
  ASSERT_EQ(p.endpoints.size(), 4u);  // the Endpoints object is not read while there are slices
  EXPECT_EQ(p.endpoints[0].ip.str(), "172.17.0.2");
  EXPECT_EQ(p.endpoints[2].port, 9090);
  EXPECT_EQ(p.usable(Family::v4).size(), 2u);
  EXPECT_EQ(p.usable(Family::v6).size(), 1u);
  EXPECT_TRUE(table->has_namespace("shop"));
}

TEST_F(TableBuilderTest, EndpointsServeWhenThereAreNoSlices) {
  apply(kEndpoints + kWeb);
  ASSERT_EQ(web().ports[0].endpoints.size(), 2u);
  EXPECT_EQ(web().ports[0].usable(Family::v4).size(), 1u);
  EXPECT_EQ(web().ports[0].usable(Family::v4)[0]->port, 7070);
  apply(kSlice1);
  EXPECT_EQ(web().ports[0].endpoints[0].ip.str(), "172.17.0.2");
  remove(Kind::endpoint_slice, "shop", "web-1");
  EXPECT_EQ(web().ports[0].usable(Family::v4)[0]->ip.str(), "10.9.9.9");
}

TEST_F(TableBuilderTest, TerminatingEndpointsServeOnlyWhenNoneIsReady) {
  apply(kWeb + kSlice2);
  EXPECT_EQ(web().ports[0].usable(Family::v6)[0]->ip.str(), "fd00::2");
  apply(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 9090}]
endpoints: [{addresses: ["fd00::2"], conditions: {ready: false}}, {addresses: ["fd00::3"], conditions: {ready: false, serving: true, terminating: true}}]
)");
  ASSERT_EQ(web().ports[0].usable(Family::v6).size(), 1u);
  EXPECT_EQ(web().ports[0].usable(Family::v6)[0]->ip.str(), "fd00::3");
}

TEST_F(TableBuilderTest, PortsMatchByNameOrByTargetPortName) {
  apply(R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80, targetPort: web}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: web, port: 8080}, {name: dns, port: 5353, protocol: UDP}, {name: dns, port: 1, protocol: TCP}]
endpoints: [{addresses: [172.17.0.2]}]
)");
  EXPECT_EQ(web().ports[0].endpoints.at(0).port, 8080);
  EXPECT_EQ(web().ports[1].endpoints.at(0).port, 5353);
}

TEST_F(TableBuilderTest, HeadlessWithoutPortsKeepsItsEndpoints) {
  apply(R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: None}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [172.17.0.2], hostname: web-0}]
)");
  EXPECT_EQ(web().kind, Service::Kind::headless);
  EXPECT_EQ(web().ports.at(0).port, 0);
  EXPECT_EQ(web().ports[0].endpoints.at(0).hostname, "web-0");
}

TEST_F(TableBuilderTest, RuleBindsBeforeOrAfterItsServiceAndByHost) {
  apply(rule("web", "{simple: RANDOM}"));
  apply(kWeb);
  EXPECT_EQ(web().rule.kind, LbRule::Kind::random);
  EXPECT_EQ(web().rule.source, "DestinationRule shop/web");
  remove(Kind::destination_rule, "shop", "web");
  EXPECT_EQ(web().rule, LbRule());
  for (const char* host : {"web", "web.shop", "web.shop.svc.cluster.local"}) {
    apply(rule("by-host", "{consistentHash: {useSourceIp: true}}", host));
    EXPECT_EQ(web().rule.kind, LbRule::Kind::hash_source_ip) << host;
    remove(Kind::destination_rule, "shop", "by-host");
  }
  apply(rule("by-host", "{simple: RANDOM}", "web.example.org"));
  EXPECT_EQ(web().rule, LbRule());
}

TEST_F(TableBuilderTest, UnsupportedRuleWarnsOnceAndFallsBack) {
  int lines = 0;
  set_log_level(LogLevel::warn);
  set_log_sink([&](LogLevel, std::string_view) { ++lines; });
  apply(kWeb + rule("web", "{simple: PASSTHROUGH}"));
  apply(kSlice1);
  EXPECT_EQ(lines, 1);
  set_log_sink(nullptr);
  EXPECT_EQ(web().rule.kind, LbRule::Kind::round_robin);
  ASSERT_EQ(b->problems().size(), 1u);
  EXPECT_NE(b->problems()[0].find("PASSTHROUGH is not supported; round robin is used"), std::string::npos);
  remove(Kind::destination_rule, "shop", "web");
  EXPECT_TRUE(b->problems().empty());
}

TEST_F(TableBuilderTest, SessionAffinityGoesBeforeARule) {
  apply(rule("web", "{simple: RANDOM}") + R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, ports: [{port: 80}]}
)");
  EXPECT_EQ(web().client_ip_affinity, std::chrono::seconds(60));
  EXPECT_EQ(web().rule, LbRule());
  EXPECT_EQ(b->problems().size(), 1u);
}

TEST_F(TableBuilderTest, OnlyRealChangesArePublished) {
  apply(kWeb + kSlice1);
  const ServicePtr before = table->find({"shop", "web"});
  apply(kWeb + kSlice1);
  EXPECT_EQ(published, 1);
  apply(rule("unrelated", "{simple: RANDOM}"));
  EXPECT_EQ(published, 1);
  EXPECT_EQ(*table->find({"shop", "web"}), *before);
  remove(Kind::service, "shop", "web");
  EXPECT_EQ(diff.removed, (std::vector<ObjectName>{{"shop", "web"}}));
  EXPECT_TRUE(diff.namespaces_changed);
  EXPECT_FALSE(table->find({"shop", "web"}));
  EXPECT_EQ(before->ports[0].endpoints.size(), 2u);  // what a reader holds stays whole
}

TEST_F(TableBuilderTest, ReplaceRemovesWhatIsNoLongerListedAndSyncs) {
  apply(kWeb);
  EXPECT_FALSE(table->synced());
  for (size_t k = 0; k < kKinds; ++k) b->replace(Kind(k), {});
  for (size_t k = 0; k < kKinds; ++k) b->synced(Kind(k));
  loop.run_until_idle();
  EXPECT_TRUE(table->synced());
  EXPECT_EQ(table->size(), 0u);
  EXPECT_EQ(published, 2);
}

std::string mesh_node(const char* name, const char* ip) {
  return fmt::format("apiVersion: mesh.edgemeshd.io/v1alpha1\nkind: MeshNode\nmetadata: {{name: {}}}\nspec: {{overlayIPs: [{}]}}\n---\n", name, ip);
}

TEST_F(TableBuilderTest, ASecondMeshNodeWithOneOverlayAddressIsLeftOut) {
  apply(mesh_node("z", "100.64.0.1") + mesh_node("a", "100.64.0.1") + mesh_node("c", "100.64.0.3"));
  ASSERT_EQ(table->mesh_nodes().size(), 2u);
  EXPECT_TRUE(table->mesh_nodes().contains("z"));
  ASSERT_EQ(b->problems().size(), 1u);
  EXPECT_EQ(b->problems()[0],
            "m.yaml:6: MeshNode a: overlay address 100.64.0.1 belongs to MeshNode z (m.yaml:1); this one is left out: give it another address");
  remove(Kind::mesh_node, "", "z");
  EXPECT_TRUE(diff.nodes_changed);
  EXPECT_TRUE(table->mesh_nodes().contains("a"));
  EXPECT_TRUE(b->problems().empty());
}

TEST_F(TableBuilderTest, EndpointsTakeTheZoneOfTheirNode) {
  apply(kWeb + kSlice1);
  EXPECT_EQ(web().ports[0].endpoints[0].zone, "");
  apply("apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {topology.kubernetes.io/zone: z1}}\n");
  EXPECT_EQ(web().ports[0].endpoints[0].zone, "z1");
  EXPECT_TRUE(diff.nodes_changed);
}

TEST_F(TableBuilderTest, FiveThousandServicesShareWhatDidNotChange) {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: s{}, namespace: n{}}}\nspec: {{clusterIP: 10.96.{}.{}, ports: [{{port: 80}}]}}\n---\n", i, i % 7, i / 250, i % 250 + 1);
    text += fmt::format("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{}, namespace: n{}, labels: {{kubernetes.io/service-name: s{}}}}}\naddressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [", i, i % 7, i);
    for (int e = 0; e < 4; ++e) text += fmt::format("{{addresses: [10.{}.{}.{}]}},", e, i / 250, i % 250 + 1);
    text += "]\n---\n";
  }
  apply(text);
  EXPECT_EQ(published, 1);
  ASSERT_EQ(table->size(), 5000u);
  EXPECT_EQ(diff.changed.size(), 5000u);
  EXPECT_TRUE(std::is_sorted(diff.changed.begin(), diff.changed.end()));
  const uint64_t unpacked = PackedService::unpacked();
  size_t names = 0;
  table->each_id([&](const ObjectName&, Service::Kind k) { names += k == Service::Kind::cluster_ip; });
  EXPECT_EQ(names, 5000u);
  const auto found = table->at(Proto::tcp, {*IpAddr::parse("10.2.9.44"), 8080});  // 9 * 250 + 43
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0]->id.name, "s2293");
  EXPECT_TRUE(table->at(Proto::tcp, {*IpAddr::parse("10.2.9.44"), 8081}).empty());
  EXPECT_TRUE(table->at(Proto::udp, {*IpAddr::parse("10.2.9.44"), 8080}).empty());
  EXPECT_LE(PackedService::unpacked() - unpacked, 3u) << "names and one address do not take every service apart";
  const ServiceTablePtr before = table;
  apply("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s42, namespace: n0, labels: {kubernetes.io/service-name: s42}}\n"
        "addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.200.0.1]}]\n");
  EXPECT_EQ(diff.changed, (std::vector<ObjectName>{{"n0", "s42"}}));
  std::vector<ObjectName> order, differing;
  table->each([&](const ServicePtr& s) {
    order.push_back(s->id);
    if (*before->find(s->id) != *s) differing.push_back(s->id);
  });
  EXPECT_EQ(order.size(), 5000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(differing, diff.changed);
  EXPECT_EQ(before->find({"n0", "s42"})->ports[0].endpoints.size(), 4u);
  for (int i = 0; i < 5000; i += 3) b->remove(Kind::service, {fmt::format("n{}", i % 7), fmt::format("s{}", i)});
  loop.run_until_idle();
  EXPECT_EQ(table->size(), 3333u);
  EXPECT_EQ(before->size(), 5000u);
  size_t seen = 0;
  before->each([&](const ServicePtr&) { ++seen; });
  EXPECT_EQ(seen, 5000u);
}

TEST(IsProxied, LabelModesAndExclusions) {
  Service s;
  s.id = {"shop", "web"};
  s.cluster_ips = {*IpAddr::parse("10.96.0.7")};
  Service labelled = s;
  labelled.labels["service.edgemesh.kubeedge.io/service-proxy-name"] = "";
  Service headless = s;
  headless.kind = Service::Kind::headless;
  EXPECT_TRUE(is_proxied(s, FilterMode::if_label_exists, {}));
  EXPECT_FALSE(is_proxied(labelled, FilterMode::if_label_exists, {}));
  EXPECT_FALSE(is_proxied(s, FilterMode::if_label_does_not_exist, {}));
  EXPECT_TRUE(is_proxied(labelled, FilterMode::if_label_does_not_exist, {}));
  EXPECT_FALSE(is_proxied(s, FilterMode::if_label_exists, {{"shop", "web"}}));
  EXPECT_FALSE(is_proxied(headless, FilterMode::if_label_exists, {}));
}

}  // namespace
}  // namespace base::kube
