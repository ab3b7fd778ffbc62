#include "base/kube/json_objects.h"

#include <gtest/gtest.h>

#include "base/kube/list_reader.h"

namespace base::kube {
namespace {

struct Listed {
  std::vector<std::string> items;
  std::vector<std::string> skipped;
  std::string frame, error;
  bool complete = false;
};
Listed read_list(const std::string& text, size_t portion, size_t item_bytes = 1000) {
  Listed out;
  ListReader r({.item_bytes = item_bytes, .frame_bytes = 500, .depth = 20},
               {.on_item = [&](std::string& i) { out.items.push_back(i); }, .on_skipped = [&](const std::string& w) { out.skipped.push_back(w); }});
  for (size_t at = 0; at < text.size(); at += portion)
    if (auto ok = r.feed(std::string_view(text).substr(at, portion)); !ok) return out.error = ok.error().what, out;
  out.frame = r.frame();
  out.complete = r.complete();
  return out;
}

TEST(ListReader, EveryPortioningGivesTheSameItems) {
  const std::string text = R"({"kind":"ServiceList", "note":"items", "items":[ {"a":"}\"{\\"},
    {"b":{"items":[{},[1]]}} ], "metadata":{"continue":"x]\"","resourceVersion":"7","items":[1]}} )";
  for (size_t portion = 1; portion <= text.size(); ++portion) {
    const Listed l = read_list(text, portion);
    ASSERT_EQ(l.error, "");
    ASSERT_EQ(l.items, (std::vector<std::string>{R"({"a":"}\"{\\"})", R"({"b":{"items":[{},[1]]}})"})) << portion;
    ASSERT_TRUE(l.complete);
    std::string frame = l.frame;
    auto f = JsonReader().list_frame(frame, "p");
    ASSERT_TRUE(f) << l.frame;
    EXPECT_EQ(f->next_page, "x]\"");
    EXPECT_EQ(f->resource_version, "7");
    EXPECT_EQ(f->kind, "ServiceList");
  }
}

TEST(ListReader, EmptyAndNullItems) {
  EXPECT_TRUE(read_list(R"({"items":[]})", 3).complete);
  EXPECT_TRUE(read_list(R"({"items":null,"metadata":{}})", 3).complete);
  EXPECT_FALSE(read_list(R"({"items":[{})", 3).complete);
}

TEST(ListReader, BoundsHold) {
  const std::string big = R"({"items":[{"a":")" + std::string(2000, 'x') + R"("},{"b":1}]})";
  const Listed l = read_list(big, 64);
  EXPECT_EQ(l.items, std::vector<std::string>{R"({"b":1})"});
  ASSERT_EQ(l.skipped.size(), 1u);
  EXPECT_TRUE(l.complete);
  EXPECT_NE(read_list(R"({"x":")" + std::string(1000, 'x') + "\"}", 100).error.find("around the items"), std::string::npos);
  EXPECT_NE(read_list(R"({"items":[)" + std::string(30, '{'), 100).error.find("deeper than 20"), std::string::npos);
  for (const char* bad : {R"({"items":["s"]})", R"({"items":[[]]})", R"({"items":[7]})", "[]", "}"}) EXPECT_NE(read_list(bad, 50).error, "") << bad;
}

ObjectPtr must(Kind k, std::string text) {
  auto o = JsonReader().object(k, text, "https://api/x");
  EXPECT_EQ(o.trouble, "");
  return o.object;
}
std::string error_of(Kind k, std::string text) {
  auto o = JsonReader().object(k, text, "https://api/x");
  return o.object ? "no error" : o.trouble;
}

// The manifest reader is the authority: the same object as JSON and as a manifest is the same value.
TEST(JsonObjects, MeansWhatTheManifestMeans) {
  const std::pair<Kind, const char*> samples[] = {
      {Kind::service, R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"1","labels":{"a":"b"},"managedFields":[{"f:x":{"k:{}":{}}}]},
        "spec":{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"selector":{"app":"web"},"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},
        "externalIPs":["192.0.2.1"],"ports":[{"name":"http","port":80,"targetPort":"web","nodePort":30080,"appProtocol":"http"},{"name":"d","protocol":"UDP","port":53,"targetPort":5353},{"name":"s","protocol":"SCTP","port":9}]},
        "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"},{"hostname":"lb"}]}}})"},
      {Kind::endpoint_slice, R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"web-1","namespace":"shop","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
        "endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"p1"},"zone":"z"},
        {"addresses":["10.1.0.2"],"conditions":{"ready":null},"hostname":"h"}],"ports":[{"name":"http","protocol":"TCP","port":8080},{"name":null,"port":null}]})"},
      {Kind::endpoints, R"({"kind":"Endpoints","apiVersion":"v1","metadata":{"name":"e","namespace":"d"},"subsets":[{"addresses":[{"ip":"10.0.0.1","nodeName":"n","targetRef":{"kind":"Pod","name":"p"}}],"notReadyAddresses":[{"ip":"10.0.0.2"}],"ports":[{"port":1,"name":"x"}]}]})"},
      {Kind::node, R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","labels":{"z":"1"}},"spec":{"podCIDR":"10.244.1.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.5"},{"type":"Hostname","address":"n1"}]}})"},
      {Kind::destination_rule, R"({"kind":"DestinationRule","apiVersion":"networking.istio.io/v1","metadata":{"name":"r","namespace":"d"},"spec":{"host":"web","trafficPolicy":{"loadBalancer":{"consistentHash":{"httpHeaderName":"X-U"}}}}})"},
      {Kind::mesh_node, R"({"kind":"MeshNode","apiVersion":"mesh.edgemeshd.io/v1alpha1","metadata":{"name":"n1"},"spec":{"overlayIPs":["100.64.0.1"],"roles":["relay"],"advertise":["203.0.113.1:20006"],"podCIDRs":["10.1.0.0/16"]}})"},
      {Kind::namespace_, R"({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop"}})"},
      {Kind::pod, R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"nodeName":"n","hostNetwork":true},"status":{"phase":"Running","podIP":"10.0.0.9","conditions":[{"type":"Ready","status":"True"}]}})"},
  };
  for (const auto& [kind, text] : samples) {
    auto manifest = parse_objects(text, "m.json");
    ASSERT_TRUE(manifest) << manifest.error().what;
    ASSERT_EQ(manifest->objects.size(), 1u) << text;
    const ObjectPtr o = must(kind, text);
    ASSERT_TRUE(o);
    EXPECT_TRUE(o->same_content(*manifest->objects[0])) << text;
  }
}

TEST(JsonObjects, ErrorsNameObjectAndPath) {
  const std::string meta = R"({"metadata":{"name":"web","namespace":"shop"},)";
  EXPECT_EQ(error_of(Kind::service, meta + R"("spec":{"ports":[{"port":80},{"port":"x"}]}})"), "https://api/x: Service shop/web: spec.ports[1].port: needs an integer, not a string");
  EXPECT_EQ(error_of(Kind::service, meta + R"("spec":{"ports":[{"port":70000}]}})"), "https://api/x: Service shop/web: spec.ports[0].port: 70000 is out of range (1 to 65535)");
  EXPECT_EQ(error_of(Kind::service, meta + R"("spec":{"clusterIPs":["10.0.0.300"]}})"), "https://api/x: Service shop/web: spec.clusterIPs: \"10.0.0.300\" is neither an IP address nor None");
  EXPECT_EQ(error_of(Kind::service, meta + R"("spec":{"externalIPs":[5]}})"), "https://api/x: Service shop/web: spec.externalIPs[0]: needs an IP address, not an integer");
  EXPECT_EQ(error_of(Kind::service, meta + R"("spec":[]})"), "https://api/x: Service shop/web: spec: needs a map, not a list");
  EXPECT_EQ(error_of(Kind::service, R"({"metadata":{}})"), "https://api/x: Service: metadata.name: is missing");
  EXPECT_EQ(error_of(Kind::service, R"({"kind":"Status"})"), "https://api/x: a Status among the objects of kind Service; left out");
  EXPECT_EQ(error_of(Kind::service, "{\"a\":").substr(0, 24), "https://api/x: not JSON:");
  EXPECT_EQ(error_of(Kind::service, "[]"), "https://api/x: not a JSON object");
  std::string deep = R"({"metadata":)";
  for (int i = 0; i < 5000; ++i) deep += "[";
  EXPECT_EQ(error_of(Kind::service, deep).substr(0, 24), "https://api/x: not JSON:");
}

TEST(JsonObjects, WatchEvents) {
  JsonReader json;
  auto event = [&](std::string line) { return json.event(Kind::service, line, "w"); };
  auto added = event(R"({"type":"ADDED","object":{"kind":"Service","metadata":{"name":"a","namespace":"n","resourceVersion":"12"},"spec":{}}})");
  ASSERT_TRUE(added);
  EXPECT_EQ(added->type, WatchEvent::Type::added);
  EXPECT_EQ(added->resource_version, "12");
  ASSERT_TRUE(added->object);
  EXPECT_EQ(added->object->label(), "Service n/a");
  auto bad = event(R"({"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"13"},"spec":7}})");
  ASSERT_TRUE(bad);
  EXPECT_FALSE(bad->object);
  EXPECT_EQ(bad->trouble, "w: Service n/a: spec: needs a map, not an integer");
  EXPECT_EQ(bad->resource_version, "13");
  auto gone = event(R"({"type":"DELETED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"14"},"spec":7}})");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->id.str(), "n/a");
  auto mark = event(R"({"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"90","creationTimestamp":null}}})");
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->resource_version, "90");
  auto expired = event(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}})");
  ASSERT_TRUE(expired);
  EXPECT_EQ(expired->status.code, 410);
  for (const char* b : {"{}", R"({"type":"X","object":{}})", R"({"type":"ADDED"})", R"({"type":"ADDED","object":{"metadata":{}}})", R"({"type":"ADDED","object":)"}) EXPECT_FALSE(event(b)) << b;
  std::string status = R"({"kind":"Status","code":403,"reason":"Forbidden","message":"no"})", html = "<html>\r\n\x01x</html>";
  EXPECT_EQ(json.status(status).message, "no");
  EXPECT_EQ(json.status(html).message, "<html>   x</html>");
}

// 100,000 endpoints in slices of 100 within one second of processor time, list and objects.
TEST(JsonObjects, HundredThousandEndpointsInASecond) {
  std::string text = R"({"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[)";
  for (int s = 0; s < 1000; ++s) {
    text += fmt::format(R"({}{{"metadata":{{"name":"svc-{}-abcde","generateName":"svc-{}-","namespace":"default","uid":"0f2c3a6e-1b7e-4a53-9f0e-1c2d3e4f5a6b","resourceVersion":"{}","creationTimestamp":"2026-01-01T00:00:00Z",)"
                        R"("labels":{{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"svc-{}"}},)"
                        R"("managedFields":[{{"manager":"kube-controller-manager","operation":"Update","fieldsV1":{{"f:addressType":{{}},"f:endpoints":{{}},"f:ports":{{}}}}}}]}},"addressType":"IPv4","endpoints":[)",
                        s ? "," : "", s, s, s, s);
    for (int e = 0; e < 100; ++e)
      text += fmt::format(R"({}{{"addresses":["10.{}.{}.{}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"node-{}","targetRef":{{"kind":"Pod","namespace":"default","name":"svc-{}-7d9c8b6f5-{}","uid":"6b1f2c3a-1b7e-4a53-9f0e-1c2d3e4f5a6b"}},"zone":"zone-a"}})",
                          e ? "," : "", 1 + s / 250, s % 250, e + 1, e, s, e);
    text += R"(],"ports":[{"name":"http","protocol":"TCP","port":8080}]})";
  }
  text += "]}";
  const clock_t before = clock();
  JsonReader json;
  std::vector<ObjectPtr> all;
  ListReader list({.item_bytes = 8 << 20}, {.on_item = [&](std::string& item) { all.push_back(json.object(Kind::endpoint_slice, item, "p").object); },
                                          .on_skipped = [](const std::string&) { FAIL(); }});
  for (size_t at = 0; at < text.size(); at += 65536) ASSERT_TRUE(list.feed(std::string_view(text).substr(at, 65536)));
  const double seconds = double(clock() - before) / CLOCKS_PER_SEC;
  ASSERT_EQ(all.size(), 1000u);
  EXPECT_EQ(std::get<EndpointSliceObject>(all[999]->body).endpoints.size(), 100u);
  RecordProperty("cpu_ms", int(seconds * 1000));
  fprintf(stderr, "%.1f MB, %.0f ms of processor time\n", double(text.size()) / 1e6, seconds * 1000);
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  EXPECT_LT(seconds, 1.0);
#endif
}

}  // namespace
}  // namespace base::kube
