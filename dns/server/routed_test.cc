// Names beyond the cluster's domain: those objects give to gateways, the cluster's own DNS as upstream, and the rest of a pod's search
// path.
#include "dns/server/testing/live_server.h"

namespace dns {
namespace {

using namespace dns::testing;

std::vector<base::kube::HostName> names(std::vector<base::kube::HostName> n) { return n; }

TEST(RoutedNames, AreAnsweredBehindTheClustersOwnAndGoWithTheirObjects) {
  LiveServer s;
  FakeUpstream up;
  s.config.upstream.servers = {up.address};
  s.start();
  s.on_loop([&] {
    s.server->set_routed_names(names({{"*.shop.example", {ip("10.96.0.80")}},
                                      {"pay.example", {ip("10.96.0.80"), ip("fd00::80")}},
                                      {"web.shop.svc.cluster.local", {ip("192.0.2.66")}},
                                      {"no..name", {ip("192.0.2.66")}}}));
  });
  EXPECT_EQ(s.ask("Pay.example", type::A).addresses, std::vector<std::string>{"10.96.0.80"});
  EXPECT_EQ(s.ask("pay.example", type::AAAA).addresses, std::vector<std::string>{"fd00::80"});
  EXPECT_EQ(s.ask("any.thing.shop.example", type::A).addresses, std::vector<std::string>{"10.96.0.80"});
  Got none = s.ask("any.shop.example", type::AAAA);
  EXPECT_EQ(none.rcode(), int(Rcode::noerror)) << "it is there, with another family";
  EXPECT_TRUE(none.addresses.empty());
  EXPECT_EQ(up.asked, 0);
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"10.96.1.10"})
      << "nobody takes over a service's name";
  EXPECT_EQ(s.ask("shop.example", type::A).addresses, std::vector<std::string>{"192.0.2.53"}) << "not under the wildcard: upstream";
  EXPECT_TRUE(has(s.dig("-x 10.96.0.80"), "2001:db8::53") || !has(s.dig("-x 10.96.0.80"), "pay.example"))
      << "the address does not lead back";
  s.on_loop([&] { s.server->set_routed_names({}); });
  EXPECT_EQ(s.ask("pay.example", type::A).addresses, std::vector<std::string>{"192.0.2.53"});
}

TEST(RoutedNames, OutliveAReloadAndAreReachedByRewrites) {
  LiveServer s;
  s.config.local.rewrites = {{"old.example", "pay.example", false}};
  s.start();
  s.config.port = s.at.port;
  s.on_loop([&] {
    s.server->set_routed_names(names({{"pay.example", {ip("10.96.0.80")}}}));
    ASSERT_TRUE(s.server->reload(s.config));
  });
  EXPECT_EQ(s.ask("pay.example", type::A).addresses, std::vector<std::string>{"10.96.0.80"});
  EXPECT_EQ(s.ask("old.example", type::A).addresses, std::vector<std::string>{"10.96.0.80"});
}

TEST(ClusterUpstreams, AreAskedWhileTheyAreThereAndNeverOurselves) {
  LiveServer s;
  FakeUpstream first, second;
  s.config.cluster_upstreams = true;
  s.start();
  EXPECT_EQ(s.ask("www.example.com", type::A).rcode(), int(Rcode::servfail));
  s.on_loop([&] { s.server->set_cluster_upstreams({s.at, first.address}); });
  EXPECT_EQ(s.ask("www.example.com", type::A).addresses, std::vector<std::string>{"192.0.2.53"});
  s.on_loop([&] {
    EXPECT_EQ(s.server->upstream().servers(), std::vector<IpPort>{first.address}) << "the server itself is left out";
    s.server->set_cluster_upstreams({second.address});
  });
  const int before = first.asked;
  EXPECT_EQ(s.ask("other.example.com", type::A).addresses, std::vector<std::string>{"192.0.2.53"});
  EXPECT_EQ(first.asked, before) << "it moved";
  EXPECT_GE(second.asked, 1);
  s.on_loop([&] { s.server->set_cluster_upstreams({}); });
  EXPECT_EQ(s.ask("third.example.com", type::A).rcode(), int(Rcode::servfail));
}

TEST(ClusterUpstreams, ComeBesideTheConfiguredOnesAndOnlyWhenWanted) {
  LiveServer s;
  FakeUpstream configured, cluster;
  s.config.upstream.servers = {configured.address};
  s.start();
  s.config.port = s.at.port;
  s.on_loop([&] {
    s.server->set_cluster_upstreams({cluster.address});
    EXPECT_EQ(s.server->upstream().servers(), std::vector<IpPort>{configured.address});
    s.config.cluster_upstreams = true;
    ASSERT_TRUE(s.server->reload(s.config));
    EXPECT_EQ(s.server->upstream().servers(), (std::vector<IpPort>{configured.address, cluster.address}));
  });
}

TEST(SearchPath, FurtherDomainsAreTriedInOrderAndADenialLeadsOn) {
  LiveServer s;
  FakeUpstream up;  // denies what begins with "nx", answers everything else
  s.config.upstream.servers = {up.address};
  s.config.search_paths = true;
  s.config.search_domains = {*Name::from_text("corp.example"), *Name::from_text("site.example")};
  const std::string ns = "shop";
  s.hooks.search_namespace = [&](const base::IpAddr&) { return &ns; };
  s.start();
  const std::string found = s.dig("printer.shop.svc.cluster.local");
  EXPECT_TRUE(has(found, "CNAME\tprinter.corp.example.") && has(found, "192.0.2.53")) << found;
  EXPECT_EQ(up.asked, 1);
  const std::string none = s.dig("nx.example.shop.svc.cluster.local");
  EXPECT_TRUE(has(none, "NXDOMAIN")) << none;
  EXPECT_EQ(up.asked, 4) << "both domains, and the name itself";
  EXPECT_EQ(s.ask("web.shop.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"10.96.1.10"}) << "the cluster's first";
  EXPECT_EQ(up.asked, 4);
}

}  // namespace
}  // namespace dns
