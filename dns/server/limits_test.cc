// What bounds a live server, what changes with a reload, and what its metrics tell.
#include "dns/server/testing/live_server.h"

namespace dns {
namespace {

using namespace dns::testing;

TEST(DnsServer, AClientBeyondItsRateGetsTruncatedAnswersAndAllOverTcpAndAReloadLetsItGo) {
  LiveServer s;
  s.config.rate = {.per_second = 5, .truncate_every = 2};
  s.start();
  int answered = 0, truncated = 0, nothing = 0;
  for (int i = 0; i < 13; i++) {
    auto g = s.udp(LiveServer::query("web.shop.svc.cluster.local", type::A), 20);
    (g.m.empty() ? nothing : g.scan.truncated() ? truncated : answered)++;
    if (g.m.size() > 4 && g.scan.truncated()) EXPECT_EQ(g.scan.answers, 0);
  }
  EXPECT_GE(answered, 5);
  EXPECT_GE(truncated, 2);
  EXPECT_GE(nothing, 2);
  EXPECT_GT(s.metrics.counter("edgemeshd_dns_rate_limited_total", "", {{"action", "dropped"}}).value(), 0u);
  EXPECT_GT(s.metrics.counter("edgemeshd_dns_rate_limited_total", "", {{"action", "truncated"}}).value(), 0u);
  auto dig = s.dig("+tries=4 +time=1 web.shop.svc.cluster.local A");
  EXPECT_TRUE(has(dig, "10.96.1.10")) << dig << "a real client comes again over TCP";
  s.on_loop([&] {
    auto c = s.config;
    c.port = s.at.port;
    c.rate = {};
    EXPECT_TRUE(s.server->reload(c));
  });
  for (int i = 0; i < 20; i++) EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses.size(), 1u);
}

TEST(DnsServer, MetricsTellZonesCodesServersAndTimes) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.config.local.hosts = {{ip("192.0.2.7"), {"printer.example"}}};
  s.start();
  s.ask("web.shop.svc.cluster.local", type::A);
  s.ask("no.shop.svc.cluster.local", type::A);
  s.ask("printer.example", type::A);
  s.ask("nx.example", type::A);
  s.ask("slow.example", type::A);
  auto answers = [&](const char* rcode, const char* zone) {
    return s.metrics.counter("edgemeshd_dns_answers_total", "", {{"rcode", rcode}, {"zone", zone}}).value();
  };
  EXPECT_EQ(answers("noerror", "cluster"), 1u);
  EXPECT_EQ(answers("nxdomain", "cluster"), 1u);
  EXPECT_EQ(answers("noerror", "config"), 1u);
  EXPECT_EQ(answers("nxdomain", "outside"), 1u);
  EXPECT_EQ(answers("noerror", "outside"), 1u);
  auto& waited = s.metrics.histogram("edgemeshd_dns_wait_seconds", "", {{"zone", "outside"}});
  EXPECT_EQ(waited.count(), 2u);
  EXPECT_GE(waited.sum_seconds(), 0.1);
  auto& took = s.metrics.histogram("edgemeshd_dns_server_seconds", "", {{"server", "1"}});
  EXPECT_GE(took.count(), 2u);
  EXPECT_GE(took.sum_seconds(), 0.1);
  EXPECT_GE(s.metrics.counter("edgemeshd_dns_server_queries_total", "", {{"server", "1"}}).value(), 2u);
}

TEST(DnsServer, AReloadGivesTheCacheItsNewSize) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  for (int i = 0; i < 20; i++) s.ask(fmt::format("n{}.example", i).c_str(), type::A);
  s.on_loop([&] {
    auto c = s.config;
    c.port = s.at.port;
    c.upstream.cache_bytes_max = 2000;
    EXPECT_TRUE(s.server->reload(c));
    EXPECT_LE(s.server->cache_view("", 100).bytes, 2000u);
    EXPECT_GT(s.server->cache_view("", 100).entries, 0u);
    EXPECT_EQ(s.server->cache_view("", 100).bytes_max, 2000u);
  });
  const int before = up.asked;
  s.ask("n19.example", type::A);
  EXPECT_EQ(up.asked, before) << "used last: still there";
  s.ask("n0.example", type::A);
  EXPECT_EQ(up.asked, before + 1);
}

}  // namespace
}  // namespace dns
