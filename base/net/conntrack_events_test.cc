// What the kernel tells of connections that nobody answered: a client, a node that rewrites destinations, and a pod.
#include "base/net/conntrack_events.h"

#include <linux/netfilter/nf_conntrack_tcp.h>

#include <thread>

#include "base/net/netns_testing.h"
#include "base/net/packet_log.h"

namespace base {
namespace {

using namespace base::testing;
using namespace std::chrono_literals;

constexpr uint16_t kGroup = 77;

struct Unanswered : ::testing::Test {
  NetNs node, client, pod;
  std::unique_ptr<Loop> loop;
  std::vector<conntrack::Entry> ended;
  std::vector<conntrack::Tuple> again;
  int lost = 0;
  std::unique_ptr<conntrack::UnansweredEvents> events;
  std::unique_ptr<PacketLog> log;

  void SetUp() override {
    if (!node.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
    join(node, "cl", client, "eth0");
    join(node, "po", pod, "eth0");
    node.sh("ip addr add 10.50.0.1/24 dev cl; ip addr add fd50::1/64 dev cl nodad; ip addr add 172.17.0.1/24 dev po; ip addr add fd17::1/64 dev po nodad");
    client.sh("ip addr add 10.50.0.2/24 dev eth0; ip addr add fd50::2/64 dev eth0 nodad; ip route add default via 10.50.0.1; ip -6 route add default via fd50::1");
    pod.sh("ip addr add 172.17.0.2/24 dev eth0; ip addr add fd17::2/64 dev eth0 nodad; ip route add default via 172.17.0.1; ip -6 route add default via fd17::1");
    ASSERT_EQ(node.sh("nft -f - <<'X'\ntable inet t {\n"
                      " chain early { type filter hook prerouting priority -150;\n"
                      "  ct state new ct status dnat meta l4proto tcp log group 77 snaplen 80\n }\n"
                      " chain nat { type nat hook prerouting priority -100;\n"
                      "  ip daddr 10.96.0.1 tcp dport 80 dnat ip to 172.17.0.2:8080\n  ip6 daddr fd96::1 tcp dport 80 dnat ip6 to [fd17::2]:8080\n }\n}\nX\n"), 0);
    InNs in(node);
    loop = make_libevent_loop();
    auto e = conntrack::UnansweredEvents::start(*loop, {[this](const auto& x) { ended.push_back(x); }, [this] { lost++; }}, 4096);
    ASSERT_TRUE(e) << e.error().what;
    events = std::move(*e);
    auto l = PacketLog::start(*loop, kGroup, 80, {[this](ByteView p) { if (auto t = tcp_tuple(p)) again.push_back(*t); }, [] {}});
    ASSERT_TRUE(l) << l.error().what;
    log = std::move(*l);
  }
  void run_for(Duration d) {
    auto stop = loop->timer([this] { loop->stop(); });
    stop->arm(d);
    loop->run();
  }
  bool comes(const std::function<bool()>& true_now) {  // however slow the machine: false after 10 s
    for (int i = 0; i < 1000 && !true_now(); ++i) run_for(10ms);
    return true_now();
  }
};

TEST_F(Unanswered, AResetInAnswerToASynIsToldWithTheEndpointInBothFamilies) {
  EXPECT_EQ(call(client, "10.96.0.1:80"), "refused");
  EXPECT_EQ(call(client, "[fd96::1]:80"), "refused");
  ASSERT_TRUE(comes([&] { return ended.size() >= 2; }));
  ASSERT_EQ(ended.size(), 2u);
  for (auto& e : ended) EXPECT_EQ(e.tcp_state, TCP_CONNTRACK_CLOSE);
  EXPECT_EQ(ended[0].orig.dst.str(), "10.96.0.1:80");
  EXPECT_EQ(ended[0].reply.src.str(), "172.17.0.2:8080");
  EXPECT_EQ(ended[1].reply.src.str(), "[fd17::2]:8080");
}

TEST_F(Unanswered, AnsweredAndUntouchedConnectionsAreNotToldOf) {
  Servers servers;
  ASSERT_TRUE(servers.add(pod, "172.17.0.2:8080", "p"));
  for (int i = 0; i < 20; i++) EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p");
  EXPECT_EQ(call(client, "172.17.0.2:81"), "refused");  // nobody rewrote this one
  InNs in(node);
  ASSERT_TRUE(conntrack::erase_if(Family::v4, Proto::tcp, [](auto&) { return true; }));
  run_for(50ms);
  EXPECT_TRUE(ended.empty());
}

TEST_F(Unanswered, ASynSentAgainIsToldAndItsEntryFound) {
  pod.sh("ip link set eth0 down");
  UniqueFd fd = open_socket(client, true, {});
  SockAddr to(*IpPort::parse("10.96.0.1:80"));
  ::connect(fd.get(), to.get(), to.len);
  run_for(500ms);
  EXPECT_TRUE(again.empty()) << "the first SYN is nothing special";
  ASSERT_TRUE(comes([&] { return !again.empty(); }));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].dst.str(), "10.96.0.1:80");
  InNs in(node);
  auto e = conntrack::find(Proto::tcp, again[0]);
  ASSERT_TRUE(e) << e.error().what;
  EXPECT_EQ(e->reply.src.str(), "172.17.0.2:8080");
  EXPECT_FALSE(e->is_answered());
  int seen = 0;
  ASSERT_TRUE(conntrack::each_unanswered_dnat(Family::v4, [&](auto& x) { seen += x.reply.src == e->reply.src; }));
  EXPECT_EQ(seen, 1);
  auto none = conntrack::find(Proto::tcp, {again[0].src, *IpPort::parse("10.96.0.1:81")});
  EXPECT_FALSE(none);
  if (!none) EXPECT_EQ(none.error().code, Code::not_found);
}

TEST_F(Unanswered, AFullQueueIsToldOnceAndReadingGoesOn) {
  for (int i = 0; i < 200; i++) call(client, "10.96.0.1:80");
  EXPECT_TRUE(comes([&] { return lost >= 1; }));
  run_for(50ms);
  EXPECT_LT(ended.size(), 200u);
  ended.clear();
  call(client, "10.96.0.1:80");
  EXPECT_TRUE(comes([&] { return !ended.empty(); }));
  EXPECT_EQ(ended.size(), 1u);
}

TEST_F(Unanswered, AGroupHasOneListener) {
  InNs in(node);
  auto second = PacketLog::start(*loop, kGroup, 80, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::exists);
}

TEST(TcpTuple, OnlyWholeTcpHeaders) {
  ByteVec p(40, 0);
  p[0] = 0x45, p[9] = 6, p[12] = 10, p[16] = 11, p[20] = 1, p[21] = 2, p[23] = 80;
  auto t = tcp_tuple(p);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->src.str(), "10.0.0.0:258");
  EXPECT_EQ(t->dst.str(), "11.0.0.0:80");
  for (size_t n = 0; n < 24; n++) EXPECT_FALSE(tcp_tuple({p.data(), n})) << n;
  p[7] = 1;
  EXPECT_FALSE(tcp_tuple(p)) << "a fragment has no ports";
  p[7] = 0, p[9] = 17;
  EXPECT_FALSE(tcp_tuple(p));
  p[9] = 6, p[0] = 0x41;
  EXPECT_FALSE(tcp_tuple(p));
  p[0] = 0x75;
  EXPECT_FALSE(tcp_tuple(p));
}

// ICMP errors about 10.0.0.2:258 -> 11.0.0.2:80.
ByteVec error4(uint8_t type, uint8_t code, uint8_t protocol) {
  ByteVec p(20 + 8 + 20 + 8, 0);
  p[0] = 0x45, p[9] = 1, p[12] = 11, p[15] = 2, p[16] = 10, p[19] = 2, p[20] = type, p[21] = code;
  p[28] = 0x45, p[37] = protocol, p[40] = 10, p[43] = 2, p[44] = 11, p[47] = 2, p[48] = 1, p[49] = 2, p[51] = 80;
  return p;
}

ByteVec error6(uint8_t type, uint8_t code) {
  ByteVec p(40 + 8 + 40 + 8, 0);
  p[0] = 0x60, p[6] = 58, p[8] = p[24] = 0xfd, p[40] = type, p[41] = code;
  p[48] = 0x60, p[54] = 17, p[56] = p[72] = 0xfd, p[71] = 1, p[87] = 2, p[88] = 1, p[89] = 2, p[91] = 80;
  return p;
}

TEST(Undelivered, SaysWhatWasNotTakenAndByWhom) {
  auto port = undelivered(error4(3, 3, 17)), host = undelivered(error4(3, 1, 6)), six = undelivered(error6(1, 4)), route = undelivered(error6(1, 0));
  ASSERT_TRUE(port && host && six && route);
  EXPECT_EQ(port->proto, Proto::udp);
  EXPECT_EQ(port->packet.src.str(), "10.0.0.2:258");
  EXPECT_EQ(port->packet.dst.str(), "11.0.0.2:80");
  EXPECT_TRUE(port->refused);
  EXPECT_EQ(host->proto, Proto::tcp);
  EXPECT_FALSE(host->refused);
  EXPECT_EQ(six->packet.dst.str(), "[fd00::2]:80");
  EXPECT_TRUE(six->refused);
  EXPECT_FALSE(route->refused);
}

TEST(Undelivered, OtherErrorsAndCutPacketsAreNothing) {
  for (auto& p : {error4(3, 4, 17), error4(11, 0, 17), error4(8, 0, 17), error4(3, 3, 132), error6(2, 0), error6(129, 4)}) EXPECT_FALSE(undelivered(p));
  for (const ByteVec& whole : {error4(3, 3, 17), error6(1, 4)})
    for (size_t n = 0; n + 4 < whole.size(); n++) {
      const ByteVec cut(whole.begin(), whole.begin() + long(n));
      EXPECT_FALSE(undelivered(cut)) << n;
    }
}

}  // namespace
}  // namespace base
