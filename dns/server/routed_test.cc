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

TEST(RoutedNames, AreWhereExternalNamesLead) {
  LiveServer s;
  s.config.local.zones = {{"corp.example", 60, false, {{.name = "pay", .type = "CNAME", .data = {"ext.shop.svc.cluster.local."}}}}};
  s.start();
  EXPECT_TRUE(has(s.dig("ext.shop.svc.cluster.local"), "CNAME\twww.example.com.")) << "nobody to ask: the client goes on";
  s.on_loop([&] { s.server->set_routed_names(names({{"www.example.com", {ip("10.96.0.80")}}})); });
  const std::string found = s.dig("ext.shop.svc.cluster.local");
  EXPECT_TRUE(has(found, "NOERROR") && has(found, "CNAME\twww.example.com.") && has(found, "10.96.0.80")) << found;
  EXPECT_EQ(s.ask("ext.shop.svc.cluster.local", type::A).name, "www.example.com.");
  Got none = s.ask("ext.shop.svc.cluster.local", type::AAAA);
  EXPECT_EQ(none.rcode(), int(Rcode::noerror));
  EXPECT_TRUE(none.addresses.empty());
  EXPECT_TRUE(has(s.dig("+tcp ext.shop.svc.cluster.local"), "10.96.0.80"));

  FakeUpstream up;
  s.config.port = s.at.port;
  s.config.upstream.servers = {up.address};
  s.on_loop([&] { ASSERT_TRUE(s.server->reload(s.config)); });
  const std::string far = s.dig("pay.corp.example");
  EXPECT_TRUE(has(far, "CNAME\text.shop.svc.cluster.local.") && has(far, "10.96.0.80")) << far;
  EXPECT_EQ(up.asked, 0) << "the route goes before the world";
  s.on_loop([&] { s.server->set_routed_names({}); });
  EXPECT_EQ(s.ask("ext.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"192.0.2.53"});
}

TEST(RoutedNames, EndASearchPath) {
  LiveServer s;
  s.config.search_paths = true;
  s.config.search_domains = {*Name::from_text("corp.example")};
  const std::string ns = "shop";
  s.hooks.search_namespace = [&](const base::IpAddr&) { return &ns; };
  s.start();
  s.on_loop([&] { s.server->set_routed_names(names({{"pay.example", {ip("10.96.0.80")}}, {"wiki.corp.example", {ip("10.96.0.81")}}})); });
  const std::string bare = s.dig("pay.example.shop.svc.cluster.local");
  EXPECT_TRUE(has(bare, "CNAME\tpay.example.") && has(bare, "10.96.0.80")) << bare;
  const std::string domain = s.dig("wiki.shop.svc.cluster.local");
  EXPECT_TRUE(has(domain, "CNAME\twiki.corp.example.") && has(domain, "10.96.0.81")) << domain;
  EXPECT_EQ(s.ask("pay.example.shop.svc.cluster.local", type::AAAA).rcode(), int(Rcode::noerror)) << "as for A";
  EXPECT_EQ(s.ask("nothing.shop.svc.cluster.local", type::A).rcode(), int(Rcode::nxdomain));
}

TEST(ClusterUpstreams, AnswerForTheClusterUntilItsObjectsAreAllHere) {
  LiveServer s;
  FakeUpstream configured, cluster;
  s.config.upstream.servers = {configured.address};
  s.config.cluster_upstreams = true;
  s.table->is_synced = false;
  s.start();
  EXPECT_EQ(s.ask("late.shop.svc.cluster.local", type::A).rcode(), int(Rcode::servfail)) << "nobody knows yet";
  s.on_loop([&] { s.server->set_cluster_upstreams({cluster.address}); });
  EXPECT_EQ(s.ask("late.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"192.0.2.53"});
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"10.96.1.10"})
      << "what is here is answered here";
  EXPECT_EQ(cluster.asked, 1);
  EXPECT_EQ(configured.asked, 0) << "others know nothing of the cluster";
  s.on_loop([&] {
    EXPECT_EQ(s.server->upstream().view().size(), 3u);
    auto whole = std::make_shared<MemoryTable>(*s.table);
    whole->is_synced = true;
    s.server->set_table(whole, {});
    EXPECT_EQ(s.server->upstream().view().size(), 2u) << "no special servers for the cluster's domain any more";
  });
  EXPECT_EQ(s.ask("late.shop.svc.cluster.local", type::A).rcode(), int(Rcode::nxdomain));
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
