#include <fstream>
#include <set>

#include "dns/server/testing/live_server.h"

namespace dns {
namespace {

using namespace dns::testing;
using namespace std::chrono_literals;
using base::IpPort;

TEST(DnsServer, DigReadsEveryKindOfAnswer) {
  LiveServer s;
  s.start();
  EXPECT_EQ(s.dig("+short web.shop.svc.cluster.local"), "10.96.1.10\n");
  EXPECT_EQ(s.dig("+short -x 10.96.1.10"), "web.shop.svc.cluster.local.\n");
  std::string srv = s.dig("_http._tcp.web.shop.svc.cluster.local SRV");
  EXPECT_TRUE(has(srv, "0 100 80 web.shop.svc.cluster.local.")) << srv;
  EXPECT_TRUE(has(srv, "ADDITIONAL SECTION") && has(srv, "10.96.1.10")) << srv;
  EXPECT_TRUE(has(s.dig("nope.shop.svc.cluster.local"), "status: NXDOMAIN"));
  std::string nodata = s.dig("web.shop.svc.cluster.local AAAA");
  EXPECT_TRUE(has(nodata, "status: NOERROR") && has(nodata, "SOA")) << nodata;
  EXPECT_TRUE(has(s.dig("+edns=1 +noednsnegotiation web.shop.svc.cluster.local"), "status: BADVERS"));
  EXPECT_TRUE(has(s.dig("cluster.local AXFR"), "failed"));
  std::string big = s.dig("+noedns +ignore big.shop.svc.cluster.local");
  EXPECT_TRUE(has(big, " tc")) << big;
  std::string tcp = s.dig("+noedns big.shop.svc.cluster.local");
  EXPECT_TRUE(has(tcp, "ANSWER: 100") && has(tcp, "(TCP)")) << "dig goes on over TCP after TC: " << tcp;
}

TEST(DnsServer, CaseIsEchoedAndSizesAreKept) {
  LiveServer s;
  s.start();
  EXPECT_EQ(s.ask("WeB.sHoP.sVc.ClUsTeR.LoCaL", type::A).name, "WeB.sHoP.sVc.ClUsTeR.LoCaL.");
  Got small = s.ask("big.shop.svc.cluster.local", type::A, false);
  EXPECT_TRUE(small.scan.truncated());
  EXPECT_LE(small.m.size(), 512u);
  Got edns = s.ask("big.shop.svc.cluster.local", type::A, true, 4096);
  EXPECT_LE(edns.m.size(), 1232u);
  EXPECT_GT(edns.addresses.size(), small.addresses.size());
  std::set<std::string> first;
  for (int i = 0; i < 10; i++) first.insert(s.ask("big.shop.svc.cluster.local", type::A).addresses.at(0));
  EXPECT_GT(first.size(), 5u) << "headless addresses must take turns in front";
}

TEST(DnsServer, BadMessagesAreAnsweredOrDropped) {
  LiveServer s;
  s.start();
  auto q = LiveServer::query("web.shop.svc.cluster.local", type::A);
  auto reply = q;
  reply[2] |= 0x80;
  EXPECT_EQ(s.udp(reply, 100).rcode(), -1) << "an answer is never answered";
  EXPECT_EQ(s.udp({1, 2}, 100).rcode(), -1);
  auto two = q;
  two[5] = 2;
  auto fd = *base::udp_socket({kHere, 0});
  base::SockAddr to(s.at);
  ::sendto(fd.get(), two.data(), two.size(), 0, to.ptr(), to.len);
  uint8_t b[600];
  ASSERT_TRUE(readable(fd.get(), 2000));
  ASSERT_EQ(::recv(fd.get(), b, sizeof b, 0), 12);
  EXPECT_EQ(b[3] & 15, int(Rcode::formerr));
  q[q.size() - kOptSize - 1] = 3;  // class CH
  EXPECT_EQ(s.udp(q).rcode(), int(Rcode::refused));
}

TEST(DnsServer, TcpPipelinesSplitsAndCloses) {
  LiveServer s;
  s.start();
  auto fd = *base::tcp_connect_start(s.at);
  pollfd p{fd.get(), POLLOUT, 0};
  ASSERT_EQ(::poll(&p, 1, 2000), 1);
  base::ByteVec all;
  for (uint16_t i = 0; i < 300; i++) {  // answers of 1.6 KB: more than what may wait unsent at once
    auto q = LiveServer::query("big.shop.svc.cluster.local", type::A);
    base::store_be16(q.data(), i);
    base::Writer w(all);
    w.u16(uint16_t(q.size()));
    w.put(q);
  }
  ASSERT_EQ(::send(fd.get(), all.data(), 1, 0), 1);
  std::this_thread::sleep_for(20ms);
  ASSERT_EQ(::send(fd.get(), &all[1], all.size() - 1, 0), ssize_t(all.size() - 1));
  ::shutdown(fd.get(), SHUT_WR);
  base::ByteVec got;
  uint8_t b[65536];
  while (readable(fd.get(), 3000)) {
    ssize_t n = ::recv(fd.get(), b, sizeof b, 0);
    if (n <= 0) break;
    got.insert(got.end(), b, b + n);
  }
  std::set<uint16_t> ids;
  base::Reader r(got);
  while (r.left() >= 2) {
    auto m = r.take(r.u16());
    if (m.size() > 2) ids.insert(base::load_be16(m.data()));
  }
  EXPECT_EQ(ids.size(), 300u) << "every pipelined query is answered before the connection closes";
}

TEST(DnsServer, ForwardsCachesAndKeepsCase) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  Got a = s.ask("Www.Example.Com", type::A);
  EXPECT_EQ(a.addresses, std::vector<std::string>{"192.0.2.53"});
  EXPECT_EQ(a.name, "Www.Example.Com.") << "the client's case, not the one sent upstream";
  EXPECT_TRUE(a.scan.flags & flag::RA);
  EXPECT_FALSE(a.scan.flags & flag::AA);
  EXPECT_EQ(s.ask("www.example.com", type::A).addresses.size(), 1u);
  EXPECT_EQ(up.asked, 1) << "the second answer comes from the cache";
  EXPECT_EQ(s.count("edgemeshd_dns_cache_hits_total"), 1u);
  EXPECT_EQ(s.ask("nx.example", type::A).rcode(), 3);
  EXPECT_EQ(s.ask("nx.example", type::A).rcode(), 3);
  EXPECT_EQ(up.asked, 2) << "a name that is not there is remembered too";
  EXPECT_EQ(s.ask("broken.example", type::A).rcode(), 2);
  Got ext = s.ask("ext.shop.svc.cluster.local", type::AAAA);
  EXPECT_EQ(ext.scan.answers, 2);
  EXPECT_EQ(ext.addresses, std::vector<std::string>{"2001:db8::53"});
  EXPECT_EQ(ext.name, "www.example.com.");
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses, std::vector<std::string>{"10.96.1.10"});
}

TEST(DnsServer, EqualQuestionsShareOneQueryAndAnswerBothFamilies) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  std::vector<std::future<Got>> asks;
  for (int i = 0; i < 8; i++) asks.push_back(std::async(std::launch::async, [&, i] { return s.ask("slow.example", i % 2 ? type::A : type::AAAA); }));
  for (auto& f : asks) EXPECT_EQ(f.get().addresses.size(), 1u);
  EXPECT_EQ(up.asked, 2) << "one query per type";
}

TEST(DnsServer, ServesStaleWhenUpstreamsAreSilentAndSaysWhyNot) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  EXPECT_EQ(s.ask("short.example", type::A).ttl, 1u);
  std::this_thread::sleep_for(1100ms);
  up.silent = true;
  auto before = std::chrono::steady_clock::now();
  Got stale = s.ask("short.example", type::A);
  EXPECT_EQ(stale.addresses.size(), 1u);
  EXPECT_EQ(stale.ttl, 30u);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1s) << "an old answer must not wait for dead servers";
  EXPECT_TRUE(has(s.dig("short.example"), "EDE: 3")) << "RFC 8914: the client is told";
  before = std::chrono::steady_clock::now();
  std::string out = s.dig("never-asked.example");
  EXPECT_TRUE(has(out, "status: SERVFAIL") && has(out, "EDE: 22")) << out;
  EXPECT_LT(std::chrono::steady_clock::now() - before, 4500ms);
  up.silent = false;
  EXPECT_EQ(s.ask("www.example", type::A).addresses.size(), 1u) << "back as soon as upstream is";
}

TEST(DnsServer, AnUpstreamThatLosesTheCaseIsNotBelievedOverUdp) {
  FakeUpstream up;
  up.lose_case = true;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  EXPECT_EQ(s.ask("www.some-long-name.example", type::A).rcode(), 2) << "TCP is closed there, so nothing trustworthy came";
}

TEST(DnsServer, FollowsResolvConfAndRefusesItself) {
  FakeUpstream up;
  EXPECT_EQ(parse_resolv_conf("# x\nnameserver 10.0.0.1\nsearch a\n nameserver\tfd00::1 \nnameserver bad\nnameserver 10.0.0.1\n").size(), 2u);
  LiveServer s;
  s.start();
  EXPECT_EQ(s.ask("www.example.com", type::A).rcode(), 2) << "no upstream: SERVFAIL, not silence";
  DnsConfig c = s.config;
  c.port = s.at.port;
  c.upstream.servers = {s.at, up.address};
  s.on_loop([&] {
    auto r = s.server->reload(c);
    EXPECT_TRUE(r) << r.error().what;
  });
  EXPECT_EQ(s.server->upstream().servers(), std::vector<IpPort>{up.address}) << "own address dropped";
  EXPECT_EQ(s.ask("www.example.com", type::A).addresses.size(), 1u);
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses.size(), 1u) << "the zone survives a reload";
}

TEST(DnsServer, AReloadWithAnAddressLessFreesItsPortAndLeavesTheOtherToASuccessor) {
  LiveServer s;
  s.start();
  const IpPort kept{ip("127.0.0.3"), s.at.port}, gone = s.at;
  DnsConfig c = s.config;
  c.port = s.at.port;
  auto reload = [&](std::vector<base::IpAddr> addresses) {
    c.addresses = std::move(addresses);
    s.on_loop([&] { EXPECT_TRUE(s.server->reload(c)); });
  };
  reload({gone.ip, kept.ip});
  EXPECT_EQ(s.store.held().size(), 4u);
  EXPECT_FALSE(base::udp_socket(gone, {})) << "the test is void: the port was free all the time";
  reload({kept.ip});
  EXPECT_TRUE(base::udp_socket(gone, {}));
  EXPECT_TRUE(base::tcp_listen(gone, {}));
  std::map<std::string, IpPort> held;
  for (auto& [name, fd] : s.store.held()) held[name] = base::local_address(fd).value_or(IpPort{});
  EXPECT_EQ(held, (std::map<std::string, IpPort>{{"dns-tcp-0", kept}, {"dns-udp-0", kept}}));
  s.at = kept;
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses.size(), 1u);
}

TEST(DnsServer, AnUpstreamThatIsOurselvesIsSwitchedOff) {
  LiveServer s;
  s.config.addresses = {*base::IpAddr::parse("0.0.0.0")};  // 127.0.0.2 is ours too, but not listed
  s.start();
  s.at.ip = kHere;
  DnsConfig c = s.config;
  c.port = s.at.port;
  c.upstream.servers = {IpPort{ip("127.0.0.2"), s.at.port}};
  s.on_loop([&] { EXPECT_TRUE(s.server->reload(c)); });
  EXPECT_EQ(s.ask("x.loop.example", type::A).rcode(), 2);
  EXPECT_GE(s.count("edgemeshd_dns_upstream_loops_total"), 1u);
  EXPECT_TRUE(s.server->upstream().servers().empty());
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses.size(), 1u) << "service names go on";
}

TEST(DnsServer, OneClientsInventedNamesLeaveRoomForOthers) {
  FakeUpstream up;
  up.silent = true;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.config.upstream.in_flight_max = 600;
  s.start();
  auto flood = *base::udp_socket({ip("127.0.0.9"), 0});
  base::SockAddr to(s.at);
  for (int i = 0; i < 1000; i++) {
    auto q = LiveServer::query(fmt::format("n{}.flood.example", i).c_str(), type::A);
    ::sendto(flood.get(), q.data(), q.size(), 0, to.ptr(), to.len);
    if (i % 50 == 0) std::this_thread::sleep_for(1ms);
  }
  ASSERT_TRUE(readable(flood.get(), 2000));
  uint8_t b[600];
  ASSERT_GT(::recv(flood.get(), b, sizeof b, 0), 12);
  EXPECT_EQ(b[3] & 15, int(Rcode::refused)) << "beyond its share a client is told at once";
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses.size(), 1u);
  up.silent = false;
  EXPECT_EQ(s.ask("www.example", type::A).addresses.size(), 1u) << "the other client has room upstream";
  EXPECT_GT(s.count("edgemeshd_dns_client_limited_total"), 500u);
}

TEST(DnsServer, TellsWhichServiceWasAskedOnce) {
  std::atomic<int> told{0};
  LiveServer s;
  s.hooks.on_service_query = [&](const base::kube::ObjectName& n) { told += n.str() == "shop/web" ? 1 : 100; };
  s.start();
  for (int i = 0; i < 20; i++) s.ask("web.shop.svc.cluster.local", i % 2 ? type::A : type::AAAA);
  s.ask("nope.shop.svc.cluster.local", type::A);
  EXPECT_EQ(told, 1);
}

base::conf::DnsRecord record(const char* line) { return *base::conf::parse_dns_record(line); }

TEST(DnsServer, HostsZonesAndRewritesStandInFront) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.config.local.hosts = {{ip("192.0.2.7"), {"printer.site.example", "Printer"}}, {ip("2001:db8::7"), {"printer"}}, {ip("192.0.2.8"), {"web.shop.svc.cluster.local"}}};
  s.config.local.zones = {{"corp.example", 300, false,
                           {record("www A 192.0.2.1"), record("www A 192.0.2.2"), record("ftp CNAME www"), record("svc CNAME big.shop.svc.cluster.local."),
                            record("out 90 CNAME www.other.example."), record("a.deep TXT \"one two\" three"), record("*.wild A 192.0.2.9"), record("_sip._tcp SRV 1 2 5060 www"),
                            record("round CNAME square"), record("square CNAME round")}},
                          {"half.example", 60, true, {record("mine A 192.0.2.3")}}};
  s.config.local.rewrites = {{"shop.example", "big.shop.svc.cluster.local", false}, {"old.example", "corp.example", true}, {"away.example", "www.other.example", false},
                             {"ext.example", "ext.shop.svc.cluster.local", false}};
  s.start();
  using List = std::vector<std::string>;
  EXPECT_EQ(s.ask("PRINTER", type::A).addresses, List{"192.0.2.7"});
  EXPECT_EQ(s.ask("printer", type::AAAA).addresses, List{"2001:db8::7"});
  EXPECT_EQ(s.dig("+short -x 192.0.2.7"), "printer.site.example.\nprinter.\n");
  EXPECT_EQ(s.ask("printer.site.example", type::AAAA).rcode(), 0) << "there, with an address of the other family: not NXDOMAIN";
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).addresses, List{"192.0.2.8"}) << "before the cluster's own";
  EXPECT_EQ(s.ask("big.shop.svc.cluster.local", type::A, true, 4096).rcode(), 0);

  EXPECT_EQ(s.ask("www.corp.example", type::A).addresses.size(), 2u);
  EXPECT_EQ(s.ask("www.corp.example", type::A).ttl, 300u);
  EXPECT_TRUE(has(s.dig("ftp.corp.example"), "CNAME\twww.corp.example."));
  EXPECT_TRUE(has(s.dig("+tcp svc.corp.example"), "172.21.0.1\n")) << "on to a name of the cluster";
  Got out = s.ask("out.corp.example", type::A);
  EXPECT_EQ(out.addresses, List{"192.0.2.53"}) << "and to one of the world";
  EXPECT_EQ(out.name, "www.other.example.");
  EXPECT_TRUE(has(s.dig("+short a.deep.corp.example TXT"), "\"one two\" \"three\""));
  EXPECT_EQ(s.ask("x.y.wild.corp.example", type::A).name, "x.y.wild.corp.example.");
  EXPECT_EQ(s.ask("deep.corp.example", type::A).rcode(), 0) << "there is a name below it";
  std::string nx = s.dig("nope.corp.example");
  EXPECT_TRUE(has(nx, "NXDOMAIN") && has(nx, "hostmaster.corp.example.")) << nx;
  EXPECT_TRUE(has(s.dig("corp.example SOA"), "ANSWER: 1"));
  EXPECT_TRUE(has(s.dig("+short _sip._tcp.corp.example SRV"), "1 2 5060 www.corp.example."));
  EXPECT_EQ(s.ask("round.corp.example", type::A).rcode(), 2) << "a circle ends";
  EXPECT_EQ(s.ask("mine.half.example", type::A).addresses, List{"192.0.2.3"});
  EXPECT_EQ(s.ask("theirs.half.example", type::A).addresses, List{"192.0.2.53"}) << "fallthrough";

  Got shop = s.ask("Shop.Example", type::A, true, 4096);
  EXPECT_FALSE(shop.addresses.empty());
  EXPECT_EQ(shop.name, "Shop.Example.") << "the client sees the name it asked for";
  EXPECT_EQ(s.ask("www.old.example", type::A).name, "www.old.example.");
  EXPECT_EQ(s.ask("www.old.example", type::A).addresses.size(), 2u);
  EXPECT_EQ(s.ask("nope.old.example", type::A).rcode(), 3);
  Got away = s.ask("away.example", type::A);
  EXPECT_EQ(away.addresses, List{"192.0.2.53"});
  EXPECT_EQ(away.name, "away.example.");
  EXPECT_EQ(s.ask("ext.example", type::A).addresses, List{"192.0.2.53"});
  EXPECT_GT(s.count("edgemeshd_dns_configured_total"), 15u);

  DnsConfig bad = s.config;
  bad.local.zones[0].records.push_back(record("www CNAME ftp"));
  s.on_loop([&] {
    auto r = s.server->reload(bad);
    ASSERT_FALSE(r);
    EXPECT_TRUE(has(r.error().what, "www.corp.example. has a CNAME beside other records")) << r.error().what;
  });
  EXPECT_EQ(s.ask("www.corp.example", type::A).addresses.size(), 2u);
}

TEST(DnsServer, APortThatIsTakenIsOneLineWithTheAddress) {
  LiveServer a, b;
  a.start();
  b.config.port = a.at.port;
  auto r = DnsServer::start(*b.loop, b.store, b.rng, b.metrics, b.config);
  ASSERT_FALSE(r);
  EXPECT_TRUE(has(r.error().what, a.at.str().c_str())) << r.error().what;
  EXPECT_TRUE(has(r.error().what, "in use")) << r.error().what;
  EXPECT_FALSE(has(r.error().what, "\n"));
}

TEST(DnsServer, CookiesComeBackAndSubnetsGoNowhere) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  for (const char* name : {"web.shop.svc.cluster.local", "www.example", "www.example", "nope.shop.svc.cluster.local"}) {
    std::string out = s.dig(std::string("+cookie=0102030405060708 ") + name);
    EXPECT_TRUE(has(out, "COOKIE: 010203040506070801000000") && has(out, "(good)")) << out;
  }
  std::string first = s.dig("+cookie=0102030405060708 web.shop.svc.cluster.local"), other = s.dig("+cookie=0102030405060709 web.shop.svc.cluster.local");
  auto hash = [](const std::string& o) { return o.substr(o.find("COOKIE: ") + 8 + 32, 16); };
  EXPECT_NE(hash(first), hash(other));
  EXPECT_FALSE(has(s.dig("+nocookie web.shop.svc.cluster.local"), "COOKIE"));
  EXPECT_TRUE(has(s.dig("+nocookie +ednsopt=10:0102 web.shop.svc.cluster.local"), "FORMERR"));
  std::string subnet = s.dig("+subnet=192.0.2.0/24 sub.example");
  EXPECT_TRUE(has(subnet, "192.0.2.53") && !has(subnet, "CLIENT-SUBNET")) << subnet;
  EXPECT_EQ(up.with_subnet, 0);
}

TEST(DnsServer, ErrorsSayWhy) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  EXPECT_TRUE(has(s.dig("CH version.bind TXT"), "EDE: 21"));
  EXPECT_FALSE(has(s.dig("broken.example"), "EDE"));
  EXPECT_TRUE(has(s.dig("broken.example"), "EDE: 13")) << "the failure is kept for a moment";
}

TEST(DnsServer, LooksUpForPeopleAndSaysWhereAnswersCameFrom) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.start();
  auto look = [&](const char* name, const char* type = "") {
    std::promise<base::Result<LookupView>> got;
    s.loop->post([&] { s.server->lookup(name, type, [&](base::Result<LookupView> v) { got.set_value(std::move(v)); }); });
    return got.get_future().get();
  };
  auto web = look("web.shop.svc.cluster.local");
  ASSERT_TRUE(web) << web.error().what;
  EXPECT_EQ(web->from, "cluster");
  EXPECT_EQ(web->message.answer.at(0).data, "10.96.1.10");
  EXPECT_EQ(look("10.96.1.10")->message.answer.at(0).data, "web.shop.svc.cluster.local.");
  EXPECT_EQ(look("www.example")->from, "upstream");
  EXPECT_EQ(look("WWW.example", "a")->from, "cache");
  EXPECT_EQ(look("short.example")->message.answer.at(0).ttl, 1u);
  std::this_thread::sleep_for(1100ms);
  up.silent = true;
  EXPECT_EQ(look("short.example")->from, "old answer");
  EXPECT_FALSE(look("..."));
  EXPECT_FALSE(look("www.example", "NOPE"));
  s.on_loop([&] {
    auto all = s.server->cache_view("", 10), under = s.server->cache_view("www.Example", 10);
    EXPECT_EQ(all.entries, 2u);
    EXPECT_EQ(all.list.size(), 2u);
    ASSERT_EQ(under.list.size(), 1u);
    EXPECT_EQ(under.list[0].name + under.list[0].type, "www.example.A");
    EXPECT_EQ(s.server->cache_view("ww.example", 10).list.size(), 0u);
    EXPECT_EQ(s.server->cache_view("", 1).list.size(), 1u);
    EXPECT_LT(s.server->cache_view("short.example", 10).list.at(0).fresh_s, 0);
    EXPECT_GE(s.server->top(10).queries, 6u);
    EXPECT_EQ(s.server->top(10).clients.at(0).what, "127.0.0.1");
  });
}

TEST(DnsServer, TapsLocalAndForwardedAnswersUntilToldOtherwise) {
  FakeUpstream up;
  LiveServer s;
  s.config.upstream.servers = {up.address};
  s.config.tap.file = "/tmp/dns_server_tap_" + std::to_string(::getpid());
  s.start();
  s.ask("web.shop.svc.cluster.local", type::A);
  s.ask("www.example", type::A);
  s.ask("www.example", type::A);
  s.config.tap.file.clear();
  s.config.port = s.at.port;
  s.on_loop([&] { EXPECT_TRUE(s.server->reload(s.config)); });
  EXPECT_EQ(s.count("edgemeshd_dns_tap_frames_total"), 6u);
  EXPECT_EQ(s.ask("web.shop.svc.cluster.local", type::A).rcode(), 0);
  EXPECT_EQ(s.count("edgemeshd_dns_tap_frames_total"), 6u);
  std::remove(("/tmp/dns_server_tap_" + std::to_string(::getpid())).c_str());
}

}  // namespace
}  // namespace dns
