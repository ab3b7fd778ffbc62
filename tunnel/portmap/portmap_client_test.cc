#include "tunnel/portmap/portmap_client.h"

#include <gtest/gtest.h>

#include <map>

#include "base/sim/sim_loop.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
using base::ByteVec;
using base::IpAddr;
using base::IpPort;

const IpAddr kRouter = *IpAddr::parse("192.168.1.1"), kOwn = *IpAddr::parse("192.168.1.10"), kOutside = *IpAddr::parse("203.0.113.7");

// A router of our own: speaks PCP or NAT-PMP or neither, forgets when it is told to, and says what it was asked.
struct Router {
  bool pcp = true, pmp = true, silent = false;
  int refuse = 0;  // result code of maps
  uint32_t refuse_for = 0, life_max = 100'000;
  IpAddr outside = kOutside;
  base::Instant boot{};
  std::map<uint16_t, uint16_t> mapped;  // own port -> outside port
  size_t pcp_maps = 0, pmp_maps = 0, looks = 0, all = 0;
  uint16_t next_port = 40000;

  uint32_t epoch(base::Instant now) const { return uint32_t(std::chrono::duration_cast<std::chrono::seconds>(now - boot).count()); }
  void reboot(base::Instant now) {
    mapped.clear();
    boot = now;
  }
  std::optional<ByteVec> answer(base::ByteView b, base::Instant now) {
    all++;
    if (silent || b.size() < 2) return std::nullopt;
    return b[0] == 2 ? answer_pcp(b, now) : b[0] == 0 ? answer_pmp(b, now) : std::nullopt;
  }
  uint16_t map(uint16_t own, uint16_t wished, uint32_t lifetime) {
    if (lifetime == 0) return mapped.erase(own), 0;
    bool taken = wished == 0;
    for (auto [o, out] : mapped) taken |= out == wished && o != own;
    return mapped[own] = taken ? next_port++ : wished;
  }
  std::optional<ByteVec> answer_pcp(base::ByteView b, base::Instant now) {
    ByteVec out;
    base::Writer w(out);
    if (!pcp && !pmp) return std::nullopt;
    if (!pcp) {  // RFC 6886 §3.5
      w.u8(0), w.u8(uint8_t(0x80 | b[1])), w.u16(1), w.u32(epoch(now));
      return out;
    }
    uint32_t lifetime = std::min(base::load_be32(&b[4]), life_max);
    int result = b[1] == 1 ? refuse : 0;
    w.u8(2), w.u8(uint8_t(0x80 | b[1])), w.u8(0), w.u8(uint8_t(result)), w.u32(result ? refuse_for : lifetime), w.u32(epoch(now)),
        w.put(ByteVec(12));
    if (b[1] == 0) return looks++, out;
    EXPECT_EQ(b.size(), 60u);
    EXPECT_EQ(base::to_hex(b.subspan(8, 16)), "00000000000000000000ffffc0a8010a") << "the own address, mapped into IPv6";
    EXPECT_EQ(b[36], 17) << "UDP";
    pcp_maps++;
    uint16_t own = base::load_be16(&b[40]), port = result ? 0 : map(own, base::load_be16(&b[42]), lifetime);
    w.put(b.subspan(24, 16));  // nonce, protocol
    w.u16(own), w.u16(port), w.put(ByteVec(10)), w.u16(0xffff), w.put(outside.bytes());
    return out;
  }
  std::optional<ByteVec> answer_pmp(base::ByteView b, base::Instant now) {
    if (!pmp) return std::nullopt;
    ByteVec out;
    base::Writer w(out);
    int result = b[1] == 1 ? refuse : 0;
    w.u8(0), w.u8(uint8_t(0x80 | b[1])), w.u16(uint16_t(result)), w.u32(epoch(now));
    if (b[1] == 0) return looks++, w.put(outside.bytes()), out;
    EXPECT_EQ(b.size(), 12u);
    pmp_maps++;
    uint16_t own = base::load_be16(&b[4]);
    uint32_t lifetime = std::min(base::load_be32(&b[8]), life_max);
    w.u16(own), w.u16(result ? 0 : map(own, base::load_be16(&b[6]), lifetime)), w.u32(lifetime);
    return out;
  }
};

struct Lab {
  Lab() { client.set_way(PortmapWay{kRouter, kOwn}, loop.now()), arm(); }
  void arm() {
    if (client.next_deadline() != base::Instant::max()) timer->arm(client.next_deadline() - loop.now());
  }
  void run(base::Duration d) {
    arm();
    loop.run_for(d);
  }
  base::SimLoop loop;
  base::SeededRng rng{7};
  base::Metrics metrics;
  Router router;
  bool lost = false;  // the way to the router
  size_t sent = 0, changes = 0;
  std::vector<std::unique_ptr<base::Timer>> flying;
  std::unique_ptr<base::Timer> timer = loop.timer([this] {
    client.tick(loop.now());
    arm();
  });
  PortmapClient client{20006,
                       {[this](const IpPort& to, base::ByteView b) {
                          EXPECT_EQ(to, (IpPort{kRouter, 5351}));
                          sent++;
                          auto answer = lost ? std::nullopt : router.answer(b, loop.now());
                          if (!answer) return;
                          flying.push_back(loop.timer([this, a = *answer] {
                            client.on_datagram({kRouter, 5351}, a, loop.now());
                            arm();
                          }));
                          flying.back()->arm(5ms);
                        },
                        [this] { changes++; }},
                       rng,
                       metrics};
};

TEST(Portmap, PcpMapsThePortAndKeepsItsNumber) {
  Lab lab;
  lab.run(100ms);
  EXPECT_EQ(lab.client.outside(), (IpPort{kOutside, 20006}));
  EXPECT_STREQ(lab.client.protocol(), "PCP");
  EXPECT_EQ(lab.sent, 1u);
  EXPECT_EQ(lab.changes, 1u);
}

TEST(Portmap, AnOldRouterIsAskedByNatPmpAtOnce) {
  Lab lab;
  lab.router.pcp = false;
  lab.run(200ms);
  EXPECT_EQ(lab.client.outside(), (IpPort{kOutside, 20006}));
  EXPECT_STREQ(lab.client.protocol(), "NAT-PMP");
}

TEST(Portmap, APortSomebodyElseHasIsAnotherOne) {
  Lab lab;
  lab.router.mapped[1] = 20006;
  lab.run(100ms);
  EXPECT_EQ(lab.client.outside(), (IpPort{kOutside, 40000}));
}

TEST(Portmap, TheLeaseIsRenewedAtHalfItsLife) {
  for (bool pcp : {true, false}) {
    Lab lab;
    lab.router.pcp = pcp;
    lab.router.life_max = 3600;
    lab.run(1s);
    size_t before = lab.router.pcp_maps + lab.router.pmp_maps;
    lab.run(1700s);
    EXPECT_EQ(lab.router.pcp_maps + lab.router.pmp_maps, before);
    lab.run(200s);
    EXPECT_EQ(lab.router.pcp_maps + lab.router.pmp_maps, before + 1);
    lab.run(24h);
    EXPECT_TRUE(lab.client.outside());
    EXPECT_EQ(lab.changes, 1u);
    EXPECT_NEAR(double(lab.router.pcp_maps + lab.router.pmp_maps), 48, 3);
  }
}

TEST(Portmap, ARouterThatForgotIsAskedAgainWithinAMinute) {
  for (bool pcp : {true, false}) {
    Lab lab;
    lab.router.pcp = pcp;
    lab.run(1000s);
    ASSERT_EQ(lab.router.mapped.size(), 1u);
    lab.router.reboot(lab.loop.now());
    lab.run(65s);
    EXPECT_EQ(lab.router.mapped.count(20006), 1u) << pcp;
    EXPECT_TRUE(lab.client.outside());
  }
}

TEST(Portmap, CheckFindsItAtOnce) {
  Lab lab;
  lab.run(30s);
  lab.router.reboot(lab.loop.now());
  lab.client.check(lab.loop.now());
  lab.run(100ms);
  EXPECT_EQ(lab.router.mapped.count(20006), 1u);
}

TEST(Portmap, AnotherOutsideAddressAfterTheRebootIsTold) {
  Lab lab;
  lab.run(100s);
  lab.router.reboot(lab.loop.now());
  lab.router.outside = *IpAddr::parse("203.0.113.99");
  lab.run(65s);
  EXPECT_EQ(lab.client.outside(), (IpPort{*IpAddr::parse("203.0.113.99"), 20006}));
  EXPECT_EQ(lab.changes, 2u);
}

TEST(Portmap, ASilentRouterIsLeftInPeace) {
  Lab lab;
  lab.router.silent = true;
  lab.run(60s);
  EXPECT_LE(lab.sent, 20u);
  EXPECT_EQ(lab.client.trouble(), "the router answers neither PCP nor NAT-PMP");
  size_t before = lab.sent;
  lab.run(9min);
  EXPECT_EQ(lab.sent, before);
  lab.run(24h);
  EXPECT_LE(lab.sent, before + 20 * 15);
  lab.router.silent = false;  // and once it answers it is found
  lab.run(2h + 10min);
  EXPECT_TRUE(lab.client.outside());
}

TEST(Portmap, ARefusalIsSaidInWordsAndRepeatedRarely) {
  Lab lab;
  lab.router.refuse = 2;
  lab.router.refuse_for = 1800;
  lab.run(60s);
  EXPECT_EQ(lab.client.trouble(), "the router refuses: it does not permit it");
  EXPECT_EQ(lab.router.pcp_maps, 1u);
  lab.run(1700s);
  EXPECT_EQ(lab.router.pcp_maps, 1u);
  lab.router.refuse = 0;
  lab.run(200s);
  EXPECT_TRUE(lab.client.outside());
  EXPECT_EQ(lab.client.trouble(), "");
}

TEST(Portmap, ALeaseThatCannotBeRenewedEndsInTime) {
  Lab lab;
  lab.router.life_max = 600;
  lab.run(1s);
  lab.lost = true;
  lab.run(590s);
  EXPECT_TRUE(lab.client.outside()) << "it stands as long as it was promised";
  EXPECT_GT(lab.sent, 12u);
  EXPECT_LT(lab.sent, 100u);
  lab.run(15s);
  EXPECT_FALSE(lab.client.outside());
  EXPECT_EQ(lab.changes, 2u);
}

TEST(Portmap, AnotherNetworkBeginsAnew) {
  Lab lab;
  lab.run(1s);
  lab.client.set_way(std::nullopt, lab.loop.now());
  EXPECT_FALSE(lab.client.outside());
  size_t before = lab.sent;
  lab.run(1h);
  EXPECT_EQ(lab.sent, before) << "nobody to ask";
  lab.client.set_way(PortmapWay{kRouter, kOwn}, lab.loop.now());
  lab.run(1s);
  EXPECT_TRUE(lab.client.outside());
}

TEST(Portmap, GoodbyeTakesItAway) {
  for (bool pcp : {true, false}) {
    Lab lab;
    lab.router.pcp = pcp;
    lab.run(1s);
    ASSERT_EQ(lab.router.mapped.size(), 1u);
    lab.client.release();
    EXPECT_TRUE(lab.router.mapped.empty());
  }
}

TEST(Portmap, OnlyTheRouterWithOurNonceIsBelieved) {
  Lab lab;
  lab.lost = true;
  lab.run(10ms);
  Router liar;
  auto forged = [&](const PortmapNonce& nonce, uint16_t port) {
    return *liar.answer(make_portmap({PortmapKind::pcp_map, kOwn, nonce, port, {}, 7200}), lab.loop.now());
  };
  lab.client.on_datagram({kRouter, 5351}, forged({1, 2, 3}, 20006), lab.loop.now());
  EXPECT_FALSE(lab.client.outside()) << "another nonce";
  lab.client.on_datagram({*IpAddr::parse("192.168.1.66"), 5351}, forged({}, 20006), lab.loop.now());
  lab.client.on_datagram({kRouter, 5352}, forged({}, 20006), lab.loop.now());
  ByteVec pmp = *liar.answer(make_portmap({PortmapKind::pmp_map, kOwn, {}, 20006, {}, 7200}), lab.loop.now());
  lab.client.on_datagram({kRouter, 5351}, pmp, lab.loop.now());
  EXPECT_FALSE(lab.client.outside()) << "NAT-PMP was not asked";
}

TEST(PortmapMessage, DamagedAnswersAreRefusedWhereverTheyEnd) {
  Router r;
  for (PortmapKind k : {PortmapKind::pcp_map, PortmapKind::pcp_announce, PortmapKind::pmp_address, PortmapKind::pmp_map}) {
    ByteVec whole = *r.answer(make_portmap({k, kOwn, {}, 20006, {}, 7200}), {});
    auto a = read_portmap(whole);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->kind, k);
    for (size_t n = 0; n < whole.size(); n++) EXPECT_FALSE(read_portmap(base::ByteView(whole).first(n))) << int(k) << " " << n;
  }
  EXPECT_FALSE(read_portmap(make_portmap({PortmapKind::pcp_map, kOwn, {}, 20006, {}, 7200}))) << "a request";
}

}  // namespace
}  // namespace tunnel
