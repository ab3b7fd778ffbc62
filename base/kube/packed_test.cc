#include "base/kube/packed.h"

#include <gtest/gtest.h>

namespace base::kube {
namespace {

Service full_service() {
  Service s;
  s.id = {"shop", "web"};
  s.kind = Service::Kind::headless;
  s.cluster_ips = {*IpAddr::parse("10.96.0.7"), *IpAddr::parse("fd96::7")};
  s.external_ips = {*IpAddr::parse("203.0.113.7")};
  s.lb_ips = {*IpAddr::parse("203.0.113.8")};
  s.external_name = "web.example.org";
  s.client_ip_affinity = std::chrono::seconds(0);
  s.publish_not_ready = s.has_selector = true;
  s.labels = {{"a", "b"}, {"c", ""}};
  s.rule = {LbRule::Kind::hash_cookie, "session", "DestinationRule shop/web"};
  s.ports = {{"http", Proto::udp, 80, 30080, "h2c", {}}};
  Endpoint e{*IpAddr::parse("fd00::1"), 8080, "node-a", "web-0", "web-0", "z1", false, true, true, 70000};
  s.ports[0].endpoints = {e, Endpoint{*IpAddr::parse("172.17.0.2"), 8081}};
  return s;
}

TEST(PackedService, GivesBackEveryField) {
  const Service s = full_service();
  const PackedService p(s);
  EXPECT_EQ(*p.unpack(), s);
  EXPECT_EQ(p.name_key(), PackedObject::Name("shop", "web"));
  EXPECT_EQ(*PackedService(Service()).unpack(), Service());
}

TEST(PackedService, IsEqualWhenTheServiceIs) {
  Service s = full_service();
  const PackedService p(s);
  EXPECT_TRUE(p == PackedService(s));
  s.ports[0].endpoints[1].ready = false;
  EXPECT_FALSE(p == PackedService(s));
}

ObjectPtr slice(const char* file, const char* address) {
  auto all = parse_objects(fmt::format("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: shop, labels: "
                                       "{{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{{addresses: [{}]}}]\n", address), file);
  return all->objects.at(0);
}

TEST(PackedObject, IsKnownByNamePlaceAndServiceWithoutUnpacking) {
  const PackedObject o = slice("a.yaml", "172.17.0.2");
  EXPECT_EQ(o.kind(), Kind::endpoint_slice);
  EXPECT_EQ(o.label(), "EndpointSlice shop/web-1");
  EXPECT_EQ(o.service(), "web");
  EXPECT_EQ(o.place().str(), "a.yaml:1");
  EXPECT_TRUE(o.unpack().same_content(*slice("a.yaml", "172.17.0.2")));
}

TEST(PackedObject, ContentIsTheSameWhereverItWasRead) {
  const PackedObject o = slice("a.yaml", "172.17.0.2");
  EXPECT_TRUE(o.same_content(slice("another.yaml", "172.17.0.2")));
  EXPECT_FALSE(o.same_content(slice("a.yaml", "172.17.0.3")));
}

}  // namespace
}  // namespace base::kube
