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
  s.on_loop([&] { EXPECT_EQ(s.server->top(1).queries, 13u) << "who floods is seen at the top"; });
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

TEST(DnsServer, AClientWithManyConnectionsLosesItsOwn) {
  LiveServer s;
  s.config.tcp.connections = 8;
  s.start();
  auto connect = [&](const char* from) {
    auto fd = *base::tcp_connect_start(s.at, {.source = IpPort{ip(from), 0}});
    pollfd p{fd.get(), POLLOUT, 0};
    EXPECT_EQ(::poll(&p, 1, 5000), 1);
    return fd;
  };
  auto ask = [&](int fd) {
    base::ByteVec m;
    base::Writer w(m);
    auto q = LiveServer::query("web.shop.svc.cluster.local", type::A);
    w.u16(uint16_t(q.size()));
    w.put(q);
    uint8_t b[600];
    return ::send(fd, m.data(), m.size(), MSG_NOSIGNAL) == ssize_t(m.size()) && readable(fd, 5000) && ::recv(fd, b, sizeof b, 0) > 14;
  };
  auto quiet = connect("127.0.0.2");
  ASSERT_TRUE(ask(quiet.get()));
  std::vector<base::UniqueFd> many;
  for (int i = 0; i < 40; i++) {
    many.push_back(connect("127.0.0.9"));
    ASSERT_TRUE(ask(many.back().get()));
  }
  EXPECT_TRUE(ask(quiet.get())) << "idle longest of all, and not the one to go";
  EXPECT_FALSE(ask(many.front().get()));
  EXPECT_TRUE(ask(many.back().get()));
  EXPECT_LE(s.metrics.gauge("edgemeshd_dns_tcp_connections", "").value(), 8);
}

TEST(DnsServer, OverTcpAClientIsToldHowLongItMayBeIdleWhenItAsks) {
  LiveServer s;
  s.start();
  auto tcp = s.dig("+tcp +keepalive +nocookie web.shop.svc.cluster.local"),
       udp = s.dig("+notcp +keepalive +nocookie web.shop.svc.cluster.local");
  EXPECT_TRUE(has(tcp, "KEEPALIVE: 30.0 secs") && has(tcp, "10.96.1.10")) << tcp;
  EXPECT_TRUE(!has(udp, "KEEPALIVE") && has(udp, "10.96.1.10")) << udp;
  EXPECT_FALSE(has(s.dig("+tcp web.shop.svc.cluster.local"), "KEEPALIVE"));
  EXPECT_TRUE(has(s.dig("+tcp +keepalive nope.shop.svc.cluster.local"), "COOKIE")) << "beside the cookie";
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

TEST(DnsServer, AReloadLosesNoQueryThatWaitsAndNoConnection) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  auto send = [&](int fd, const base::ByteVec& q, bool tcp) {
    base::ByteVec m;
    base::Writer w(m);
    if (tcp) w.u16(uint16_t(q.size()));
    w.put(q);
    EXPECT_EQ(::send(fd, m.data(), m.size(), MSG_NOSIGNAL), ssize_t(m.size()));
  };
  auto receive = [&](int fd, bool tcp) {
    uint8_t b[1500];
    if (!readable(fd, 5000)) return Got{};
    const ssize_t n = ::recv(fd, b, sizeof b, 0);
    return n < 14 ? Got{} : read_reply({b + (tcp ? 2 : 0), b + n});
  };
  auto udp = *base::udp_socket({kHere, 0});
  base::SockAddr to(s.at);
  ASSERT_EQ(::connect(udp.get(), to.ptr(), to.len), 0);
  auto tcp = *base::tcp_connect_start(s.at);
  pollfd writable{tcp.get(), POLLOUT, 0};
  ASSERT_EQ(::poll(&writable, 1, 5000), 1);

  send(udp.get(), LiveServer::query("slow.a.example", type::A), false);  // the upstream takes 0.1 s
  send(tcp.get(), LiveServer::query("slow.b.example", type::A), true);
  for (int i = 0; i < 500 && up.asked < 1; i++) std::this_thread::sleep_for(10ms);
  ASSERT_GE(up.asked, 1);
  s.on_loop([&] {
    auto c = s.config;
    c.port = s.at.port;
    c.local.hosts = {{ip("192.0.2.7"), {"printer.example"}}};
    EXPECT_TRUE(s.server->reload(c));
  });
  EXPECT_EQ(receive(udp.get(), false).addresses, std::vector<std::string>{"192.0.2.53"});
  EXPECT_EQ(receive(tcp.get(), true).addresses, std::vector<std::string>{"192.0.2.53"});
  send(tcp.get(), LiveServer::query("printer.example", type::A), true);
  EXPECT_EQ(receive(tcp.get(), true).addresses, std::vector<std::string>{"192.0.2.7"})
      << "the connection goes on, with the new configuration";
  send(udp.get(), LiveServer::query("printer.example", type::A), false);
  EXPECT_EQ(receive(udp.get(), false).addresses, std::vector<std::string>{"192.0.2.7"});
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
