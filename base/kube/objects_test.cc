#include "base/kube/objects.h"

#include <gtest/gtest.h>

#include "base/conf/yaml.h"
#include "base/core/file.h"
#include "base/sim/source_dir.h"

namespace base::kube {
namespace {

std::vector<ObjectPtr> must(std::string_view text) {
  auto p = parse_objects(text, "m.yaml");
  EXPECT_TRUE(p) << (p ? "" : p.error().what);
  return p ? p->objects : std::vector<ObjectPtr>();
}
std::string error_of(std::string_view text) {
  auto p = parse_objects(text, "m.yaml");
  return p ? "no error" : p.error().what;
}
template <class T>
const T& body(const ObjectPtr& o) { return std::get<T>(o->body); }

TEST(Objects, Service) {
  const auto all = must(R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  clusterIPs: [10.96.0.7, "fd00::7"]
  selector: {app: web}
  sessionAffinity: ClientIP
  externalIPs: [192.0.2.1]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, appProtocol: http}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  - {name: s, port: 9, protocol: SCTP}
  unknownField: {is: ignored}
status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {hostname: lb.example}]}}
)");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]->label(), "Service shop/web");
  EXPECT_EQ(all[0]->place.str(), "m.yaml:1");
  const auto& s = body<ServiceObject>(all[0]);
  EXPECT_EQ(s.cluster_ips[1].str(), "fd00::7");
  EXPECT_TRUE(s.has_selector && s.client_ip_affinity);
  EXPECT_EQ(s.affinity_seconds, 10800);
  EXPECT_EQ(s.ports[0].target_name, "web");
  EXPECT_EQ(s.ports[1].proto, Proto::udp);
  EXPECT_EQ(s.ports[1].target_number, 5353);
  EXPECT_FALSE(s.ports[2].proto);
  EXPECT_EQ(s.lb_ips.size(), 1u);
}

TEST(Objects, EndpointSliceDefaultsOfConditions) {
  const auto all = must(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [172.17.0.2], nodeName: a, zone: z1, hostname: web-0, targetRef: {kind: Pod, name: web-0}}
- {addresses: [172.17.0.3], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [172.17.0.4], conditions: {ready: false}}
)");
  const auto& s = body<EndpointSliceObject>(all.at(0));
  EXPECT_EQ(s.service, "web");
  EXPECT_TRUE(s.endpoints[0].ready && s.endpoints[0].serving && !s.endpoints[0].terminating);
  EXPECT_EQ(s.endpoints[0].pod, "web-0");
  EXPECT_TRUE(!s.endpoints[1].ready && s.endpoints[1].serving && s.endpoints[1].terminating);
  EXPECT_TRUE(!s.endpoints[2].ready && !s.endpoints[2].serving);
}

TEST(Objects, NodePodNamespaceEndpointsMeshNode) {
  const auto all = must(R"(apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, "fd01::/64"]}
status: {addresses: [{type: Hostname, address: a}, {type: InternalIP, address: 192.168.1.4}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: a}
status: {phase: Running, podIP: 10.1.0.9, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets:
- {addresses: [{ip: 10.1.0.9, nodeName: a}], notReadyAddresses: [{ip: 10.1.0.10}], ports: [{port: 8080}]}
---
apiVersion: mesh.edgemeshd.io/v1alpha1
kind: MeshNode
metadata: {name: a}
spec: {overlayIPs: [100.64.0.1], roles: [relay], advertise: ["192.0.2.1:20006"], podCIDRs: [10.1.0.0/24], network: lan}
)");
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(body<NodeObject>(all[1]).pod_cidrs.size(), 2u);
  EXPECT_EQ(body<NodeObject>(all[1]).internal_ips[0].str(), "192.168.1.4");
  EXPECT_EQ(all[2]->id.str(), "default/p");
  EXPECT_TRUE(body<PodObject>(all[2]).ready);
  EXPECT_EQ(body<EndpointsObject>(all[3]).subsets[0].not_ready.size(), 1u);
  EXPECT_EQ(body<MeshNodeObject>(all[4]).advertise[0].str(), "192.0.2.1:20006");
  EXPECT_EQ(all[4]->place.str(), "m.yaml:23");
}

DestinationRuleObject rule(const std::string& lb, const std::string& version = "v1") {
  const auto all = must("apiVersion: networking.istio.io/" + version + "\nkind: DestinationRule\nmetadata: {name: web}\nspec: {host: web, trafficPolicy: {loadBalancer: " + lb + "}}\n");
  return all.empty() ? DestinationRuleObject() : body<DestinationRuleObject>(all[0]);
}

TEST(Objects, DestinationRulePolicies) {
  using K = LbRule::Kind;
  for (const char* v : {"v1alpha3", "v1beta1", "v1"}) EXPECT_EQ(rule("{simple: RANDOM}", v).rule->kind, K::random) << v;
  EXPECT_EQ(rule("{simple: LEAST_CONN}").rule->kind, K::least_request);
  EXPECT_EQ(rule("{consistentHash: {useSourceIp: true}}").rule->kind, K::hash_source_ip);
  EXPECT_EQ(rule("{consistentHash: {httpHeaderName: User-Agent}}").rule->hash_key, "User-Agent");
  EXPECT_EQ(rule("{consistentHash: {httpCookie: {name: sid, ttl: 0s}}}").rule->kind, K::hash_cookie);
  EXPECT_EQ(rule("{consistentHash: {httpQueryParameterName: q}}").rule->kind, K::hash_query);
  EXPECT_EQ(rule("{simple: PASSTHROUGH}").unsupported, "loadBalancer.simple PASSTHROUGH");
  EXPECT_FALSE(rule("{simple: PASSTHROUGH}").rule);
  EXPECT_FALSE(rule("{}").rule);
  EXPECT_EQ(rule("{}").unsupported, "");
}

TEST(Objects, ListsAndUnknownKinds) {
  auto p = parse_objects(R"({"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
 {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}]}
{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "b"}}]}
{"apiVersion": "example.org/v1", "kind": "Service", "metadata": {"name": "not-ours"}})", "m.json");
  ASSERT_TRUE(p) << p.error().what;
  ASSERT_EQ(p->objects.size(), 2u);
  EXPECT_EQ(p->objects[1]->label(), "Service default/b");
  EXPECT_EQ(p->skipped, 2u);
}

TEST(Objects, ErrorsNamePlaceObjectAndPath) {
  const std::string head = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n";
  EXPECT_EQ(error_of(head + "spec:\n  ports:\n  - port: \"80\"\n"), "m.yaml:6:11: Service shop/web: spec.ports[0].port: needs an integer, not a string");
  EXPECT_EQ(error_of(head + "spec:\n  ports:\n  - {name: a}\n"), "m.yaml:6:5: Service shop/web: spec.ports[0].port: is missing");
  EXPECT_EQ(error_of(head + "spec: {clusterIP: 10.96.0.300}\n"),
            "m.yaml:4:19: Service shop/web: spec.clusterIP: \"10.96.0.300\" is neither an IP address nor None");
  EXPECT_EQ(error_of(head + "spec: {ports: [{port: 70000}]}\n"), "m.yaml:4:23: Service shop/web: spec.ports[0].port: 70000 is out of range (1 to 65535)");
  EXPECT_EQ(error_of(head + "spec: 5\n"), "m.yaml:4:7: Service shop/web: spec: needs a map, not an integer");
  EXPECT_EQ(error_of("apiVersion: v1\nkind: Service\nmetadata: {labels: {a: 1}}\n"), "m.yaml:3:11: Service: metadata.name: is missing");
  EXPECT_EQ(error_of("apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {v: 1}}\n"),
            "m.yaml:3:33: Service default/a: metadata.labels.v: needs a string, not an integer; quote it");
  EXPECT_EQ(error_of("hello\n"), "m.yaml:1:1: an object (a map) expected, not a string");
  EXPECT_EQ(error_of("a: 1\n"), "m.yaml:1:1: not a Kubernetes object: kind is missing");
  EXPECT_EQ(error_of("apiVersion: mesh.edgemeshd.io/v1alpha1\nkind: MeshNode\nmetadata: {name: a}\nspec: {advertise: [192.0.2.1]}\n"),
            "m.yaml:4:20: MeshNode a: spec.advertise[0]: \"192.0.2.1\" is not an address with a port");
}

TEST(Objects, TheShippedCrdDescribesWhatIsRead) {
  const std::string path = source_path("deploy/kubernetes/crd-meshnode.yaml");
  auto text = read_file(path, 1 << 20);
  ASSERT_TRUE(text) << text.error().what;
  auto v = conf::parse_yaml(*text, path);
  ASSERT_TRUE(v) << v.error().what;
  const conf::Value& version = (*v->find("spec")->find("versions")->list())[0];
  const conf::Value* spec = version.find("schema")->find("openAPIV3Schema")->find("properties")->find("spec")->find("properties");
  ASSERT_TRUE(spec);
  for (const char* key : {"overlayIPs", "network", "roles", "advertise", "podCIDRs", "revoked"}) EXPECT_TRUE(spec->find(key)) << key;
  EXPECT_EQ(spec->map()->size(), 6u);
}

}  // namespace
}  // namespace base::kube
