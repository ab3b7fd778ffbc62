#include "base/kube/snapshot.h"

#include <gtest/gtest.h>

namespace base::kube {
namespace {

constexpr const char* kEverything = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {a: b}}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDRs: [10.1.0.0/16, "fd01::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.1.10}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p1, namespace: shop}
spec: {nodeName: n1, hostname: web-0, subdomain: web, hostNetwork: true}
status: {phase: Running, podIPs: [{ip: 10.1.0.2}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.7, "fd96::7"]
  externalIPs: [203.0.113.7]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 77}}
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, appProtocol: http}
  - {name: sctp, port: 81, protocol: SCTP}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
status: {loadBalancer: {ingress: [{ip: 203.0.113.8}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets: [{addresses: [{ip: 10.1.0.2, nodeName: n1, targetRef: {kind: Pod, name: p1}}], notReadyAddresses: [{ip: 10.1.0.3}], ports: [{name: http, port: 8080}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: ["fd01::2"], hostname: web-0, nodeName: n1, zone: z2, conditions: {ready: false, serving: true, terminating: true}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: X-User}}}}
---
apiVersion: mesh.edgemeshd.io/v1alpha1
kind: MeshNode
metadata: {name: n1}
spec: {overlayIPs: [100.64.0.1, "fd64::1"], network: lan, roles: [relay], advertise: ["192.168.1.10:20006"], podCIDRs: [10.1.0.0/16], revoked: true}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec: {hosts: [db.example], addresses: [192.0.2.9]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {listeners: [{name: a, hostname: "*.shop.example"}]}
status: {addresses: [{value: 192.0.2.80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {hostnames: [web.shop.example], parentRefs: [{name: edge}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{hosts: ["./a.example"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [a.example], gateways: [edge, far/edge, mesh]}
)";

std::vector<ObjectPtr> parsed_everything() {
  auto parsed = parse_objects(kEverything, "/manifests/all.yaml");
  EXPECT_TRUE(parsed) << parsed.error().what;
  return parsed->objects;
}

Snapshot everything() {
  const auto all = parsed_everything();
  return {1700000000, {all.begin(), all.end()}, {{"shop", "web"}}};
}

TEST(Snapshot, GivesBackEveryFieldOfEveryKind) {
  const Snapshot s = everything();
  ASSERT_EQ(s.objects.size(), kKinds);
  const auto back = decode_snapshot(encode_snapshot(s).bytes);
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->written_s, 1700000000u);
  EXPECT_EQ(back->in_use, s.in_use);
  ASSERT_EQ(back->objects.size(), s.objects.size());
  const auto parsed = parsed_everything();
  for (size_t i = 0; i < s.objects.size(); ++i) {
    EXPECT_TRUE(back->objects[i].same_content(s.objects[i])) << s.objects[i].label();
    EXPECT_TRUE(back->objects[i].unpack().same_content(*parsed[i])) << s.objects[i].label();
    EXPECT_EQ(back->objects[i].place(), parsed[i]->place);
  }
}

TEST(Snapshot, ContentIsTheSameWheneverItIsWritten) {
  Snapshot a = everything(), b = everything();
  b.written_s = 1800000000;
  EXPECT_EQ(encode_snapshot(a).content, encode_snapshot(b).content);
  b.objects.pop_back();
  EXPECT_NE(encode_snapshot(a).content, encode_snapshot(b).content);
}

TEST(Snapshot, EveryFlippedBitIsNoticed) {
  const std::string good = encode_snapshot(everything()).bytes;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = char(bad[bit / 8] ^ (1 << bit % 8));
    ASSERT_FALSE(decode_snapshot(bad)) << "bit " << bit;
  }
}

TEST(Snapshot, EveryTruncationIsNoticed) {
  const std::string good = encode_snapshot(everything()).bytes;
  for (size_t n = 0; n < good.size(); ++n) ASSERT_FALSE(decode_snapshot(std::string_view(good).substr(0, n))) << n;
  EXPECT_FALSE(decode_snapshot(good + "x"));
}

TEST(Snapshot, AFutureVersionIsNamed) {
  std::string future = encode_snapshot(everything()).bytes;
  future[11] = 9;
  const auto r = decode_snapshot(future);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().what, "version 9, this program reads version 1");
}

}  // namespace
}  // namespace base::kube
