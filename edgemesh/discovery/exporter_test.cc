#include "edgemesh/discovery/exporter.h"

#include <gtest/gtest.h>

#include <set>

#include "base/core/limits.h"
#include "base/kube/memory_table_testing.h"

namespace edgemesh {
namespace {

using base::Code;
using base::IpAddr;
using base::IpPort;
using base::Proto;
using namespace base::kube;
using base::kube::testing::MemoryTable;
using tunnel::ExportGrant;
using tunnel::ExportRequest;

IpAddr ip(const std::string& s) { return *IpAddr::parse(s); }

Endpoint at(const std::string& address, const std::string& node, uint16_t port = 8080) {
  Endpoint e;
  e.ip = ip(address);
  e.port = port;
  e.node = node;
  return e;
}

// Node "b" exports; "open" is what its kernel lets through.
struct World {
  base::Metrics metrics;
  std::map<ObjectName, ServicePtr> services;
  std::set<ExportRule> open;
  size_t batches = 0;
  std::vector<std::pair<std::string, ExportRequest>> withdrawn;
  bool kernel_refuses = false;
  Exporter exporter{"b",
                    {[this](const std::vector<ExportRule>& add, const std::vector<ExportRule>& remove) -> base::Result<void> {
                       if (kernel_refuses) return base::fail(Code::io, "no");
                       batches++;
                       for (auto& r : add) EXPECT_TRUE(open.insert(r).second) << "opened twice: " << r.target.str();
                       for (auto& r : remove) EXPECT_EQ(open.erase(r), 1u) << "closed twice: " << r.target.str();
                       return {};
                     },
                     [this](const std::string& peer, const ExportRequest& r) { withdrawn.push_back({peer, r}); }},
                    metrics};
  World() { exporter.set_overlay({ip("100.64.0.2"), ip("fd64::2")}); }

  void put(const char* name, std::vector<Endpoint> endpoints, Proto proto = Proto::tcp) {
    auto s = std::make_shared<Service>();
    s->id = {"shop", name};
    ServicePort p;
    p.proto = proto;
    p.port = 80;
    p.endpoints = std::move(endpoints);
    s->ports = {p};
    services[s->id] = s;
    tell({{s->id}, {}, false, false});
  }
  void drop(const char* name) {
    services.erase({"shop", name});
    tell({{}, {{"shop", name}}, false, false});
  }
  void tell(const ServiceDiff& diff, bool synced = true) {
    auto table = std::make_shared<MemoryTable>();
    table->services = services;
    table->is_synced = synced;
    exporter.set_table(table, diff);
  }
  static ExportRequest request(const char* service, const std::string& endpoint, Proto proto = Proto::tcp) {
    return {std::string("shop/") + service, proto, *IpPort::parse(endpoint)};
  }
  base::Result<ExportGrant> ask(const ExportRequest& r, const std::string& peer = "a") {
    std::vector<IpAddr> overlay{ip(peer == "a" ? "100.64.0.1" : "100.64.0.3"), ip(peer == "a" ? "fd64::1" : "fd64::3")};
    return exporter.on_request(peer, overlay, r);
  }
};

TEST(Exporter, AGrantOpensOnePortForThatPeerAlone) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  auto grant = w.ask(World::request("web", "172.17.0.2:8080"));
  ASSERT_TRUE(grant) << grant.error().what;
  EXPECT_EQ(grant->at.ip, ip("100.64.0.2"));
  ASSERT_EQ(w.open.size(), 1u);
  EXPECT_EQ(w.open.begin()->peer_overlay, ip("100.64.0.1"));
  EXPECT_EQ(w.open.begin()->port, grant->at.port);
  EXPECT_EQ(w.open.begin()->target.str(), "172.17.0.2:8080");
}

TEST(Exporter, AnIpv6EndpointIsGrantedOnTheIpv6OverlayAddress) {
  World w;
  w.put("web", {at("fd00::7", "b")});
  auto grant = w.ask(World::request("web", "[fd00::7]:8080"));
  ASSERT_TRUE(grant) << grant.error().what;
  EXPECT_EQ(grant->at.ip, ip("fd64::2"));
  EXPECT_EQ(w.open.begin()->peer_overlay, ip("fd64::1"));

  auto v4_only = w.exporter.on_request("a", {ip("100.64.0.1")}, World::request("web", "[fd00::7]:8080"));
  ASSERT_FALSE(v4_only) << "that peer has no address the answer could come to";
  EXPECT_EQ(v4_only.error().code, Code::unsupported);
}

TEST(Exporter, TheSameRequestGetsTheSameAnswerAndTheKernelIsNotAskedAgain) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  auto first = w.ask(World::request("web", "172.17.0.2:8080")), again = w.ask(World::request("web", "172.17.0.2:8080"));
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->at, again->at);
  EXPECT_EQ(w.batches, 1u);
  EXPECT_EQ(w.exporter.size(), 1u);
}

TEST(Exporter, WhatTheTableDoesNotSayIsRefusedAndNothingOpens) {
  World w;
  w.put("web", {at("172.17.0.2", "b"), at("172.17.0.9", "c"), at("172.17.0.8", "")});
  struct Case {
    ExportRequest request;
    const char* what;
  };
  for (const Case& c : {Case{World::request("web", "172.17.0.9:8080"), "an endpoint of another node"},
                        Case{World::request("web", "172.17.0.8:8080"), "an endpoint of no node"},
                        Case{World::request("web", "172.17.0.2:22"), "another port"},
                        Case{World::request("web", "172.17.0.2:8080", Proto::udp), "another protocol"},
                        Case{World::request("web", "127.0.0.1:8080"), "an address that is no endpoint"},
                        Case{World::request("db", "172.17.0.2:8080"), "a service that does not exist"},
                        Case{{"web", Proto::tcp, *IpPort::parse("172.17.0.2:8080")}, "a name without namespace"}}) {
    auto r = w.ask(c.request);
    ASSERT_FALSE(r) << c.what;
    EXPECT_EQ(r.error().code, Code::not_found) << c.what;
  }
  EXPECT_TRUE(w.open.empty());
  EXPECT_EQ(w.exporter.size(), 0u);
}

TEST(Exporter, BeforeTheFirstTableEverythingIsRefused) {
  World w;
  EXPECT_FALSE(w.ask(World::request("web", "172.17.0.2:8080")));
}

TEST(Exporter, TwoServicesWithOneEndpointShareTheRuleUntilBothAreReleased) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  w.put("api", {at("172.17.0.2", "b")});
  auto web = w.ask(World::request("web", "172.17.0.2:8080")), api = w.ask(World::request("api", "172.17.0.2:8080"));
  ASSERT_TRUE(web && api);
  EXPECT_EQ(web->at, api->at);
  EXPECT_EQ(w.open.size(), 1u);
  w.exporter.on_released("a", World::request("web", "172.17.0.2:8080"));
  EXPECT_EQ(w.open.size(), 1u) << "the other service still uses it";
  w.exporter.on_released("a", World::request("api", "172.17.0.2:8080"));
  EXPECT_TRUE(w.open.empty());
}

TEST(Exporter, TwoPeersGetOnePortWithARuleEach) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  auto a = w.ask(World::request("web", "172.17.0.2:8080"), "a"), c = w.ask(World::request("web", "172.17.0.2:8080"), "c");
  ASSERT_TRUE(a && c);
  EXPECT_EQ(a->at, c->at);
  EXPECT_EQ(w.open.size(), 2u);
  w.exporter.on_released("a", World::request("web", "172.17.0.2:8080"));
  ASSERT_EQ(w.open.size(), 1u);
  EXPECT_EQ(w.open.begin()->peer_overlay, ip("100.64.0.3")) << "the one that was released is closed, not the other";
}

TEST(Exporter, DistinctTargetsNeverShareAPort) {
  World w;
  std::vector<Endpoint> endpoints;
  for (int i = 1; i <= 200; i++) endpoints.push_back(at("172.17.0." + std::to_string(i), "b"));
  w.put("web", endpoints);
  std::set<uint16_t> ports;
  for (auto& e : endpoints) {
    auto grant = w.ask(World::request("web", e.ip.str() + ":8080"));
    ASSERT_TRUE(grant);
    EXPECT_TRUE(ports.insert(grant->at.port).second);
  }
}

TEST(Exporter, AnEndpointThatGoesIsClosedAndThePeerTold) {
  World w;
  w.put("web", {at("172.17.0.2", "b"), at("172.17.0.3", "b")});
  w.put("api", {at("172.17.0.4", "b")});
  for (auto* e : {"172.17.0.2:8080", "172.17.0.3:8080"}) ASSERT_TRUE(w.ask(World::request("web", e)));
  ASSERT_TRUE(w.ask(World::request("api", "172.17.0.4:8080"), "c"));

  w.put("web", {at("172.17.0.3", "b")});
  ASSERT_EQ(w.withdrawn.size(), 1u);
  EXPECT_EQ(w.withdrawn[0].first, "a");
  EXPECT_EQ(w.withdrawn[0].second.endpoint.str(), "172.17.0.2:8080");
  EXPECT_EQ(w.open.size(), 2u);

  w.put("web", {at("172.17.0.3", "c")});  // the pod's address moved to another node
  EXPECT_EQ(w.withdrawn.size(), 2u);
  w.drop("api");
  ASSERT_EQ(w.withdrawn.size(), 3u);
  EXPECT_EQ(w.withdrawn[2].first, "c");
  EXPECT_TRUE(w.open.empty());
  EXPECT_FALSE(w.ask(World::request("web", "172.17.0.2:8080")));
}

TEST(Exporter, ATableThatIsNotCompleteYetWithdrawsNothing) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  ASSERT_TRUE(w.ask(World::request("web", "172.17.0.2:8080")));
  w.services.clear();
  w.tell({{}, {{"shop", "web"}}, false, false}, /*synced=*/false);
  EXPECT_TRUE(w.withdrawn.empty());
  EXPECT_EQ(w.open.size(), 1u);
}

TEST(Exporter, OnePeerHoldsABoundedNumber) {
  World w;
  std::vector<Endpoint> endpoints;
  for (size_t i = 0; i <= base::limits::kExportsPerPeerMax; i++) endpoints.push_back(at("172.17.0.2", "b", uint16_t(1000 + i)));
  w.put("web", endpoints);
  auto ask = [&](size_t i, const char* peer) { return w.ask(World::request("web", "172.17.0.2:" + std::to_string(1000 + i)), peer); };
  for (size_t i = 0; i < base::limits::kExportsPerPeerMax; i++) ASSERT_TRUE(ask(i, "a")) << i;
  auto over = ask(base::limits::kExportsPerPeerMax, "a");
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, Code::limit);
  EXPECT_TRUE(ask(0, "a")) << "what is granted already is answered still";
  EXPECT_TRUE(ask(base::limits::kExportsPerPeerMax, "c")) << "one peer's greed costs another nothing";
  w.exporter.on_released("a", World::request("web", "172.17.0.2:1000"));
  EXPECT_TRUE(ask(base::limits::kExportsPerPeerMax, "a"));
}

TEST(Exporter, ARuleTheKernelRefusedIsNotGrantedAndMayBeAskedForAgain) {
  World w;
  w.put("web", {at("172.17.0.2", "b")});
  w.kernel_refuses = true;
  auto r = w.ask(World::request("web", "172.17.0.2:8080"));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::io);
  EXPECT_EQ(w.exporter.size(), 0u);
  w.kernel_refuses = false;
  EXPECT_TRUE(w.ask(World::request("web", "172.17.0.2:8080")));
  EXPECT_EQ(w.open.size(), 1u);
}

TEST(Exporter, OnAClosedHostTheDaemonCarriesOldAndNewExports) {
  World w;
  w.put("web", {at("172.17.0.2", "b"), at("172.17.0.3", "b")});
  auto first = w.ask(World::request("web", "172.17.0.2:8080"));
  const IpPort own = *IpPort::parse("169.254.96.16:15001");
  w.exporter.carry_by({own});
  auto second = w.ask(World::request("web", "172.17.0.3:8080"));
  ASSERT_TRUE(first && second);
  ASSERT_EQ(w.open.size(), 2u);
  for (auto& r : w.open) EXPECT_EQ(r.target, own);
  EXPECT_EQ(w.exporter.target_of(ip("100.64.0.1"), Proto::tcp, first->at), *IpPort::parse("172.17.0.2:8080"));
  EXPECT_EQ(w.exporter.target_of(ip("100.64.0.1"), Proto::tcp, second->at), *IpPort::parse("172.17.0.3:8080"));
  EXPECT_FALSE(w.exporter.target_of(ip("100.64.0.3"), Proto::tcp, first->at)) << "granted to another peer";
  EXPECT_FALSE(w.exporter.target_of(ip("100.64.0.1"), Proto::udp, first->at));
  EXPECT_FALSE(w.exporter.target_of(ip("100.64.0.1"), Proto::tcp, {ip("10.96.0.7"), first->at.port})) << "a service that has the same port";

  w.exporter.carry_by({});
  std::set<std::string> targets;
  for (auto& r : w.open) targets.insert(r.target.str());
  EXPECT_EQ(targets, (std::set<std::string>{"172.17.0.2:8080", "172.17.0.3:8080"}));
  w.drop("web");
  EXPECT_TRUE(w.open.empty());
}

TEST(Exporter, PortsOfTheNodeItselfAreClosedUnlessListedForThatPeer) {
  World w;
  w.tell({{}, {}, false, false});
  auto port = [](uint16_t p, Proto proto = Proto::tcp) { return ExportRequest{"@node", proto, {IpAddr(), p}}; };
  auto refused = w.ask(port(22));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::denied);
  EXPECT_NE(refused.error().what.find("mesh.openPorts"), std::string::npos) << refused.error().what;

  w.exporter.set_open_ports({{22, {}}, {80, {"c"}}});
  auto grant = w.ask(port(22));
  ASSERT_TRUE(grant) << grant.error().what;
  EXPECT_EQ(grant->at.ip, ip("100.64.0.2"));
  ASSERT_EQ(w.open.size(), 1u);
  EXPECT_EQ(*w.open.begin(), (ExportRule{ip("100.64.0.1"), Proto::tcp, grant->at.port, {ip("100.64.0.2"), 22}}));
  EXPECT_FALSE(w.ask(port(80)));
  EXPECT_TRUE(w.ask(port(80), "c"));
  EXPECT_FALSE(w.ask(port(22, Proto::udp)));
  EXPECT_FALSE(w.ask(port(2222)));

  w.exporter.on_released("a", port(22));
  w.exporter.on_released("c", port(80));
  EXPECT_TRUE(w.open.empty());
}

TEST(Exporter, NoObjectOpensAPortOfTheNodeAndTheNamesDoNotMeet) {
  World w;
  w.put("web", {at("100.64.0.2", "b", 22)});
  EXPECT_FALSE(w.ask({"@node", Proto::tcp, *IpPort::parse("100.64.0.2:22")}));
}

}  // namespace
}  // namespace edgemesh
