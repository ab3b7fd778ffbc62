#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "base/net/netns_testing.h"
#include "edgemesh/proxy/l4_proxy.h"
#include "edgemesh/proxy/pump.h"
#include "edgemesh/proxy/udp_hold.h"

namespace edgemesh {
namespace {

using base::ByteVec;
using base::IpAddr;
using base::IpPort;
using base::UniqueFd;
using namespace std::chrono_literals;

struct Pair {
  UniqueFd outside, inside;  // the test's end (blocking), the pump's end
  Pair() {
    int p[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
    outside = UniqueFd(p[0]);
    inside = UniqueFd(p[1]);
    ::fcntl(p[1], F_SETFL, O_NONBLOCK);
  }
};

std::string read_all(int fd) {
  std::string s;
  char b[65536];
  for (ssize_t n; (n = ::read(fd, b, sizeof b)) > 0;) s.append(b, size_t(n));
  return s;
}

TEST(L4Proxy, EveryDialIsToldWithItsOutcome) {
  using namespace base::testing;
  NetNs ns, outside;
  if (!ns.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
  join(ns, "cl", outside, "eth0");
  outside.sh("ip addr add 10.50.0.2/24 dev eth0; ip route add default via 10.50.0.1");
  ns.sh("ip addr add 10.50.0.1/24 dev cl; nft -f - <<'X'\ntable ip t {\n chain pre { type nat hook prerouting priority -100;"
        " ip daddr 10.96.0.1 tcp dport 80 redirect to :15001; }\n}\nX\n");
  Servers servers;
  ASSERT_TRUE(servers.add(ns, "127.0.0.1:8080", "live"));
  const IpPort dead = *IpPort::parse("127.0.0.1:81"), live = *IpPort::parse("127.0.0.1:8080");
  std::vector<std::pair<IpPort, std::optional<lb::Sign>>> results;
  auto choose = [](const IpPort& at) { return L4Proxy::Choice{at.str(), [at](L4Proxy::Resolved done) { done(at); }}; };
  L4Proxy::Hooks hooks;
  hooks.choices = [&](const IpPort&, const IpAddr&) { return std::vector{choose(dead), choose(live)}; };
  hooks.on_result = [&](const IpPort& at, std::optional<lb::Sign> failure) { results.push_back({at, failure}); };
  InNs in(ns);
  auto loop = base::make_libevent_loop();
  base::SocketStore store;
  base::Metrics metrics;
  auto proxy = L4Proxy::start({.listen = {*IpAddr::parse("10.50.0.1")}, .port = 15001}, std::move(hooks), *loop, store, metrics);
  ASSERT_TRUE(proxy) << proxy.error().what;
  std::string answer;
  std::thread client([&] {
    answer = call(outside, "10.96.0.1:80");
    loop->stop();
  });
  loop->run();
  client.join();
  EXPECT_EQ(who(answer), "live");
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0], std::pair(dead, std::optional(lb::Sign::refused)));
  EXPECT_EQ(results[1], std::pair(live, std::optional<lb::Sign>()));
}

TEST(Pump, AHalfCloseIsPassedOnAndTheOtherDirectionGoesOn) {
  auto loop = base::make_libevent_loop();
  Pair client, server;
  Pump::Totals totals;
  Pump pump(*loop, std::move(client.inside), std::move(server.inside), 1h, [&](Pump::Totals t) { totals = t, loop->stop(); });
  std::string asked, answered;
  std::thread server_side([&] {
    asked = read_all(server.outside.get());  // returns only if the client's end was passed on
    ASSERT_GT(::write(server.outside.get(), "answer", 6), 0);
    server.outside.reset();
  });
  std::thread client_side([&] {
    ASSERT_GT(::write(client.outside.get(), "question", 8), 0);
    ::shutdown(client.outside.get(), SHUT_WR);
    answered = read_all(client.outside.get());
  });
  loop->run();
  server_side.join();
  client_side.join();
  EXPECT_EQ(asked, "question");
  EXPECT_EQ(answered, "answer");
  EXPECT_EQ(totals.to_server, 8u);
  EXPECT_EQ(totals.to_client, 6u);
}

TEST(Pump, BulkArrivesWholeWithASlowReader) {
  auto loop = base::make_libevent_loop();
  Pair client, server;
  Pump pump(*loop, std::move(client.inside), std::move(server.inside), 1h, [&](Pump::Totals) { loop->stop(); });
  std::string sent(20 << 20, 0), got;
  for (size_t i = 0; i < sent.size(); i++) sent[i] = char(i * 2654435761u >> 13);
  std::thread writer([&] {
    for (size_t at = 0; at < sent.size();) {
      ssize_t n = ::write(server.outside.get(), sent.data() + at, sent.size() - at);
      ASSERT_GT(n, 0);
      at += size_t(n);
    }
    server.outside.reset();
  });
  std::thread reader([&] {
    char b[4096];
    int slow = 200;
    for (ssize_t n; (n = ::read(client.outside.get(), b, sizeof b)) > 0;) {
      got.append(b, size_t(n));
      if (slow-- > 0) std::this_thread::sleep_for(1ms);
    }
    client.outside.reset();
  });
  loop->run();
  writer.join();
  reader.join();
  EXPECT_TRUE(got == sent);
}

TEST(Pump, AnIdleConnectionEnds) {
  auto loop = base::make_libevent_loop();
  Pair client, server;
  bool idle = false;
  Pump pump(*loop, std::move(client.inside), std::move(server.inside), 30ms, [&](Pump::Totals t) { idle = t.idle, loop->stop(); });
  loop->run();
  EXPECT_TRUE(idle);
}

ByteVec udp4(const char* payload) {
  ByteVec p(28 + strlen(payload));
  p[0] = 0x45;
  base::store_be16(&p[2], uint16_t(p.size()));
  p[8] = 64;
  p[9] = 17;
  uint8_t from[4] = {172, 17, 0, 2}, to[4] = {10, 96, 0, 7};
  memcpy(&p[12], from, 4);
  memcpy(&p[16], to, 4);
  base::store_be16(&p[20], 5000);
  base::store_be16(&p[22], 53);
  base::store_be16(&p[24], uint16_t(8 + strlen(payload)));
  memcpy(&p[28], payload, strlen(payload));
  return p;
}

uint16_t checksum(base::ByteView b) {  // independent of the code under test
  uint64_t sum = 0;
  for (size_t i = 0; i < b.size(); i++) sum += uint64_t(b[i]) << (i % 2 ? 0 : 8);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return uint16_t(sum);
}

TEST(UdpHold, APacketNobodyServesIsAnsweredUnreachableByTheAddressItWasSentTo) {
  ByteVec p = udp4("hello");
  auto x = parse_inner(p);
  ASSERT_TRUE(x);
  EXPECT_EQ(x->to.str(), "10.96.0.7:53");
  ByteVec icmp = make_unreachable(p, *x);
  ASSERT_EQ(icmp.size(), 20 + 8 + p.size());
  EXPECT_EQ(icmp[20], 3);
  EXPECT_EQ(icmp[21], 3);
  EXPECT_EQ(IpAddr::v4(&icmp[12]).str(), "10.96.0.7");
  EXPECT_EQ(IpAddr::v4(&icmp[16]).str(), "172.17.0.2");
  EXPECT_EQ(checksum(base::ByteView(icmp).first(20)), 0xffff);
  EXPECT_EQ(checksum(base::ByteView(icmp).subspan(20)), 0xffff);
}

TEST(UdpHold, DamagedPacketsAreNotParsed) {
  ByteVec p = udp4("hello");
  for (size_t n = 0; n < 28; n++) EXPECT_FALSE(parse_inner(base::ByteView(p).first(n))) << n;
  p[0] = 0x4f;  // header longer than the packet's transport part
  EXPECT_FALSE(parse_inner(p));
}

struct Held {
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::Metrics metrics;
  std::vector<std::string> forgotten;
  size_t answered = 0;
  bool wanted = true, awaited = false;
  UdpHold hold{{[this](const FrontendKey&) { return wanted; },
                [this](const IpPort& c, const IpPort& f) { forgotten.push_back(c.str() + ">" + f.str()); },
                [this](base::ByteView) { answered++; },
                [this](const FrontendKey&) { return awaited; }},
               *loop, metrics};
};

TEST(UdpHold, HoldsAtMostSixtyFourPerFlowAndForgetsTheFlowBeforeSendingAgain) {
  Held h;
  for (int i = 0; i < 100; i++) h.hold.on_stray(udp4("x"));
  EXPECT_EQ(h.hold.held(), 64u);
  h.hold.on_ready({*IpAddr::parse("10.96.0.8"), base::Proto::udp, 53});
  EXPECT_EQ(h.hold.held(), 64u) << "another frontend";
  h.wanted = false;
  h.hold.on_stray(udp4("x"));
  EXPECT_EQ(h.answered, 1u);
}

// After a restart the kernel sends on what flows of before bring, to peers that are not met yet.
TEST(UdpHold, FlowsToPeersThatAreNotMetYetAreNotRefused) {
  Held h;
  h.wanted = false;
  h.awaited = true;
  h.hold.on_stray(udp4("x"));
  EXPECT_EQ(h.answered, 0u);
  EXPECT_EQ(h.hold.held(), 0u);
  h.awaited = false;
  h.hold.on_stray(udp4("x"));
  EXPECT_EQ(h.answered, 1u);
}

TEST(UdpHold, WhatWaitsTooLongIsDropped) {
  Held h;
  h.hold.on_stray(udp4("x"));
  auto timer = h.loop->timer([&] { h.loop->stop(); });
  timer->arm(1100ms);
  h.loop->run();
  EXPECT_EQ(h.hold.held(), 0u);
  EXPECT_TRUE(h.forgotten.empty());
}

}  // namespace
}  // namespace edgemesh
