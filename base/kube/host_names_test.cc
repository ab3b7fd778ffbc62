// Names that objects of Istio and of the Gateway API give, from manifests.
#include "base/kube/host_names.h"

#include <gtest/gtest.h>

#include "base/kube/service_join.h"
#include "base/kube/table_builder.h"
#include "base/sim/sim_loop.h"

namespace base::kube {
namespace {

struct Mesh {
  SimLoop loop;
  std::unique_ptr<TableBuilder> builder = make_service_table_builder(loop);
  HostNames names;
  Mesh() {
    builder->on_hosts([this](const PackedObject& before, const PackedObject& after) { names.changed(before, after); });
    builder->on_change([this](const ServiceTablePtr& t, const ServiceDiff& d) { names.set_table(t, d); });
  }
  void apply(const std::string& yaml) {
    auto d = parse_objects(yaml, "x.yaml");
    ASSERT_TRUE(d) << d.error().what;
    EXPECT_EQ(d->skipped, 0u);
    for (auto& o : d->objects) builder->upsert(PackedObject(*o));
    builder->publish_now();
  }
  void remove(Kind k, const ObjectName& id) {
    builder->remove(k, id);
    builder->publish_now();
  }
  std::string text(const std::vector<std::string>& domains = {"."}) {
    std::string out;
    for (auto& n : names.list(domains)) {
      out += n.host + ":";
      for (auto& a : n.addresses) out += " " + a.str();
      out += "\n";
    }
    return out;
  }
};

const char* const kIngress = R"(
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system, labels: {istio: ingressgateway, app: ingress}}
spec: {clusterIP: 10.96.0.80, selector: {istio: ingressgateway}, ports: [{port: 80}]}
)";
const char* const kIstioGateway = R"(
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, protocol: HTTP, name: http}, hosts: ["*.shop.example", "./Pay.example"]}
)";

TEST(HostNames, AServiceEntryLeadsToItsAddressesElseToItsEndpoints) {
  Mesh m;
  m.apply(R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec: {hosts: [db.Corp.example], addresses: [192.0.2.9, 192.0.2.0/24], endpoints: [{address: 198.51.100.1}], ports: [{number: 5432, name: tcp, protocol: TCP}]}
---
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: pbx, namespace: shop}
spec: {hosts: [pbx.corp.example], endpoints: [{address: 198.51.100.2}, {address: "fd00::2"}, {address: pbx.elsewhere.example}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec: {hosts: [www.elsewhere.example], resolution: DNS}
)");
  EXPECT_EQ(m.text(), "db.corp.example: 192.0.2.9\npbx.corp.example: 198.51.100.2 fd00::2\n");
  EXPECT_FALSE(m.names.is_dirty());
  m.remove(Kind::service_entry, {"shop", "db"});
  EXPECT_TRUE(m.names.is_dirty());
  EXPECT_EQ(m.text(), "pbx.corp.example: 198.51.100.2 fd00::2\n");
}

TEST(HostNames, AnIstioGatewayIsWhereTheServicesWithItsLabelsAre) {
  Mesh m;
  m.apply(kIstioGateway);
  EXPECT_EQ(m.text(), "") << "no address, no name";
  m.apply(kIngress);
  EXPECT_EQ(m.text(), "*.shop.example: 10.96.0.80\npay.example: 10.96.0.80\n");
  m.apply(R"(
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [www.shop.example, web, other.example], gateways: [mesh, edge]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far, namespace: else}
spec: {hosts: [far.shop.example], gateways: [shop/edge]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mesh-only, namespace: shop}
spec: {hosts: [inner.shop.example]}
)");
  EXPECT_EQ(m.text({"shop.example"}), "*.shop.example: 10.96.0.80\nfar.shop.example: 10.96.0.80\nwww.shop.example: 10.96.0.80\n")
      << "what no server of the gateway takes is not given away";
  m.apply(R"(
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {clusterIP: 10.96.0.81, ports: [{port: 80}]}
)");
  EXPECT_EQ(m.text({"pay.example"}), "pay.example: 10.96.0.81\n") << "the service moved";
  m.remove(Kind::service, {"istio-system", "ingress"});
  EXPECT_TRUE(m.names.is_dirty());
  EXPECT_EQ(m.text(), "");
}

TEST(HostNames, AGatewayOfTheGatewayApiIsItsServiceElseItsStatus) {
  Mesh m;
  m.apply(R"(
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec: {gatewayClassName: any, listeners: [{name: a, port: 80, protocol: HTTP, hostname: "*.site.example"}]}
status: {addresses: [{type: IPAddress, value: 203.0.113.5}, {type: Hostname, value: lb.example}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cam, namespace: shop}
spec:
  parentRefs: [{name: edge, namespace: infra}, {kind: Service, group: "", name: web}]
  hostnames: [cam.site.example, cam.other.example]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: lost, namespace: shop}
spec: {parentRefs: [{name: edge}], hostnames: [lost.site.example]}
)");
  EXPECT_EQ(m.text(), "*.site.example: 203.0.113.5\ncam.site.example: 203.0.113.5\n");
  m.apply(R"(
apiVersion: v1
kind: Service
metadata: {name: edge-any, namespace: infra, labels: {gateway.networking.k8s.io/gateway-name: edge}}
spec: {clusterIP: 10.96.0.90, ports: [{port: 80}]}
)");
  EXPECT_EQ(m.text({"cam.site.example"}), "cam.site.example: 10.96.0.90\n") << "what the mesh carries goes first";
}

TEST(HostNames, OnlyWhatIsUnderTheWantedDomains) {
  Mesh m;
  m.apply(kIngress);
  m.apply(kIstioGateway);
  EXPECT_EQ(m.text({}), "");
  EXPECT_EQ(m.text({"example.org", "y.example"}), "") << "whole labels only";
  EXPECT_EQ(m.text({"PAY.example."}), "pay.example: 10.96.0.80\n");
}

}  // namespace
}  // namespace base::kube
