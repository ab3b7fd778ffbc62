// A second process takes over what the first one left in the kernel, as after kill -9: what clients notice in between.
#include <gtest/gtest.h>

#include "base/net/nft.h"
#include "edgemesh/intercept/intercept_world_testing.h"

namespace edgemesh {
namespace {

struct Restart : World {
  void die_and_restart(InterceptConfig c = config()) {
    mesh.reset();  // the kernel state stays
    install(std::move(c));
  }
  std::string granted() { return node.out("nft list set inet edgemesh granted4"); }
  std::string routes() { return node.out("ip route show table all proto 0x60 2>&1; ip rule"); }
};

TEST_F(Restart, ServesOnUntilTheFirstTableAndThenThatOneOnly) {
  apply({{key("10.96.0.1:80"), balance({2})}, {key("10.96.0.2:80"), balance({3})}});
  die_and_restart();
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p2") << "nothing is known yet: the old table must serve";
  {
    InNs in(node);
    ASSERT_TRUE(mesh->refresh_links());
  }
  EXPECT_EQ(who(call(client, "10.96.0.2:80")), "p3");
  apply({{key("10.96.0.1:80"), balance({4})}});
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p4");
  EXPECT_NE(routes().find("10.96.0.1 "), std::string::npos);
  EXPECT_EQ(routes().find("10.96.0.2 "), std::string::npos) << "the route of a service that is gone stayed";
  EXPECT_EQ(node.out("nft list table inet edgemesh").find("10.96.0.2"), std::string::npos);
}

TEST_F(Restart, TheOldTableIsReplacedAtOnceAlsoByPieces) {
  apply({{key("10.96.0.1:80"), balance({2})}, {key("10.96.0.2:80"), balance({3})}});
  die_and_restart();
  apply_first({{{key("10.96.0.1:80"), balance({4})}}, {{key("10.96.0.3:80"), balance({5})}}});
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p4");
  EXPECT_EQ(who(call(client, "10.96.0.3:80")), "p5");
  EXPECT_EQ(node.out("nft list table inet edgemesh").find("10.96.0.2"), std::string::npos);
}

TEST_F(Restart, AnEmptyFirstTableTakesAllAway) {
  apply({{key("10.96.0.1:80"), balance({2})}});
  die_and_restart();
  apply({});
  EXPECT_EQ(node.out("nft list table inet edgemesh").find("10.96.0.1"), std::string::npos);
}

TEST_F(Restart, AFirstTableTheKernelRefusesLeavesTheOldOne) {
  apply({{key("10.96.0.1:80"), balance({2})}});
  die_and_restart();
  {
    InNs in(node);
    EXPECT_FALSE(mesh->apply({{key("10.96.0.1:80"), balance({3}, true)}}));
  }
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p2");
  apply({{key("10.96.0.1:80"), balance({3})}});
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p3");
}

TEST_F(Restart, PeersAndTheirGrantsStayUntilTheyHadTimeToComeBack) {
  const Cidr back = *Cidr::parse("100.64.0.2/32"), gone = *Cidr::parse("100.64.0.3/32"), pods = *Cidr::parse("10.3.0.0/16");
  const GrantedExport again{ip("100.64.0.2"), Proto::tcp, 40001}, old{ip("100.64.0.3"), Proto::tcp, 40002};
  {
    InNs in(node);
    ASSERT_TRUE(mesh->add_peer_routes({back, gone, pods}));
    ASSERT_TRUE(mesh->apply_granted({again, old}, {}));
  }
  die_and_restart();
  apply({});
  EXPECT_NE(routes().find("100.64.0.2 dev edgemesh0"), std::string::npos) << routes();
  EXPECT_NE(routes().find("100.64.0.3 dev edgemesh0"), std::string::npos);
  EXPECT_NE(routes().find("10.3.0.0/16 lookup"), std::string::npos);
  EXPECT_NE(granted().find("40001"), std::string::npos) << granted();
  EXPECT_NE(granted().find("40002"), std::string::npos);
  InNs in(node);
  ASSERT_TRUE(mesh->add_peer_routes({back}));
  ASSERT_TRUE(mesh->apply_granted({again}, {}));
  ASSERT_TRUE(mesh->forget_predecessor());
  EXPECT_NE(routes().find("100.64.0.2 dev edgemesh0"), std::string::npos);
  EXPECT_EQ(routes().find("100.64.0.3"), std::string::npos);
  EXPECT_EQ(routes().find("10.3.0.0/16"), std::string::npos);
  EXPECT_NE(granted().find("40001"), std::string::npos);
  EXPECT_EQ(granted().find("40002"), std::string::npos);
  ASSERT_TRUE(mesh->apply_granted({}, {again}));
  EXPECT_EQ(granted().find("40001"), std::string::npos);
}

TEST_F(Restart, WhatIsToldBeforeTheFirstTableIsInItsTransaction) {
  apply({{key("10.96.0.1:80"), balance({2})}});
  die_and_restart();
  const GrantedExport g{ip("100.64.0.2"), Proto::tcp, 40007};
  InNs in(node);
  ASSERT_TRUE(mesh->apply_granted({g}, {}));
  ASSERT_TRUE(mesh->apply_exports({{ip("100.64.0.2"), Proto::tcp, 40008, *IpPort::parse("172.17.0.2:8080")}}, {}));
  ASSERT_TRUE(mesh->apply({}));
  const std::string table = node.out("nft list table inet edgemesh");
  EXPECT_NE(table.find("40007"), std::string::npos);
  EXPECT_NE(table.find("40008"), std::string::npos);
  ASSERT_TRUE(mesh->apply_exports({}, {{ip("100.64.0.2"), Proto::tcp, 40008, *IpPort::parse("172.17.0.2:8080")}}));
}

TEST_F(Restart, ClientsOfAnAffinityServiceStayWithTheirEndpoint) {
  Frontend f = balance({2, 3, 4});
  f.policy = Frontend::Policy::random;
  f.affinity = std::chrono::seconds(3600);
  apply({{key("10.96.0.1:80"), f}});
  const std::string home = who(call(client, "10.96.0.1:80"));
  const std::string learned = node.out("nft list map inet edgemesh affinity4");
  ASSERT_NE(learned.find("10.96.0.1"), std::string::npos) << learned;
  for (int i = 0; i < 8; i++) {
    die_and_restart();
    apply({{key("10.96.0.1:80"), f}});
    const std::string kept = node.out("nft list map inet edgemesh affinity4");
    EXPECT_NE(kept.find("timeout 1h expires "), std::string::npos) << kept;
    EXPECT_EQ(who(call(client, "10.96.0.1:80")), home) << "after restart " << i;
  }
}

// An entry learned while the timeout was short carries that one for ever, and more time left once it was raised.
TEST_F(Restart, AffinityLearnedUnderAShorterTimeoutIsTakenOver) {
  Frontend f = balance({2, 3, 4});
  f.affinity = std::chrono::seconds(8);
  apply({{key("10.96.0.1:80"), f}});
  const std::string home = who(call(client, "10.96.0.1:80"));
  f.affinity = std::chrono::seconds(600);
  apply({{key("10.96.0.1:80"), f}});
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), home);
  die_and_restart();
  apply({{key("10.96.0.1:80"), f}});
  for (int i = 0; i < 6; i++) EXPECT_EQ(who(call(client, "10.96.0.1:80")), home);
}

TEST_F(Restart, AnotherIdentityTakesTheOldAddressesAway) {
  apply({{key("10.96.0.1:80"), balance({2})}});
  InterceptConfig c = config();
  c.overlay_ips = {ip("100.64.0.9")};
  die_and_restart(c);
  apply({});
  const std::string addresses = node.out("ip -o addr show dev edgemesh0");
  EXPECT_NE(addresses.find("100.64.0.9/"), std::string::npos);
  EXPECT_EQ(addresses.find("100.64.0.1/"), std::string::npos);
  EXPECT_EQ(addresses.find("fd64::1/"), std::string::npos);
  EXPECT_NE(addresses.find("169.254.96.16/"), std::string::npos);
}

}  // namespace
}  // namespace edgemesh
