#include "tunnel/sim/random_mesh.h"
#include "tunnel/sim/sim_checks.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::NatSpec nat(const char* public_ip) { return {.public_ip = ip(public_ip), .keep_port = true}; }
base::NatSpec symmetric(const char* public_ip) { return {.public_ip = ip(public_ip), .mapping = base::NatRule::endpoint}; }

// Two nodes behind two NATs, in the same private subnet.
void two_sites(MeshSim& s, bool direct = true) {
  s.add("a", {.nat = nat("198.51.100.1"), .ip = ip("192.168.1.10"), .direct = direct});
  s.add("b", {.nat = nat("198.51.100.2"), .ip = ip("192.168.1.20"), .direct = direct});
  s.start("a");
  s.start("b");
}

TEST(MeshSim, OverTheRelayWhenPunchingIsOff) {
  MeshSim s(1);
  two_sites(s, false);
  s.talk("a", "b");
  EXPECT_LE(meet(s, "a", "b"), 1s);
  s.run_for(10s);
  EXPECT_EQ(s.view("a", "b").state, "up");
  EXPECT_FALSE(s.is_direct("a", "b") || s.is_direct("b", "a"));
  EXPECT_EQ(s.view("a", "b").relay, "relay");
  expect_sound(s);
}

TEST(MeshSim, RelayFirstThenDirect) {
  MeshSim s(2);
  s.run_for(2s);
  two_sites(s);
  s.run_for(3s);  // own addresses are known by now
  s.talk("a", "b");
  EXPECT_LE(meet(s, "a", "b"), 1s);
  EXPECT_TRUE(s.loop.run_until([&] { return s.is_direct("a", "b") && s.is_direct("b", "a"); }, 5s));
  expect_sound(s);
}

// The hello was made before the relay told each its address outside: the peer is told of it when the session stands.
TEST(MeshSim, AnAddressLearnedDuringTheHandshakeIsPunchedTowards) {
  for (uint64_t seed = 40; seed < 50; seed++) {
    MeshSim s(seed);
    two_sites(s);
    for (const char* n : {"a", "b"}) s.host(n).set_link({.latency = 30ms + 1ms * int(seed % 10) * 6});
    s.talk("a", "b");
    EXPECT_TRUE(s.loop.run_until([&] { return s.is_direct("a", "b") && s.is_direct("b", "a"); }, 5s)) << seed;
    expect_sound(s);
  }
}

TEST(MeshSim, OnOneLanWithoutAnyRelay) {
  MeshSim s(3);
  s.set_relay(false);
  s.set_direct_signal(true);
  base::NatSpec lan = nat("198.51.100.9");
  s.add("a", {.nat = lan, .ip = ip("192.168.1.10"), .advertise = {*base::IpPort::parse("192.168.1.10:20006")}});
  s.add("b", {.nat = lan, .ip = ip("192.168.1.20"), .advertise = {*base::IpPort::parse("192.168.1.20:20006")}});
  s.start("a");
  s.start("b");
  s.talk("a", "b");
  EXPECT_LE(meet(s, "a", "b"), 1s);
  EXPECT_TRUE(s.loop.run_until([&] { return s.is_direct("a", "b"); }, 1s));
  expect_sound(s);
}

TEST(MeshSim, TwoSymmetricNatsStayOnTheRelayAndRetryQuietly) {
  MeshSim s(4);
  s.add("a", {.nat = symmetric("198.51.100.1"), .ip = ip("192.168.1.10")});
  s.add("b", {.nat = symmetric("198.51.100.2"), .ip = ip("192.168.1.10")});
  s.start("a");
  s.start("b");
  s.talk("a", "b");
  EXPECT_LE(meet(s, "a", "b"), 2s);
  s.run_for(120s);
  EXPECT_FALSE(s.is_direct("a", "b"));
  EXPECT_LE(meet(s, "a", "b"), 500ms);
  expect_sound(s);
}

TEST(MeshSim, KilledPeerIsMetAgainWithinThreeSeconds) {
  for (uint64_t seed = 10; seed < 20; seed++) {
    MeshSim s(seed);
    two_sites(s);
    s.talk("a", "b");
    s.run_for(10s);
    s.kill("b");
    s.run_for(1s);
    s.start("b");
    EXPECT_LE(meet(s, "a", "b"), 3s) << seed;
    expect_sound(s);
  }
}

// Nobody at b starts anything: a alone has to notice.
TEST(MeshSim, KilledPeerIsNoticedByTheOtherSideAlone) {
  MeshSim s(21);
  two_sites(s, false);
  s.talk("a", "b");
  s.run_for(10s);
  s.kill("b");
  s.start("b");
  EXPECT_LE(meet(s, "a", "b"), 3s);
}

TEST(MeshSim, RelayDeathDoesNotTouchADirectPath) {
  MeshSim s(30);
  two_sites(s);
  s.talk("a", "b");
  s.run_for(15s);
  ASSERT_TRUE(s.is_direct("a", "b"));
  s.set_relay(false);
  for (int i = 0; i < 60; i++) {
    EXPECT_LE(meet(s, "a", "b"), 300ms);
    s.run_for(1s);
  }
  expect_sound(s);
}

// Without a direct path a second relay is kept ready; the first one's death shows at once because its signalling ends.
TEST(MeshSim, TheSecondRelayCarriesOnWithinASecond) {
  for (uint64_t seed = 60; seed < 66; seed++) {
    MeshSim s(seed);
    s.add_relay();
    two_sites(s, false);
    s.talk("a", "b");
    s.run_for(10s);
    ASSERT_EQ(s.view("a", "b").relay, "relay");
    s.set_relay(false);
    EXPECT_LE(meet(s, "a", "b"), 1s) << seed;
    EXPECT_EQ(s.view("a", "b").relay, "relay-2");
    s.set_relay(true);
    s.run_for(10s);
    s.set_relay(false, 1);
    EXPECT_LE(meet(s, "a", "b"), 1s) << seed << ": the first one is a channel again";
    expect_sound(s);
  }
}

TEST(MeshSim, TheOnlyRelayIsUsedAgainAsSoonAsItIsBack) {
  for (uint64_t seed = 70; seed < 76; seed++) {
    MeshSim s(seed);
    two_sites(s, false);
    s.talk("a", "b");
    s.run_for(10s);
    s.set_relay(false);
    s.run_for(40s);
    s.set_relay(true);
    EXPECT_LE(meet(s, "a", "b"), 2s) << seed;
    expect_sound(s);
  }
}

TEST(MeshSim, DirectPathThatDiesFallsBackToTheRelayWithinTwoSecondsAndComesBack) {
  MeshSim s(31);
  two_sites(s);
  s.talk("a", "b");
  s.run_for(15s);
  ASSERT_TRUE(s.is_direct("a", "b"));
  s.net.partition(s.host("a"), s.host("b"));
  EXPECT_LE(meet(s, "a", "b"), 2s);
  EXPECT_FALSE(s.is_direct("a", "b"));
  s.net.heal_all();
  EXPECT_TRUE(s.loop.run_until([&] { return s.is_direct("a", "b") && s.is_direct("b", "a"); }, 120s));
  expect_sound(s);
}

TEST(MeshSim, NatRebootIsSurvived) {
  MeshSim s(32);
  two_sites(s);
  s.talk("a", "b");
  s.run_for(15s);
  s.net.nat(nat("198.51.100.1")).flush();
  EXPECT_LE(meet(s, "a", "b"), 3s);
  s.net.nat(nat("198.51.100.2")).rebind(ip("198.51.100.77"));
  EXPECT_LE(meet(s, "a", "b"), 5s);
  expect_sound(s);
}

TEST(MeshSim, ExportsAreAskedForInsideTheSessionAndRefusedByName) {
  MeshSim s(40);
  two_sites(s);
  s.run_for(1s);
  base::Result<ExportGrant> good, bad, unknown;
  ExportRequest r{"shop/web", base::Proto::tcp, *base::IpPort::parse("172.17.0.9:8080")};
  s.mesh("a").request_export("b", r, [&](auto x) { good = x; });
  r.service = "none";
  s.mesh("a").request_export("b", r, [&](auto x) { bad = x; });
  s.mesh("a").request_export("nobody", r, [&](auto x) { unknown = x; });
  s.run_for(3s);
  ASSERT_TRUE(good) << good.error().what;
  EXPECT_EQ(good->at.port, 30080);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().what, "no such service");
  EXPECT_FALSE(unknown);
}

TEST(MeshSim, AnExportAskedOfADeadPeerFailsWithinFiveSeconds) {
  MeshSim s(41);
  two_sites(s);
  s.kill("b");
  int answers = 0;
  s.mesh("a").request_export("b", {"shop/web", base::Proto::tcp, *base::IpPort::parse("172.17.0.9:8080")}, [&](auto x) {
    answers++;
    EXPECT_FALSE(x);
  });
  s.run_for(6s);
  EXPECT_EQ(answers, 1);
}

TEST(MeshSim, PingTellsTheRoundTripAndThePath) {
  MeshSim s(42);
  two_sites(s, false);
  base::Duration rtt{0};
  std::string path;
  s.mesh("a").ping("b", [&](auto r, std::string p) {
    ASSERT_TRUE(r) << r.error().what;
    rtt = *r;
    path = p;
  });
  s.run_for(4s);
  EXPECT_GE(rtt, 20ms);
  EXPECT_LE(rtt, 60ms);
  EXPECT_NE(path.find("relay"), std::string::npos);
}

TEST(MeshSim, ADeniedPeerIsCutOffAtOnce) {
  MeshSim s(43);
  two_sites(s);
  s.talk("a", "b");
  s.run_for(5s);
  auto is_b = [](const base::NodeIdentity& i) { return i.name == "b"; };
  s.mesh("a").recheck_denied(is_b, [](const std::string&) { return false; });
  s.run_for(100ms);  // what was on its way
  uint64_t before = s.delivered;
  s.run_for(10s);
  EXPECT_EQ(s.delivered, before);
  EXPECT_EQ(s.view("a", "b").state, "denied");
}

// From one to the next, in many parts over lossy links; and to a node that starts later.
TEST(MeshSim, ADenyListSpreadsToWhoeverHasASession) {
  for (uint64_t seed = 60; seed < 70; seed++) {
    MeshSim s(seed);
    two_sites(s);
    s.add("c", {.nat = nat("198.51.100.3"), .ip = ip("192.168.1.30")});
    s.add("d", {.nat = nat("198.51.100.4"), .ip = ip("192.168.1.40")});
    s.start("c");
    for (const char* n : {"a", "b", "c"}) s.host(n).set_link({.latency = 10ms, .jitter = 5ms, .loss = 0.05});
    s.talk("a", "b");
    s.talk("b", "c");
    s.run_for(5s);
    std::string text = "7 " + std::string(3000, 'x') + "end";
    s.mesh("a").spread_deny_list(7, text);
    EXPECT_TRUE(s.loop.run_until([&] { return s.deny_lists.contains("c"); }, 5s)) << seed;
    EXPECT_EQ(s.deny_lists["b"], text);
    EXPECT_EQ(s.deny_lists["c"], text);
    EXPECT_FALSE(s.deny_lists.contains("a"));  // nobody brings back what is known
    s.start("d");
    s.talk("c", "d");
    EXPECT_TRUE(s.loop.run_until([&] { return s.deny_lists.contains("d"); }, 5s)) << seed;
  }
}

TEST(MeshSim, AnOlderDenyListIsNotEvenTakenIn) {
  MeshSim s(71);
  two_sites(s);
  s.mesh("b").spread_deny_list(9, "9 newer");
  s.talk("a", "b");
  s.run_for(5s);
  EXPECT_EQ(s.deny_lists["a"], "9 newer");
  s.deny_lists.clear();
  s.mesh("a").spread_deny_list(8, "8 older");
  s.run_for(5s);
  EXPECT_FALSE(s.deny_lists.contains("b"));
}

uint64_t metric(const MeshSim& s, const std::string& node, const std::string& series) {
  std::string text = s.metrics(node).render();
  size_t at = text.find("\n" + series + " ");
  return at == std::string::npos ? 0 : std::stoull(text.substr(at + series.size() + 2));
}

// Sixty packets a second each way under keys that live for 2 s or 200 packets, over links that reorder and double. Both sides are due
// at about the same time: the call of one may arrive when the attempt of the other is already done.
TEST(MeshSim, RekeyingInTheMiddleOfTrafficLosesAndRepeatsNothing) {
  for (RekeyLimits limits : {RekeyLimits{2s, kRekeyPackets}, RekeyLimits{1h, 200}})
    for (int kind = 0; kind < 6; kind++) {
      bool direct = kind % 2 == 0;
      MeshSim s(80 + uint64_t(kind / 2) * 21);
      s.add("a", {.nat = nat("198.51.100.1"), .ip = ip("192.168.1.10"), .direct = direct, .rekey = limits});
      s.add("b", {.nat = nat("198.51.100.2"), .ip = ip("192.168.1.20"), .direct = direct, .rekey = limits});
      for (const char* n : {"a", "b"}) {
        s.host(n).set_link({.latency = 20ms, .jitter = 15ms, .reorder = 0.1, .duplicate = 0.2});
        s.start(n);
      }
      s.talk("a", "b");
      s.run_for(10s);
      s.silence();
      s.run_for(1s);
      uint64_t sent = s.numbers(), arrived = s.delivered, handshakes = metric(s, "a", "edgemeshd_tunnel_handshakes_total{result=\"ok\"}");
      for (int i = 0; i < 1200; i++) {
        for (int k = 0; k < 2; k++) s.send("a", "b"), s.send("b", "a");
        s.run_for(50ms);
      }
      s.run_for(2s);
      EXPECT_EQ(s.numbers() - sent, s.delivered - arrived);
      handshakes = metric(s, "a", "edgemeshd_tunnel_handshakes_total{result=\"ok\"}") - handshakes;
      EXPECT_GE(handshakes, 12u);
      EXPECT_LE(handshakes, 70u);
      expect_sound(s);
    }
}

TEST(MeshSim, TwoCertificatesWithOneAddressAreBothNotRoutedAndNamedInOneLine) {
  static std::vector<std::string> lines;
  lines.clear();
  base::set_log_sink([](base::LogLevel, std::string_view line) { lines.emplace_back(line); });
  MeshSim s(81);
  s.add("a", {.nat = nat("198.51.100.1"), .ip = ip("192.168.1.10")});
  s.add("bob", {.nat = nat("198.51.100.2"), .ip = ip("192.168.1.20"), .overlay = ip("100.64.7.7")});
  s.add("eve", {.nat = nat("198.51.100.3"), .ip = ip("192.168.1.30"), .overlay = ip("100.64.7.7")});
  s.start("a");
  s.start("bob");
  s.talk("a", "bob");
  EXPECT_LE(meet(s, "a", "bob"), 30s);
  s.start("eve");
  s.talk("a", "eve");
  s.run_for(10s);
  base::Instant since = s.loop.now();
  s.run_for(10s);
  base::set_log_sink({});
  EXPECT_FALSE(s.met("a", "bob", since) || s.met("a", "eve", since));
  auto names_both = [](const std::string& l) { return l.find("bob and eve claim") != l.npos || l.find("eve and bob claim") != l.npos; };
  // Two in all: when the MeshNodes said so, and when the certificates did; between, bob had proved to be the owner.
  EXPECT_EQ(std::count_if(lines.begin(), lines.end(), names_both), 2);
}

TEST(MeshSim, BytesAreCountedByTheKindOfPath) {
  MeshSim s(82);
  two_sites(s, false);
  s.talk("a", "b");
  s.run_for(10s);
  auto bytes = [&](const char* path, const char* direction) {
    return metric(s, "a", fmt::format("edgemeshd_tunnel_path_bytes_total{{path=\"{}\",direction=\"{}\"}}", path, direction));
  };
  EXPECT_GT(bytes("relay", "sent"), 1000u);
  EXPECT_GT(bytes("relay", "received"), 1000u);
  EXPECT_EQ(bytes("direct", "sent") + bytes("direct", "received"), 0u);
}

// The route is lost for a moment and comes back with the same keys: packets go on counting, none looks like a repeat.
TEST(MeshSim, PacketsPassAtOnceWhenTheRelayIsBackBeforeTheSessionEnds) {
  for (uint64_t seed = 50; seed < 60; seed++) {
    MeshSim s(seed);
    two_sites(s, false);
    s.talk("a", "b");
    s.run_for(20s);
    s.set_relay(false);
    s.run_for(50ms * (seed - 49));
    s.set_relay(true);
    EXPECT_LE(meet(s, "a", "b"), 5s) << seed;
    expect_sound(s);
  }
}

// Relay and sources are gone: what is left is what the nodes wrote down of each other.
void alone(MeshSim& s, bool keep_sources = false) {
  s.set_relay(false);
  s.sources = keep_sources;
}

void two_sites_direct(MeshSim& s, double loss = 0) {
  two_sites(s);
  for (const char* n : {"a", "b"}) s.host(n).set_link({.latency = 20ms, .jitter = 5ms, .loss = loss});
  s.talk("a", "b");
  s.run_for(15s);
  ASSERT_TRUE(s.is_direct("a", "b") && s.is_direct("b", "a"));
}

TEST(MeshSim, ARestartIsFoundAgainWithNoRelayAndNoSource) {
  for (const char* victim : {"a", "b"})
    for (uint64_t seed = 100; seed < 120; seed++) {
      MeshSim s(seed);
      two_sites_direct(s, seed % 2 ? 0.05 : 0);
      alone(s);
      s.run_for(3s);
      s.kill(victim);
      s.run_for(100ms * (seed - 100));
      s.start(victim);
      EXPECT_LE(meet(s, "a", "b"), 3s) << seed;
      s.run_for(1s);
      EXPECT_TRUE(s.is_direct("a", "b") && s.is_direct("b", "a")) << seed;
      EXPECT_TRUE(s.view("a", "b").resumed && s.view("b", "a").resumed) << seed;
      expect_sound(s);
    }
}

TEST(MeshSim, BothRestartedFindEachOtherWithNoRelayAndNoSource) {
  for (uint64_t seed = 120; seed < 140; seed++) {
    MeshSim s(seed);
    two_sites_direct(s, seed % 2 ? 0.05 : 0);
    alone(s);
    for (int again = 0; again < 3; again++) {
      for (const char* n : {"a", "b"}) s.kill(n);
      s.run_for(500ms);
      s.start("a");
      s.run_for(10ms * (seed - 120));
      s.start("b");
      s.sources = true;  // packets of a name need a route
      EXPECT_LE(meet(s, "a", "b"), 3s) << seed;
      s.run_for(5s);
    }
    expect_sound(s);
  }
}

TEST(MeshSim, ThePeerIsDownForLongAndComesBackAlone) {
  MeshSim s(140);
  two_sites_direct(s);
  alone(s);
  s.kill("b");
  s.run_for(170s);  // knocks keep the NAT of a open
  s.start("b");
  EXPECT_LE(meet(s, "a", "b"), 3s);
}

TEST(MeshSim, TwoNodesOnOneLanNeedNoRelayAfterARestart) {
  MeshSim s(141);
  s.set_relay(false);
  s.set_direct_signal(true);
  base::NatSpec lan = nat("198.51.100.9");
  s.add("a", {.nat = lan, .ip = ip("192.168.1.10")});
  s.add("b", {.nat = lan, .ip = ip("192.168.1.20")});
  s.start("a");
  s.start("b");
  s.talk("a", "b");
  s.run_for(5s);
  ASSERT_TRUE(s.is_direct("a", "b"));
  s.set_direct_signal(false);
  s.sources = false;
  s.kill("b");
  s.start("b");
  EXPECT_LE(meet(s, "a", "b"), 3s);
  EXPECT_TRUE(s.is_direct("b", "a"));
}

// One side died before it wrote: it has older secrets.
TEST(MeshSim, AnOlderListOfKnownPeersOpensTheDoorToo) {
  MeshSim s(142);
  two_sites_direct(s);
  base::ByteVec before = s.disks["b"];
  s.kill("b");
  s.start("b");
  ASSERT_LE(meet(s, "a", "b"), 3s);
  ASSERT_NE(s.disks["b"], before);
  alone(s);
  s.kill("b");
  s.disks["b"] = before;
  s.start("b");
  EXPECT_LE(meet(s, "a", "b"), 3s);
}

TEST(MeshSim, WithoutWhatWasWrittenTheRelayIsNeededAndIsEnough) {
  MeshSim s(143);
  two_sites_direct(s);
  alone(s, true);
  s.kill("b");
  s.disks.erase("b");
  s.start("b");
  EXPECT_GT(meet(s, "a", "b", 20s), 20s);
  s.set_relay(true);
  EXPECT_LE(meet(s, "a", "b"), 30s);
}

TEST(MeshSim, ADeniedPeerFindsNoDoor) {
  MeshSim s(144);
  two_sites_direct(s);
  s.mesh("a").recheck_denied([](const base::NodeIdentity& i) { return i.name == "b"; }, [](const std::string&) { return false; });
  s.run_for(1s);
  auto kept = KnownPeers::decode(s.disks["a"]);
  ASSERT_TRUE(kept);
  EXPECT_FALSE(kept->find("b"));
  alone(s);
  s.kill("b");
  s.start("b");
  EXPECT_GT(meet(s, "a", "b", 20s), 20s);
  EXPECT_EQ(metric(s, "b", "edgemeshd_tunnel_doors_opened_total"), 0u);
}

// Also while a was down: it learns of the list before it knocks.
TEST(MeshSim, AKeyDeniedWhileTheNodeWasDownIsForgottenAtStart) {
  MeshSim s(145);
  two_sites_direct(s);
  alone(s);
  s.kill("a");
  s.start("a");
  s.mesh("a").recheck_denied([](const base::NodeIdentity& i) { return i.name == "b"; }, [](const std::string&) { return false; });
  s.run_for(5s);
  EXPECT_FALSE(KnownPeers::decode(s.disks["a"])->find("b"));
  EXPECT_EQ(metric(s, "a", "edgemeshd_tunnel_knocks_total"), 0u);
}

TEST(MeshSim, KeysAreRenewedWithoutSignalling) {
  MeshSim s(146);
  for (const char* n : {"a", "b"}) {
    s.add(n, {.nat = nat(*n == 'a' ? "198.51.100.1" : "198.51.100.2"), .ip = ip("192.168.1.10"), .rekey = {10s, kRekeyPackets}});
    s.start(n);
  }
  s.talk("a", "b");
  s.run_for(8s);
  ASSERT_TRUE(s.is_direct("a", "b"));
  alone(s);
  s.run_for(1s);
  uint64_t before = metric(s, "a", "edgemeshd_tunnel_handshakes_total{result=\"ok\"}"), lost = s.lost;
  for (int i = 0; i < 120; i++) {
    s.run_for(500ms);
    EXPECT_LE(meet(s, "a", "b"), 300ms);
  }
  EXPECT_GE(metric(s, "a", "edgemeshd_tunnel_handshakes_total{result=\"ok\"}"), before + 4);
  EXPECT_EQ(s.lost, lost);
  expect_sound(s);
}

// A node far away that nobody talks to costs next to nothing.
TEST(MeshSim, KnocksBecomeRare) {
  MeshSim s(147);
  two_sites_direct(s);
  alone(s);
  s.kill("b");
  s.run_for(10min);
  uint64_t first = metric(s, "a", "edgemeshd_tunnel_knocks_total");
  EXPECT_GT(first, 40u);
  s.run_for(10min);
  EXPECT_LE(metric(s, "a", "edgemeshd_tunnel_knocks_total") - first, 600 / 15 * 1.2 * 4);  // to at most four addresses
}

// A machine that was suspended: its clock is two hours ahead at once. Keys are too old and grants are over, and calls go on.
TEST(MeshSim, AClockThatJumpsIsNoPauseAndKeysAreRenewed) {
  for (bool direct : {true, false}) {
    MeshSim s(90);
    two_sites(s, direct);
    s.talk("a", "b");
    s.run_for(15s);
    std::string before = s.keys("a", "b");
    s.jump_clock("a", 2h);
    EXPECT_LE(meet(s, "a", "b"), 1s);
    s.run_for(10s);
    EXPECT_NE(s.keys("a", "b"), before);
    EXPECT_LE(meet(s, "a", "b"), 500ms);
    expect_sound(s);
    EXPECT_TRUE(s.ends_clean()) << "a timer is left behind";
  }
}

// Seeds that once found something.
TEST(RandomMesh, SeedsOfOldFaults) {
  for (uint64_t seed : {5156ull, 6ull, 79ull, 175372537045718ull}) {
    RandomMesh mesh(seed);
    EXPECT_TRUE(mesh.go()) << "mesh_sim --seed " << seed << ": " << mesh.failure();
  }
}

TEST(MeshSim, SameSeedSameTrace) {
  auto run = [](uint64_t seed) {
    MeshSim s(seed);
    two_sites(s);
    s.talk("a", "b");
    s.run_for(20s);
    return std::pair(s.net.trace_hash(), s.delivered);
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7).first, run(8).first);
}

}  // namespace
}  // namespace tunnel
