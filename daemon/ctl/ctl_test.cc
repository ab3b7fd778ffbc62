#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "base/conf/daemon_config.h"
#include "daemon/admin/admin_testing.h"
#include "daemon/ctl/commands.h"
#include "daemon/ctl/netcheck.h"
#include "daemon/ctl/text_table.h"

namespace edgemeshd {
namespace {

using Words = std::vector<std::string>;

TEST(TextTable, ColumnsAreAsWideAsTheirWidestCellAndLinesEndWithoutBlanks) {
  EXPECT_EQ(text_table({"NAME", "X", "LAST"}, {{"a", "12345", ""}, {"longer-name", "", "z"}}),
            "NAME         X      LAST\n"
            "a            12345\n"
            "longer-name         z\n");
  EXPECT_EQ(text_table({"NAME", "X"}, {}), "NAME  X\n");
}

// ---- usage

TEST(Ctl, WrongUsageIsStatus2AndOneLineThatSaysWhat) {
  struct Case {
    Words args;
    const char* says;
  };
  for (const Case& c : {Case{{"frobnicate"}, "unknown command frobnicate"},
                        Case{{"status", "--colour"}, "unknown option --colour"},
                        Case{{"status", "-x"}, "unknown option -x"},
                        Case{{"status", "--socket"}, "--socket needs a value"},
                        Case{{"status", "-o", "yaml"}, "-o: only json"},
                        Case{{"status", "-o"}, "-o needs a value"},
                        Case{{"explain"}, "explain NAMESPACE/NAME"},
                        Case{{"explain", "web"}, "explain NAMESPACE/NAME"},
                        Case{{"ping"}, "ping NODE"},
                        Case{{"dns"}, "lookup, cache, upstreams or top"},
                        Case{{"dns", "lookup"}, "dns lookup NAME"},
                        Case{{"config"}, "config check FILE"},
                        Case{{"config", "check"}, "config check FILE"},
                        Case{{"ca", "init"}, "--dir"},
                        Case{{"ca", "--dir", "x"}, "name the node"},
                        Case{{"ca", "issue", "--dir", "x"}, "name the node"},
                        Case{{"ca", "sell", "node-a", "--dir", "x"}, "init, issue or deny"},
                        Case{{"ca", "issue", "node-a", "--dir", "x", "--days", "soon"}, "--days is a number"},
                        Case{{"ca", "issue", "node-a", "--dir", "x", "--days", "-1"}, "--days is a number"},
                        Case{{"ca", "issue", "node-a", "--dir", "x", "--days=999999"}, "--days is a number"},
                        Case{{""}, "unknown command"}}) {
    CtlResult r = run_ctl(c.args);
    EXPECT_EQ(r.status, 2) << c.says;
    EXPECT_NE(r.err.find(c.says), std::string::npos) << r.err;
    EXPECT_EQ(r.err.find('\n'), std::string::npos) << r.err;
    EXPECT_TRUE(r.out.empty()) << r.out;
  }
}

TEST(Ctl, HelpIsGoodWhenAskedForAndWrongUsageOtherwise) {
  EXPECT_EQ(run_ctl({}).status, 2);
  for (const char* h : {"--help", "-h"}) {
    EXPECT_EQ(run_ctl({h}).status, 0) << h;
    EXPECT_EQ(run_ctl({"status", h}).out, run_ctl({}).out) << h;
  }
  for (const char* command : {"status", "services", "explain", "peers", "paths", "ping", "dns lookup", "dns cache", "dns upstreams", "dns top", "ca init", "ca issue", "ca deny", "config check", "-o json"})
    EXPECT_NE(run_ctl({}).out.find(command), std::string::npos) << command;
}

TEST(Ctl, WithoutADaemonTheErrorNamesTheSocket) {
  CtlResult r = run_ctl({"status", "--socket", "/nonexistent/admin.sock"});
  EXPECT_EQ(r.status, 1);
  EXPECT_NE(r.err.find("/nonexistent/admin.sock"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find('\n'), std::string::npos) << r.err;
}

TEST(Ctl, ConfigCheckSaysGoodOrWhereNot) {
  testing::AdminWorld w;
  std::string good = w.dir + "/good.yaml", bad = w.dir + "/bad.yaml";
  std::ofstream(good) << base::conf::print_default_config();
  std::ofstream(bad) << "apiVersion: edgemeshd.io/v1alpha1\nkind: Config\nnoSuchKey: 1\n";
  CtlResult g = run_ctl({"config", "check", good}), b = run_ctl({"config", "check", bad});
  EXPECT_EQ(g.status, 0) << g.err;
  EXPECT_EQ(g.out, good + ": good\n");
  EXPECT_EQ(b.status, 1);
  EXPECT_NE(b.err.find(bad + ":3"), std::string::npos) << b.err;
}

TEST(Ctl, CertificatesAreMadeAndNamedOnTheCommandLine) {
  testing::AdminWorld w;
  std::string dir = w.dir + "/ca", out = w.dir + "/pki";
  ASSERT_EQ(run_ctl({"ca", "init", "--dir", dir, "--trust-domain", "mesh.test"}).status, 0);
  CtlResult r = run_ctl({"ca", "issue", "node-a", "--dir=" + dir, "--out", out, "--role", "relay", "--days", "30"});
  EXPECT_EQ(r.status, 0) << r.err;
  for (const char* f : {"/node.crt", "/node.key", "/ca.crt"}) EXPECT_TRUE(std::filesystem::exists(out + f)) << f;
  EXPECT_EQ(run_ctl({"ca", "deny", "node-a", "--dir", dir}).status, 0);
  CtlResult again = run_ctl({"ca", "init", "--dir", dir, "--trust-domain", "mesh.test"});
  EXPECT_EQ(again.status, 1) << "an authority is not made over another one";
}

// ---- what the daemon's answers look like

// The admin surface on a thread of its own, as it is in another process otherwise. State is set before the first command.
struct CtlTest : ::testing::Test {
  testing::AdminWorld w;
  std::thread server;
  void TearDown() override {
    if (!server.joinable()) return;
    w.loop->post([this] { w.loop->stop(); });
    server.join();
  }
  CtlResult ctl(Words args) {
    if (!server.joinable()) server = std::thread([this] { w.loop->run(); });
    args.insert(args.end(), {"--socket", w.socket});
    return run_ctl(args);
  }
};

TEST_F(CtlTest, Status) {
  w.state.status.problems = {"manifests/a.yaml:3: no such field"};
  EXPECT_EQ(ctl({"status"}).out,
            "node      node-a\n"
            "version   1.2.3\n"
            "ready     yes\n"
            "modules   mesh,dns\n"
            "overlay   100.64.0.1\n"
            "services  2 (5 addresses and ports in the kernel)\n"
            "exports   1\n"
            "uptime    61 s\n"
            "problem   manifests/a.yaml:3: no such field\n");
}

TEST_F(CtlTest, Services) {
  EXPECT_EQ(ctl({"services"}).out,
            "NAMESPACE  NAME  KIND       ADDRESSES          PORTS                  RULE\n"
            "shop       web   ClusterIP  10.96.0.7,fd00::7  80/tcp (2 of 3 ready)  DestinationRule shop/web\n");
}

TEST_F(CtlTest, Explain) {
  w.state.explanation.note = "not used by this node yet";
  EXPECT_EQ(ctl({"explain", "shop/web"}).out,
            "shop/web\n"
            "policy: round robin\n"
            "note: not used by this node yet\n"
            "FRONTEND          ENDPOINT         NODE    POD    TIER    DIALLED AT        HEALTH  WHY\n"
            "10.96.0.7:80/TCP  172.17.0.9:8080  node-b  web-1  tunnel  100.64.0.2:31000  -       on node node-b\n");
}

TEST_F(CtlTest, Peers) {
  tunnel::PeerView down;
  down.name = "node-c", down.state = "connecting", down.last_error = "no answer";
  w.state.peers.push_back(down);
  std::string out = ctl({"peers"}).out;
  EXPECT_NE(out.find("direct"), std::string::npos) << out;
  EXPECT_NE(out.find("1.23 ms"), std::string::npos) << out;
  EXPECT_NE(out.find("1428"), std::string::npos) << "the MTU: " << out;
  EXPECT_NE(out.find("1.5 KiB"), std::string::npos) << "direct bytes of both directions: " << out;
  EXPECT_NE(out.find("3.0 MiB"), std::string::npos) << "relay bytes of both directions: " << out;
  EXPECT_NE(out.find("no answer\n"), std::string::npos) << out;
}

TEST_F(CtlTest, Paths) {
  EXPECT_EQ(ctl({"paths"}).out,
            "NODE    USED  KIND  ADDRESS            STATE  RTT      MTU\n"
            "node-b  *     host  192.168.1.7:20006  valid  1.23 ms  1492\n");
}

TEST_F(CtlTest, ASessionResumedWithoutSignallingIsShown) {
  w.state.peers[0].resumed = true;
  w.state.paths[0].resumed = true;
  EXPECT_NE(ctl({"peers"}).out.find("direct, resumed over last path"), std::string::npos);
  EXPECT_NE(ctl({"paths"}).out.find("valid, resumed over last path"), std::string::npos);
}

TEST_F(CtlTest, NatShowsBothSidesAndWhatWasTried) {
  std::string out = ctl({"nat"}).out;
  for (const char* part : {"nat      endpoint-independent, port kept\n", "outside  203.0.113.7:20006\n", "198.51.100.1:443, 198.51.100.2:443", "plain worked 40 ms"})
    EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
  EXPECT_EQ(ctl({"nat", "-o", "json"}).out.substr(0, 7), "{\"nat\":");
  w.state.nat->port_mapping = {true, "192.168.1.1", "203.0.113.7:20006", "PCP", true, 7100, ""};
  EXPECT_NE(ctl({"nat"}).out.find("mapping  203.0.113.7:20006 by PCP from 192.168.1.1, 7100 s more\n"), std::string::npos)
      << ctl({"nat"}).out;
  w.state.nat->port_mapping = {true, "192.168.1.1", "", "", false, 0, "the router answers neither PCP nor NAT-PMP"};
  EXPECT_NE(ctl({"nat"}).out.find("mapping  - (192.168.1.1: the router answers neither PCP nor NAT-PMP)\n"), std::string::npos);
  w.state.nat.reset();
  EXPECT_EQ(ctl({"nat"}).err, "the tunnel is off: set tunnel.enabled");
}

TEST_F(CtlTest, LanShowsWhoIsHeardWhere) {
  EXPECT_EQ(ctl({"lan"}).out,
            "interfaces  eth0\n"
            "others      2 of no peer of this node\n"
            "\n"
            "NODE    INTERFACE  ADDRESSES                           SIGNALLING  KNOWN FOR\n"
            "node-b  eth0       192.168.1.7:20006, [fd01::7]:20006  20006       4100 s\n");
  EXPECT_EQ(ctl({"lan", "-o", "json"}).out.substr(0, 11), "{\"enabled\":");
  w.state.lan = tunnel::LanView{};
  EXPECT_NE(ctl({"lan"}).out.find("tunnel.lanDiscovery"), std::string::npos);
  w.state.lan.reset();
  EXPECT_EQ(ctl({"lan"}).err, "the tunnel is off: set tunnel.enabled");
}

TEST_F(CtlTest, NetcheckSaysWhatTheNetworkAllowsAndWhatCanBeDone) {
  auto says = [&](const char* part) {
    std::string out = ctl({"netcheck"}).out;
    EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
  };
  says("UDP: open; 2 relays see this node at 203.0.113.7:20006.\n");
  says("NAT: friendly");
  says("Peers: 1 direct, 0 over a relay.\n");
  w.state.nat->mapping = "address-and-port-dependent";
  w.state.nat->peers_direct = 0, w.state.nat->peers_relayed = 1;
  w.state.peers[0].direct = false;
  w.state.peers[0].nat = "address-dependent";
  says("NAT: symmetric (another");
  says("node-b (address-dependent): both NATs are symmetric: forward a port");
  w.state.nat->mapping = "address-and-port-dependent, ports +1";
  says("counts its ports up");
  w.state.peers[0].nat = "unknown";
  says("perhaps UDP does not leave its network");
  w.state.nat->mapping = "none";
  says("NAT: none.");
  w.state.nat->mapping = "unknown";
  w.state.nat->servers.resize(1);
  says("Add a second one under tunnel.relays");
  w.state.nat->servers.clear();
  says("UDP: no relay answers");
  w.state.nat->relays_by_tcp = {"node-r"};
  says("TCP: no UDP comes back from node-r; packets go there by TCP");
  w.state.nat->direct = false;
  says("Direct paths are switched off");
  EXPECT_EQ(ctl({"netcheck", "-o", "json"}).out.substr(0, 14), "{\"findings\":[\"");
}

TEST_F(CtlTest, NetcheckNamesPortMappingHairpinIpv6MtuAndTheLink) {
  auto says = [&](const char* part) {
    std::string out = ctl({"netcheck"}).out;
    EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
  };
  says("Link: 1 peer heard by multicast (edgemeshctl lan).\n");
  says("IPv6: none;");
  says("TCP 443: ");
  w.state.nat->relays.clear();
  says("Relays: none is known.");
  w.state.nat->link_mtu = 1500;
  says("MTU: nothing on the way is narrower than this node's interfaces; packets of 1428 bytes pass whole to every peer.\n");
  w.state.peers[0].mtu = 1228;
  says("MTU: the way to node-b carries packets of 1228 bytes only");
  w.state.nat->ipv6 = true;
  says("IPv6: this node has an address");
  w.state.nat->hairpin = "no";
  says("Hairpin: no;");
  w.state.nat->hairpin = "yes";
  says("Hairpin: yes;");
  w.state.nat->port_mapping = {true, "192.168.1.1", "203.0.113.7:20006", "NAT-PMP", true, 7100, ""};
  says("Port mapping: the router 192.168.1.1 forwards 203.0.113.7:20006 to this node (NAT-PMP).");
  w.state.nat->port_mapping.is_public = false;
  says("there is another NAT behind it");
  w.state.nat->port_mapping = {true, "192.168.1.1", "", "", false, 0, "the router answers neither PCP nor NAT-PMP"};
  says("Port mapping: none; the router answers neither PCP nor NAT-PMP: 192.168.1.1.");
  w.state.lan->nodes.clear();
  says("Link: 2 nodes heard by multicast, none that this node knows by name");
  w.state.nat->relays = {{"node-r", "127.0.0.1:20006", false, "127.0.0.1:20006: connection refused"}};
  says("Relay node-r: not connected: 127.0.0.1:20006: connection refused.\n");
}

TEST(Netcheck, SaysWhetherTcp443LeavesTheNetwork) {
  const std::string nat =
      R"({"nat":"unknown","outside":[],"hosts":[],"servers":[],"directEnabled":true,"peers":{"direct":0,"relayed":0},"portMapping":{"enabled":false},)"
      R"("hairpin":"unknown","ipv6":false,"linkMtu":1500,"relays":[{"name":"node-r","address":"198.51.100.1:20006","connected":true,"trouble":""}]})";
  auto says = [&](TcpProbe::Outcome o) {
    auto lines = netcheck_sentences(nat, R"({"peers":[]})", R"({"enabled":false})", {{"node-r", "198.51.100.1:443", o}});
    EXPECT_TRUE(lines) << (lines ? "" : lines.error().what);
    std::string all;
    for (const auto& l : lines.value_or(std::vector<std::string>{})) all += l + "\n";
    return all;
  };
  EXPECT_NE(says(TcpProbe::Outcome::open).find("TCP 443: open; relay node-r answers there"), std::string::npos);
  EXPECT_NE(says(TcpProbe::Outcome::refused).find("TCP 443: leaves this network, but relay node-r refuses"), std::string::npos);
  EXPECT_NE(says(TcpProbe::Outcome::unanswered).find("TCP 443: no relay answers."), std::string::npos);
}

TEST_F(CtlTest, DnsLookupSaysWhatAndWhereFrom) {
  EXPECT_EQ(ctl({"dns", "lookup", "web.shop.svc.cluster.local"}).out,
            "web.shop.svc.cluster.local. A: NOERROR, from the cluster's services\n"
            "web.shop.svc.cluster.local.  5  A  10.96.0.7\n"
            "authority:\ncluster.local.  5  SOA  ns.dns.cluster.local. x. 1 2 3 4 5\n"
            "additional:\nx.cluster.local.  5  AAAA  fd00::7\n");
  EXPECT_EQ(w.state.looked_up.back(), "web.shop.svc.cluster.local ");
  EXPECT_EQ(ctl({"dns", "lookup", "bad name", "MX"}).err, "dns: \"bad name\" is not a domain name");
  EXPECT_EQ(w.state.looked_up.back(), "bad name MX");
  w.state.lookup = {"www.example.", "A", "upstream", {"SERVFAIL", {}, {}, {}, {}, 22}, 1500};
  EXPECT_EQ(ctl({"dns", "lookup", "www.example"}).out, "www.example. A: SERVFAIL, from upstream in 1.50 ms, extended error 22\n");
}

TEST_F(CtlTest, DnsCacheUpstreamsAndTop) {
  w.state.cache.list.push_back({"old.example.", "AAAA", "NXDOMAIN", 0, 200, 400, -100, 86300});
  EXPECT_EQ(ctl({"dns", "cache", "example"}).out,
            "1 answers, 300 B of 8.0 MiB\n"
            "NAME          TYPE  STATUS    RECORDS  FRESH FOR\n"
            "www.example.  A     NOERROR   1        290 s\n"
            "old.example.  AAAA  NXDOMAIN  0        old, 86300 s more\n");
  EXPECT_EQ(w.state.looked_up.back(), "example 100");
  EXPECT_EQ(ctl({"dns", "upstreams"}).out,
            "NUMBER  ZONE  SERVER         STATE  QUERIES  SILENT  USUAL    P95\n"
            "1       .     192.0.2.53:53  up     7        0       3.00 ms  -\n"
            "2 questions under way\n");
  EXPECT_EQ(ctl({"dns", "top"}).out,
            "120 queries in 42 s\n"
            "QUERIES  CLIENT\n"
            "120      172.17.0.2\n"
            "QUERIES  NAME\n"
            "100      www.example.\n");
}

TEST_F(CtlTest, PingAndReload) {
  EXPECT_EQ(ctl({"ping", "node-b"}).out, "node-b answered in 2.50 ms by direct\n");
  CtlResult lost = ctl({"ping", "node-x"});
  EXPECT_EQ(lost.status, 1);
  EXPECT_EQ(lost.err, "node node-x: no such peer");
  EXPECT_EQ(ctl({"reload"}).out, "configuration reloaded\n");
}

TEST_F(CtlTest, JsonIsTheDaemonsAnswerAsItCame) {
  for (const char* verb : {"status", "services", "peers", "paths"}) {
    CtlResult r = ctl({verb, "-o", "json"});
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_EQ(r.out.substr(0, 2), "{\"") << r.out;
    EXPECT_EQ(r.out.back(), '\n');
  }
}

// A name goes into a request line; what cannot stand there must not become another request.
TEST_F(CtlTest, StrangeNamesAreAskedForAsTheyAre) {
  for (const char* name : {"shop/a b", "shop/a&service=x/y", "shop/%41", "shop/a\r\nX: y"}) {
    CtlResult r = ctl({"explain", name});
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_EQ(w.state.explained.back(), name);
  }
}

}  // namespace
}  // namespace edgemeshd
