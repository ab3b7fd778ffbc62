#include "base/kube/api_source.h"

#include <gtest/gtest.h>

#include "base/kube/api_testing.h"
#include "base/kube/table_builder.h"
#include "base/sim/sim_loop.h"

namespace base::kube {
namespace {

struct ApiSourceTest : testing::Test {
  SimLoop loop;
  SeededRng rng{7};
  Metrics metrics;
  KeptObjects kept;
  FakeApi* api = nullptr;
  std::unique_ptr<ObjectSource> source;

  void start(bool meta_server) {
    auto client = std::make_unique<FakeApi>();
    api = client.get();
    source = make_api_source(loop, rng, metrics, std::move(client), meta_server);
    source->start(kept);
    loop.run_for(1ms);
  }
  // Answers every waiting request; what is not among the lists is 404, watches stay open.
  void serve(const std::map<std::string, std::string>& lists) {
    for (int round = 0; round < 8; ++round) {
      while (auto a = api->take("/")) {
        if (a->target.find("watch=true") != a->target.npos) {
          a->head(200);
          open.push_back(a);
          continue;
        }
        const auto it = lists.find(a->target.substr(0, a->target.find('?')));
        it == lists.end() ? a->answer(404, "404 page not found") : a->answer(200, it->second);
      }
      loop.run_for(1ms);
    }
  }
  bool follows(std::string_view path) const {
    for (auto& a : open)
      if (a->live && a->target.starts_with(path)) return true;
    return false;
  }
  std::vector<FakeApi::AskedPtr> open;

  const std::string slice = R"({"metadata":{"name":"a-1","namespace":"n","labels":{"kubernetes.io/service-name":"a"}},"addressType":"IPv4","endpoints":[{"addresses":["10.1.0.1"]}],"ports":[{"port":8080}]})";
  const std::string endpoints = R"({"metadata":{"name":"a","namespace":"n"},"subsets":[{"addresses":[{"ip":"10.1.0.2"}],"ports":[{"port":8080}]}]})";
  std::map<std::string, std::string> core = {{"/api/v1/namespaces", list_json("Namespace", "1", {R"({"metadata":{"name":"n"}})"})},
                                             {"/api/v1/nodes", list_json("Node", "1", {R"({"metadata":{"name":"node-1"}})"})},
                                             {"/api/v1/services", list_json("Service", "1", {service_json("a", "1")})}};
};

TEST_F(ApiSourceTest, SlicesWhereTheServerHasThemElseEndpoints) {
  start(false);
  auto lists = core;
  lists["/api/v1/endpoints"] = list_json("Endpoints", "1", {endpoints});
  serve(lists);
  EXPECT_TRUE(follows("/api/v1/endpoints"));
  EXPECT_EQ(kept.all.count("Endpoints n/a"), 1u);
  EXPECT_EQ(kept.synced_kinds.size(), kKinds) << "absent kinds are known to be empty";
  EXPECT_TRUE(kept.lines.empty());
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {slice});
  loop.run_for(70s);
  serve(lists);
  EXPECT_TRUE(follows("/apis/discovery.k8s.io/v1/endpointslices"));
  EXPECT_FALSE(follows("/api/v1/endpoints"));
  EXPECT_EQ(kept.all.count("Endpoints n/a"), 0u);
  for (auto& [kind, times] : kept.synced_kinds) EXPECT_EQ(times, 1) << to_string(kind);
}

TEST_F(ApiSourceTest, AMetaServerIsAskedForBoth) {
  start(true);
  auto lists = core;
  lists["/api/v1/endpoints"] = list_json("Endpoints", "1", {endpoints});
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {});
  serve(lists);
  EXPECT_TRUE(follows("/api/v1/endpoints"));
  EXPECT_EQ(kept.all.count("Endpoints n/a"), 1u);
  EXPECT_EQ(kept.synced_kinds.size(), kKinds);
}

TEST_F(ApiSourceTest, AnUnreachableServerIsOneTrouble) {
  start(false);
  while (auto a = api->take("/")) a->drop();
  EXPECT_EQ(kept.lines, std::vector<std::string>{"https://api: the connection was closed"});
  EXPECT_EQ(source->problems(), kept.lines);
  std::map<Kind, int> known{{Kind::pod, 1}};  // those that nobody wants
  for (Kind k : kHostKinds) known[k] = 1;
  EXPECT_TRUE(kept.synced_kinds == known);
  loop.run_for(1s);
  serve(core);
  loop.run_for(1s);
  serve(core);
  EXPECT_NE(metrics.render().find("edgemeshd_source_watching{kind=\"Service\"} 1"), std::string::npos) << metrics.render();
}

TEST_F(ApiSourceTest, TheFirstKindThatIsAnsweredWakesTheOthers) {
  start(false);
  for (int second = 0; second < 300; ++second, loop.run_for(1s))
    while (auto a = api->take("/")) a->drop();
  while (api->asked.empty()) loop.run_for(10ms);  // by now each waits 15 to 30 s
  const Instant back = loop.now();
  while (!follows("/api/v1/namespaces") || !follows("/api/v1/nodes") || !follows("/api/v1/services")) {
    serve(core);
    loop.run_for(10ms);
    ASSERT_LT(to_ms(loop.now() - back), 1000) << metrics.render();
  }
}

TEST_F(ApiSourceTest, HostNamesOnlyWhileTheyAreWantedAndAbsentKindsAreNoTrouble) {
  start(false);
  auto lists = core;
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {slice});
  serve(lists);
  EXPECT_FALSE(follows("/apis/networking.istio.io/v1/gateways"));
  EXPECT_EQ(kept.synced_kinds.size(), kKinds);
  source->follow_hosts(true);
  loop.run_for(1ms);
  lists["/apis/networking.istio.io/v1beta1/gateways"] =
      list_json("Gateway", "1",
                {R"({"metadata":{"name":"edge","namespace":"n"},"spec":{"selector":{"istio":"x"},"servers":[{"hosts":["a.example"]}]}})"});
  serve(lists);  // the other four kinds are not there
  EXPECT_TRUE(follows("/apis/networking.istio.io/v1beta1/gateways"));
  EXPECT_EQ(kept.all.count("Gateway n/edge"), 1u);
  EXPECT_TRUE(kept.lines.empty()) << kept.lines.front();
  EXPECT_TRUE(source->problems().empty());
  source->follow_hosts(false);
  loop.run_for(1ms);
  EXPECT_FALSE(follows("/apis/networking.istio.io/v1beta1/gateways"));
  EXPECT_EQ(kept.all.count("Gateway n/edge"), 0u);
}

TEST_F(ApiSourceTest, PodsOfTheNodeOnlyWhileTheyAreWantedAndNothingWaitsForThem) {
  auto client = std::make_unique<FakeApi>();
  api = client.get();
  source = make_api_source(loop, rng, metrics, std::move(client), false, "node-1");
  source->start(kept);
  loop.run_for(1ms);
  auto lists = core;
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {slice});
  serve(lists);
  EXPECT_FALSE(follows("/api/v1/pods"));
  EXPECT_EQ(kept.synced_kinds.size(), kKinds);

  source->follow_pods(true);
  loop.run_for(1ms);
  auto list = api->take("/api/v1/pods");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->target.find("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&limit="), 0u) << list->target;
  list->answer(200, list_json("Pod", "1",
                              {R"({"metadata":{"name":"p","namespace":"n"},"spec":{"nodeName":"node-1"},"status":{"podIP":"10.1.0.9"}})"}));
  loop.run_for(1ms);
  serve(lists);
  EXPECT_TRUE(follows("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&watch=true"));
  EXPECT_EQ(kept.all.count("Pod n/p"), 1u);

  source->follow_pods(false);
  loop.run_for(1ms);
  EXPECT_FALSE(follows("/api/v1/pods"));
  EXPECT_EQ(kept.all.count("Pod n/p"), 0u);
}

TEST_F(ApiSourceTest, TenBadOfTenThousandObjects) {
  start(false);
  std::vector<std::string> items;
  for (int i = 0; i < 10000; ++i) items.push_back(i % 1000 == 500 ? R"({"metadata":{"name":"bad)" + std::to_string(i) + R"("},"spec":{"ports":"x"}})" : service_json("s" + std::to_string(i), "1"));
  auto lists = core;
  lists["/api/v1/services"] = list_json("Service", "1", items);
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {slice});
  serve(lists);
  EXPECT_EQ(kept.lines.size(), 10u);
  EXPECT_EQ(source->problems().size(), 10u);
  EXPECT_EQ(std::count_if(kept.all.begin(), kept.all.end(), [](auto& e) { return e.second.kind() == Kind::service; }), 9990);
}

TEST_F(ApiSourceTest, FillsTheServiceTable) {
  auto builder = make_service_table_builder(loop);
  auto client = std::make_unique<FakeApi>();
  api = client.get();
  source = make_api_source(loop, rng, metrics, std::move(client), false);
  source->start(*builder);
  loop.run_for(1ms);
  auto lists = core;
  lists["/apis/discovery.k8s.io/v1/endpointslices"] = list_json("EndpointSlice", "1", {slice});
  serve(lists);
  ASSERT_TRUE(builder->table()->synced());
  auto s = builder->table()->find({"n", "a"});
  ASSERT_TRUE(s);
  ASSERT_EQ(s->ports[0].endpoints.size(), 1u);
  EXPECT_EQ(s->ports[0].endpoints[0].ip.str(), "10.1.0.1");
  for (auto& a : open)
    if (a->target.starts_with("/apis/discovery.k8s.io/v1/endpointslices")) a->body(event_json("DELETED", slice));
  loop.run_for(1ms);
  EXPECT_TRUE(builder->table()->find({"n", "a"})->ports[0].endpoints.empty());
}

}  // namespace
}  // namespace base::kube
