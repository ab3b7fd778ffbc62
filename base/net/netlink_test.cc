#include "base/net/netlink.h"

#include <algorithm>

#include "base/net/conntrack.h"
#include "base/net/netns_testing.h"
#include "base/net/nft.h"

namespace base {
namespace {

using testing::InNs;
using testing::NetNs;

struct Netlink : ::testing::Test {
  NetNs ns;
  void SetUp() override {
    if (!ns.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
    ns.sh("ip link add d0 type veth peer name d1; ip link set d1 up; ip addr add 10.9.0.1/24 dev d0; ip link add br9 type bridge; ip link set d1 master br9");
  }
};

TEST_F(Netlink, LinksAndAddresses) {
  InNs in(ns);
  ASSERT_TRUE(netlink::set_link_up("d0"));
  ASSERT_TRUE(netlink::set_link_mtu("d0", 1280));
  auto l = netlink::link("d0");
  ASSERT_TRUE(l);
  EXPECT_TRUE(l->up);
  EXPECT_EQ(l->mtu, 1280u);
  EXPECT_EQ(l->kind, "veth");
  EXPECT_EQ(netlink::link("d1")->master, netlink::link("br9")->index);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::add_address("d0", *Cidr::parse("100.64.0.1/32")));
  EXPECT_NE(ns.out("ip addr show dev d0").find("100.64.0.1/32"), std::string::npos);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::delete_address("d0", *Cidr::parse("100.64.0.1/32")));
  EXPECT_EQ(ns.out("ip addr show dev d0").find("100.64.0.1"), std::string::npos);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::delete_link("d0"));
  EXPECT_FALSE(netlink::link_exists("d0"));
  EXPECT_EQ(netlink::link("d0").error().code, Code::not_found);
}

TEST_F(Netlink, RoutesAndRulesOfBothFamilies) {
  InNs in(ns);
  ASSERT_TRUE(netlink::set_link_up("d0"));
  ASSERT_TRUE(netlink::set_link_up("br9"));
  for (auto* text : {"100.64.0.2/32", "fd64::2/128"}) {
    auto to = *Cidr::parse(text);
    netlink::Route dev{.to = to, .dev = "d0", .table = 10496}, back{.to = to, .table = 10496, .metric = 4278198272, .unreachable = true};
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::add_routes({dev, back}));
    auto all = netlink::routes(to.ip.family());
    EXPECT_EQ(std::ranges::count_if(*all, [&](auto& r) { return r.to == to && r.table == 10496; }), 2) << text;
    for (uint32_t mtu : {1436u, 1300u}) {  // given anew
      dev.mtu = mtu;
      ASSERT_TRUE(netlink::add_route(dev));
      all = netlink::routes(to.ip.family());
      EXPECT_EQ(std::ranges::count_if(*all, [&](auto& r) { return r.to == to && r.mtu == mtu; }), 1) << text;
    }
    netlink::Rule rule{to, 10496, 5210};
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::add_rule(rule));
    EXPECT_EQ(netlink::rules(to.ip.family())->size(), 1u);
    EXPECT_EQ(netlink::path_to(to.ip)->dev, "d0");
    ASSERT_TRUE(netlink::delete_route(dev));
    EXPECT_FALSE(netlink::path_to(to.ip));  // the backstop
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::delete_rule(rule));
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(netlink::delete_routes({dev, back}));
    all = netlink::routes(to.ip.family());
    EXPECT_EQ(std::ranges::count_if(*all, [&](auto& r) { return r.to == to; }), 0) << text;
  }
  EXPECT_NE(netlink::add_route({.to = *Cidr::parse("10.1.0.0/16"), .dev = "nope"}).error().what.find("nope"), std::string::npos);
}

// More than go into one call, and one among them that is refused: it is named, and no answer is taken for another's.
TEST_F(Netlink, ManyRoutesAtOnce) {
  InNs in(ns);
  ASSERT_TRUE(netlink::set_link_up("d0"));
  std::vector<netlink::Route> all;
  std::vector<IpAddr> asked;
  for (uint32_t i = 0; i < 300; ++i) {
    const IpAddr ip = IpAddr::v4(0x0a600000 + i);
    if (i % 2) all.push_back({.to = Cidr::host(ip), .dev = "d0", .metric = 20000});
    asked.push_back(ip);
  }
  ASSERT_TRUE(netlink::add_routes(all));
  const auto paths = netlink::paths_to(asked);
  ASSERT_EQ(paths.size(), asked.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    ASSERT_EQ(paths[i].has_value(), i % 2 == 1) << asked[i].str();
    if (paths[i]) EXPECT_EQ(paths[i]->dev, "d0");
  }
  all[40].src = *IpAddr::parse("203.0.113.9");  // nobody's here
  all[40].to = *Cidr::parse("10.97.0.1/32");
  const auto refused = netlink::add_routes(all);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("10.97.0.1"), std::string::npos) << refused.error().what;
}

TEST_F(Netlink, ConntrackEntriesAreFoundAndDeleted) {
  ns.sh("nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c ct state new counter'");
  testing::Servers servers;
  ASSERT_TRUE(servers.add(ns, "127.0.0.1:7000", "echo"));
  auto ask = [&](uint16_t from) { return testing::call(ns, "127.0.0.1:7000", {.from = "127.0.0.1", .from_port = from, .udp = true}); };
  auto count = [&] {
    int n = 0;
    InNs in(ns);
    EXPECT_TRUE(conntrack::each(Family::v4, Proto::udp, [&](auto&) { ++n; }));
    return n;
  };
  for (uint16_t p : {5001, 5002, 5003}) EXPECT_EQ(ask(p), "echo 127.0.0.1");
  EXPECT_EQ(count(), 3);
  InNs in(ns);
  EXPECT_EQ(conntrack::erase_udp_flow(*IpPort::parse("127.0.0.1:5002"), *IpPort::parse("127.0.0.1:7000")).value_or(99), 1u);
  EXPECT_EQ(conntrack::erase_udp_to(*IpPort::parse("127.0.0.1:7001")).value_or(99), 0u);
  EXPECT_EQ(conntrack::erase_udp_to(*IpPort::parse("127.0.0.1:7000")).value_or(99), 2u);
  EXPECT_EQ(count(), 0);
}

// All or nothing, and the refused object is named.
TEST_F(Netlink, NftBatchIsAtomic) {
  InNs in(ns);
  nft::Batch make("t");
  make.add_table();
  make.add_set({.name = "s", .key = {nft::Type::ipv4}});
  ASSERT_TRUE(make.send());
  auto one = [](const char* a) { return std::vector<nft::Element>{{.key = nft::Key().addr(*IpAddr::parse(a)).take(), .data = {}, .goto_chain = {}}}; };
  nft::Batch bad("t");
  bad.add_elements("s", one("10.0.0.1"));
  bad.delete_elements("s", one("10.0.0.9"));
  auto r = bad.send();
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find("deleting from set s"), std::string::npos) << r.error().what;
  EXPECT_TRUE(nft::elements("t", "s")->empty());
  nft::Batch good("t");
  good.add_elements("s", one("10.0.0.1"));
  ASSERT_TRUE(good.send());
  EXPECT_EQ(*nft::elements("t", "s"), one("10.0.0.1"));
  EXPECT_EQ(nft::tables()->size(), 1u);
}

// ---- NetlinkMonitor

struct Monitor : Netlink {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  std::unique_ptr<netlink::NetlinkMonitor> monitor;
  int calls = 0;
  void start() {
    InNs in(ns);
    auto m = netlink::NetlinkMonitor::start(*loop, [this] { calls++; });
    ASSERT_TRUE(m) << m.error().what;
    monitor = std::move(*m);
  }
  int calls_within(Duration d) {
    auto later = loop->timer([this] { loop->stop(); });
    later->arm(d);
    loop->run();
    return std::exchange(calls, 0);
  }
  // The kernel goes on for a while by itself: link-local addresses, the routes that come with them.
  bool gets_quiet() {
    for (int i = 0; i < 50; ++i)
      if (calls_within(100ms) == 0) return true;
    return false;
  }
  // Calls by the time there is one.
  int told() {
    for (int i = 0; i < 200; ++i)
      if (int n = calls_within(10ms)) return n;
    return 0;
  }
};

TEST_F(Monitor, EveryKindOfChangeIsToldOfInBothFamilies) {
  ns.sh("ip link set d0 up");
  start();
  ASSERT_TRUE(gets_quiet()) << "told of something while nothing changed";
  for (const char* change : {"ip link set d0 mtu 1300", "ip link add d8 type veth peer name d9", "ip link del d8", "ip addr add 10.9.0.7/24 dev d0", "ip addr del 10.9.0.7/24 dev d0",
                             "ip addr add fd09::7/64 dev d0", "ip route add 10.77.0.0/16 dev d0", "ip route del 10.77.0.0/16 dev d0",
                             "ip route add fd77::/64 dev d0", "ip rule add to 10.77.0.0/16 lookup 77", "ip -6 rule add to fd77::/64 lookup 77",
                             "ip -6 rule del to fd77::/64 lookup 77"}) {
    ASSERT_EQ(ns.sh(change), 0) << change;
    EXPECT_GE(told(), 1) << change;
    gets_quiet();
  }
}

TEST_F(Monitor, ManyChangesAtOnceAreOneCall) {
  start();
  ASSERT_TRUE(gets_quiet());
  ns.sh("ip link set d0 up; for i in $(seq 1 200); do echo route add 10.77.$i.0/24 dev d0; done | ip -batch -");
  EXPECT_EQ(told(), 1);
}

TEST_F(Monitor, AnOverflowIsAChangeLikeAnyOther) {
  start();
  ASSERT_TRUE(gets_quiet());
  ns.sh("ip link set d0 up; for i in $(seq 1 9000); do echo route add 10.$((77 + i / 250)).$((i % 250)).0/24 dev d0; done | ip -batch -");
  EXPECT_GE(told(), 1);
  ASSERT_TRUE(gets_quiet());
  ns.sh("ip link set d0 mtu 1300");
  EXPECT_GE(told(), 1) << "deaf after an overflow";
}

TEST_F(Monitor, MayBeDroppedInItsOwnCall) {
  InNs in(ns);
  auto m = netlink::NetlinkMonitor::start(*loop, [this] {
    calls++;
    monitor.reset();
  });
  ASSERT_TRUE(m);
  monitor = std::move(*m);
  ns.sh("ip link set d0 up");
  EXPECT_EQ(told(), 1);
  ns.sh("ip link set d0 down");
  EXPECT_EQ(calls_within(100ms), 0);
}

}  // namespace
}  // namespace base
