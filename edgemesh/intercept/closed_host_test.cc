// What a host with other people's filters is taken for, and what happens when they change.
#include "edgemesh/intercept/closed_host.h"

#include "edgemesh/intercept/intercept_world_testing.h"

namespace edgemesh {
namespace {

using Kind = ClosedPath::Kind;
using namespace std::chrono_literals;

struct Closed : World {
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  std::unique_ptr<ClosedHost> host;
  int changes = 0;

  void start(bool open_input = false) {
    InNs in(node);
    ClosedHost::Config c;
    c.tun = "edgemesh0";
    c.service_ips = {ip("169.254.96.16")};
    c.overlay_ips = {ip("100.64.0.1")};
    c.proxy_port = 15001;
    c.open_input = open_input;
    host = std::make_unique<ClosedHost>(c, *loop, [this] { ++changes; });
    host->start();
  }
  void nft(const std::string& text) { ASSERT_EQ(node.sh("nft -f - <<'X'\n" + text + "\nX\n"), 0) << text; }
  void wait(base::Duration d) {
    InNs in(node);
    auto stop = loop->timer([&] { loop->stop(); });
    stop->arm(d);
    loop->run();
  }
  std::string mend_of(Kind k) {
    for (auto& p : host->paths())
      if (p.kind == k) return p.mend;
    return "";
  }
};

TEST_F(Closed, AnOpenHostSaysNothing) {
  start();
  EXPECT_TRUE(host->paths().empty());
  EXPECT_EQ(changes, 0);
}

TEST_F(Closed, AClosedForwardIsFollowedAndTheNamedRuleOpensIt) {
  start();
  nft("table inet site {\n chain fw { type filter hook forward priority filter; policy drop;\n }\n}");
  wait(1200ms);
  EXPECT_TRUE(host->has(Kind::clients));
  EXPECT_TRUE(host->has(Kind::exports));
  EXPECT_FALSE(host->has(Kind::service));
  EXPECT_FALSE(host->has(Kind::arrivals)) << "INPUT is open: the daemon can carry them";
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(mend_of(Kind::clients), "nft insert rule inet site fw ct status dnat accept && nft insert rule inet site fw oifname \"edgemesh0\" accept");
  ASSERT_EQ(node.sh(mend_of(Kind::clients)), 0);
  wait(1200ms);
  EXPECT_TRUE(host->paths().empty());
  EXPECT_EQ(changes, 2);
}

TEST_F(Closed, OurOwnChangesAreNone) {
  start();
  for (int i = 0; i < 3; ++i) {
    apply({{key("10.96.0.1:80"), i % 2 ? std::nullopt : std::optional(balance({2, 3}))}});
    wait(1100ms);
  }
  EXPECT_EQ(changes, 0);
}

TEST_F(Closed, InputIsNamedAndOpenedOnlyWhenAsked) {
  nft("table inet site {\n chain in { type filter hook input priority filter; policy drop;\n iifname \"lo\" accept\n }\n}");
  std::string before = node.out("nft -s list table inet site");
  start();
  EXPECT_TRUE(host->has(Kind::service));
  EXPECT_EQ(mend_of(Kind::service), "nft insert rule inet site in ip daddr 169.254.96.16 accept");
  wait(1200ms);
  EXPECT_EQ(node.out("nft -s list table inet site"), before);

  start(true);
  wait(200ms);
  EXPECT_TRUE(host->paths().empty());
  EXPECT_NE(node.out("nft -s list table inet site"), before);
  nft("flush chain inet site in");
  wait(1500ms);
  EXPECT_TRUE(host->paths().empty()) << "taken out by somebody: put in again";
  { InNs in(node); host->remove(); }
  EXPECT_EQ(node.out("nft -s list table inet site").find("edgemeshd"), std::string::npos);
}

}  // namespace
}  // namespace edgemesh
