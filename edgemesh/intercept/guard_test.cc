// What may cross the TUN, and what is left behind when we go.
#include <fcntl.h>

#include "base/net/netlink.h"
#include "base/net/nft.h"
#include "edgemesh/intercept/intercept_world_testing.h"

namespace edgemesh {
namespace {

// An IPv4 UDP packet as the tunnel would write it to the TUN, or read it there.
std::vector<uint8_t> udp4(const std::string& from, uint16_t sport, const std::string& to, uint16_t dport) {
  std::vector<uint8_t> p(20 + 8 + 4, 0);
  p[0] = 0x45, p[3] = uint8_t(p.size()), p[8] = 64, p[9] = 17;
  auto put = [&](size_t at, const IpAddr& a) { std::copy(a.bytes().begin(), a.bytes().end(), p.begin() + long(at)); };
  put(12, ip(from)), put(16, ip(to));
  uint32_t sum = 0;
  for (size_t i = 0; i < 20; i += 2) sum += base::load_be16(&p[i]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  base::store_be16(&p[10], uint16_t(~sum));
  base::store_be16(&p[20], sport), base::store_be16(&p[22], dport), base::store_be16(&p[24], 12);
  return p;
}

std::string describe(const uint8_t* p, size_t n) {
  if (n < 28 || p[0] >> 4 != 4) return "?";
  return base::IpPort{IpAddr::v4(p + 12), base::load_be16(p + 20)}.str() + " > " + base::IpPort{IpAddr::v4(p + 16), base::load_be16(p + 22)}.str();
}

struct Guard : World {
  base::UniqueFd tun;
  void SetUp() override {
    World::SetUp();
    if (IsSkipped()) return;
    tun = open_tun(node, "edgemesh0");
    ASSERT_TRUE(tun);
    for (int i = 0; i < 300 && node.out("ip link show dev edgemesh0").find("noop") != std::string::npos; ++i) ::usleep(10'000);  // it drops all until the kernel gave it a queue
    InNs in(node);
    ASSERT_TRUE(mesh->add_peer_routes({*Cidr::parse("100.64.0.2/32"), *Cidr::parse("100.64.0.3/32")}));
  }
  // The next packet that leaves through the TUN, "" if none comes.
  std::string leaves(int ms = 100) {
    uint8_t b[2048];
    while (wait_for(tun.get(), POLLIN, ms)) {
      ssize_t n = ::read(tun.get(), b, sizeof b);
      if (n <= 0) break;
      if (b[0] >> 4 == 4) return describe(b, size_t(n));  // the kernel's IPv6 greetings while no table stood are not ours
    }
    return "";
  }
  std::string enters(const std::string& from, uint16_t sport, const std::string& to, uint16_t dport, int ms = 100) {
    auto p = udp4(from, sport, to, dport);
    EXPECT_EQ(::write(tun.get(), p.data(), p.size()), ssize_t(p.size()));
    return leaves(ms);
  }
  // What must be answered may take its time: a first ARP question that is lost is asked again after a second.
  std::string answer_to(const std::string& from, uint16_t sport, const std::string& to, uint16_t dport) { return enters(from, sport, to, dport, 3000); }
};

TEST_F(Guard, APeerReachesItsExportsAndNothingElse) {
  servers->add(node, "0.0.0.0:7000", "host");
  servers->add(lan, "192.168.7.9:7000", "lan");
  { InNs in(node); ASSERT_TRUE(mesh->apply_exports({{ip("100.64.0.2"), Proto::udp, 30000, *IpPort::parse("172.17.0.2:8080")}}, {})); }
  EXPECT_EQ(answer_to("100.64.0.2", 4000, "100.64.0.1", 30000), "100.64.0.1:30000 > 100.64.0.2:4000");
  EXPECT_EQ(enters("100.64.0.3", 4000, "100.64.0.1", 30000), "");   // granted to somebody else
  EXPECT_EQ(enters("100.64.0.2", 4000, "100.64.0.1", 30001), "");   // not exported
  EXPECT_EQ(enters("100.64.0.2", 4001, "100.64.0.1", 7000), "");    // a daemon of the host
  EXPECT_EQ(enters("100.64.0.2", 4002, "192.168.7.9", 7000), "");   // the LAN
  EXPECT_EQ(enters("100.64.0.2", 4003, "192.168.7.1", 7000), "");   // another local address
  EXPECT_EQ(enters("100.64.0.2", 4004, "172.17.0.2", 8080), "");    // a pod
  EXPECT_EQ(enters("100.64.0.2", 4005, "127.0.0.1", 7000), "");
  EXPECT_EQ(enters("100.64.0.2", 4006, "169.254.96.16", 53), "");
  { InNs in(node); ASSERT_TRUE(mesh->apply_exports({}, {{ip("100.64.0.2"), Proto::udp, 30000, *IpPort::parse("172.17.0.2:8080")}})); }
  EXPECT_EQ(enters("100.64.0.2", 4000, "100.64.0.1", 30000), "");   // withdrawn: the old flow is dead too
}

// A port that another program forwards (docker's published ports) is not an export.
TEST_F(Guard, ForeignForwardingIsNotAnExport) {
  node.sh("nft 'add table ip foreign; add chain ip foreign pre { type nat hook prerouting priority dstnat; };"
          "add rule ip foreign pre udp dport 9000 dnat to 172.17.0.2:8080'");
  EXPECT_EQ(enters("100.64.0.2", 4000, "100.64.0.1", 9000), "");
}

TEST_F(Guard, OnlyGrantedExportsAndHeldPacketsLeave) {
  Frontend remote;
  remote.backends = {{ip("100.64.0.2"), 30000}};
  { InNs in(node); ASSERT_TRUE(mesh->apply_granted({{ip("100.64.0.2"), Proto::udp, 30000}}, {})); }
  Frontend hold;
  hold.mode = Frontend::Mode::hold;
  apply({{key("10.96.0.5:53", Proto::udp), remote}, {key("10.96.0.6:53", Proto::udp), hold}});
  call(client, "10.96.0.5:53", {.from = "10.50.0.2", .from_port = 5000, .udp = true, .timeout_ms = 1});
  EXPECT_EQ(leaves(3000), "100.64.0.1:5000 > 100.64.0.2:30000");
  call(node, "10.96.0.5:53", {.udp = true, .timeout_ms = 1});
  EXPECT_NE(leaves().find("> 100.64.0.2:30000"), std::string::npos);
  call(client, "10.96.0.6:53", {.from = "10.50.0.2", .from_port = 5001, .udp = true, .timeout_ms = 1});
  EXPECT_EQ(leaves(3000), "10.50.0.2:5001 > 10.96.0.6:53");             // held: as the client sent it
  call(client, "100.64.0.2:30000", {.udp = true, .timeout_ms = 1}); // not through a service
  EXPECT_EQ(leaves(), "");
  call(client, "100.64.0.2:22", {.timeout_ms = 1});
  EXPECT_EQ(leaves(), "");
  call(node, "100.64.0.2:4500", {.udp = true, .mark = 0x40000, .timeout_ms = 1});
  EXPECT_NE(leaves().find("100.64.0.1:"), std::string::npos);       // the daemon itself
  { InNs in(node); ASSERT_TRUE(mesh->apply_granted({}, {{ip("100.64.0.2"), Proto::udp, 30000}})); }
  call(client, "10.96.0.5:53", {.from = "10.50.0.2", .from_port = 5000, .udp = true, .timeout_ms = 1});
  EXPECT_EQ(leaves(), "");
}

// What a client is told of a way that carries less than its own network: in its SYN, and of what is too long all the same by ICMP.
TEST_F(Guard, ThePathsMtuIsInTheSynAndInTheRoutes) {
  Frontend remote;
  remote.backends = {{ip("100.64.0.2"), 30000}};
  { InNs in(node);
    ASSERT_TRUE(mesh->apply_granted({{ip("100.64.0.2"), Proto::tcp, 30000}, {ip("100.64.0.2"), Proto::udp, 30000}}, {}));
    ASSERT_TRUE(mesh->set_peer_mtu({*Cidr::parse("100.64.0.2/32")}, 1236)); }
  apply({{key("10.96.0.5:80"), remote}, {key("10.96.0.5:53", Proto::udp), remote}});
  EXPECT_NE(node.out("ip route show table 10496").find("100.64.0.2 dev edgemesh0 proto 96 scope link src 100.64.0.1 mtu 1236"), std::string::npos) << node.out("ip route show table 10496");
  EXPECT_NE(node.out("ip route show table 10496").find("100.64.0.3 dev edgemesh0 proto 96 scope link src 100.64.0.1 mtu 1416"), std::string::npos);
  call(client, "10.96.0.5:80", {.timeout_ms = 1});
  uint8_t b[2048];
  ASSERT_TRUE(wait_for(tun.get(), POLLIN, 3000));
  ASSERT_GE(::read(tun.get(), b, sizeof b), 44);
  EXPECT_EQ(b[33], 0x02) << "a SYN";
  EXPECT_EQ(b[40], 2) << "its first option";
  EXPECT_EQ(base::load_be16(b + 42), 1236 - 40);
  // A datagram that may not be cut, and is 100 bytes longer than the way.
  std::string sent = client.out("python3 -c \"import socket,time; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(0, 10, 2); s.connect(('10.96.0.5', 53))\nfor i in range(40):\n  try: s.send(bytes(1308))\n  except OSError as e: print(e.errno, s.getsockopt(0, 14)); break\n  time.sleep(.05)\"");
  EXPECT_EQ(sent, "90 1236\n") << "EMSGSIZE, and the MTU";
}

// docker masquerades what leaves its bridge, kube-proxy has endpoints of its own: neither may rewrite what is held.
TEST_F(Guard, HeldPacketsAreLeftAloneByOtherProgramsToo) {
  node.sh("nft 'add table ip foreign; add chain ip foreign pre { type nat hook prerouting priority dstnat; };"
          "add rule ip foreign pre ip daddr 10.96.0.6 udp dport 53 dnat to 172.17.0.2:8080;"
          "add chain ip foreign post { type nat hook postrouting priority srcnat; };"
          "add rule ip foreign post ip saddr 10.50.0.0/24 masquerade'");
  Frontend hold;
  hold.mode = Frontend::Mode::hold;
  apply({{key("10.96.0.6:53", Proto::udp), hold}});
  call(client, "10.96.0.6:53", {.from = "10.50.0.2", .from_port = 5001, .udp = true, .timeout_ms = 1});
  EXPECT_EQ(leaves(3000), "10.50.0.2:5001 > 10.96.0.6:53");
}

// An export led to the daemon of this node and back: TCP connections of before stay, for that peer alone.
TEST_F(Guard, AnExportMayBeLedToTheDaemon) {
  servers->add(node, "169.254.96.16:15001", "daemon");
  auto lead = [&](const char* to, const char* from) {
    InNs in(node);
    ExportRule e{ip("100.64.0.2"), Proto::udp, 30000, *IpPort::parse(to)}, old = e;
    old.target = *IpPort::parse(from);
    ASSERT_TRUE(mesh->apply_exports({e}, {old}));
  };
  lead("172.17.0.2:8080", "172.17.0.2:8080");
  node.sh("nft 'add table ip closed; add chain ip closed f { type filter hook forward priority filter; policy drop; }'");
  EXPECT_EQ(enters("100.64.0.2", 4000, "100.64.0.1", 30000), "") << "the host is closed";
  lead("169.254.96.16:15001", "172.17.0.2:8080");
  EXPECT_EQ(answer_to("100.64.0.2", 4000, "100.64.0.1", 30000), "100.64.0.1:30000 > 100.64.0.2:4000");
  EXPECT_EQ(enters("100.64.0.3", 4000, "100.64.0.1", 30000), "");
  EXPECT_EQ(enters("100.64.0.2", 4001, "169.254.96.16", 15001), "") << "only as an export";
}

TEST_F(Guard, NativePodsKeepTheirAddresses) {
  { InNs in(node); mesh->remove(); }
  auto c = config();
  c.own_pod_cidrs = {*Cidr::parse("172.17.0.0/24")};
  install(c);
  { InNs in(node);
    ASSERT_TRUE(mesh->add_peer_routes({*Cidr::parse("172.18.0.0/24")}));
    ASSERT_TRUE(mesh->set_native_peers({*Cidr::parse("172.18.0.0/24")})); }
  call(pod(2), "172.18.0.9:80", {.from = "172.17.0.2", .from_port = 5000, .udp = true, .timeout_ms = 1});
  EXPECT_EQ(leaves(3000), "172.17.0.2:5000 > 172.18.0.9:80");
  EXPECT_EQ(answer_to("172.18.0.9", 4000, "172.17.0.3", 8080), "172.17.0.3:8080 > 172.18.0.9:4000");
  EXPECT_EQ(enters("172.18.0.9", 4000, "192.168.7.9", 8080), "");
  EXPECT_EQ(enters("172.19.0.9", 4000, "172.17.0.3", 8080), "");
  { InNs in(node); ASSERT_TRUE(mesh->set_native_peers({})); ASSERT_TRUE(mesh->remove_peer_routes({*Cidr::parse("172.18.0.0/24")})); }
  EXPECT_EQ(enters("172.18.0.9", 4001, "172.17.0.3", 8080), "");
}

// The TUN dies (kill -9 without persistence): not one overlay packet goes out of the uplink.
TEST_F(Guard, NothingLeaksWhenTheTunIsGone) {
  tun.reset();
  node.sh("ip link del edgemesh0");
  auto r = call(node, "100.64.0.2:80", {.timeout_ms = 60});
  EXPECT_TRUE(r.find("unreachable") != std::string::npos || r.find("No route") != std::string::npos) << r;
}

TEST_F(World, InstallTwiceGivesOneCopyAndForeignTablesStay) {
  node.sh("nft 'add table inet other; add chain inet other c; add rule inet other c counter'");
  auto before = node.out("nft list table inet other");
  auto rules = node.out("nft list table inet edgemesh | wc -l") + node.out("ip rule; ip -6 rule") + node.out("ip addr show dev edgemesh0");
  apply({{key("10.96.0.1:80"), balance({2, 3})}});
  mesh.reset();  // as a kill -9 leaves it
  install();
  apply({});
  EXPECT_EQ(node.out("nft list table inet edgemesh | wc -l") + node.out("ip rule; ip -6 rule") + node.out("ip addr show dev edgemesh0"), rules);
  EXPECT_EQ(node.out("ip route show dev edgemesh0"), "");
  EXPECT_EQ(node.out("nft list table inet other"), before);
  apply({{key("10.96.0.1:80"), balance({4})}});
  EXPECT_EQ(who(call(client, "10.96.0.1:80")), "p4");
}

TEST_F(World, CleanupLeavesNothing) {
  apply({{key("10.96.0.1:80"), balance({2, 3})}, {key("[fd96::1]:80"), balance({2, 3}, true)}});
  InNs in(node);
  ASSERT_TRUE(mesh->add_peer_routes({*Cidr::parse("100.64.0.2/32"), *Cidr::parse("fd64::2/128"), *Cidr::parse("172.18.0.0/24")}));
  for (int i = 0; i < 2; ++i) {
    auto r = Intercept::cleanup("edgemesh0");
    ASSERT_TRUE(r) << r.error().what;
  }
  EXPECT_EQ(node.out("nft list ruleset"), "");
  for (auto f : {base::Family::v4, base::Family::v6}) {
    auto routes = base::netlink::routes(f);
    for (auto& r : *routes) EXPECT_NE(r.protocol, base::netlink::kOurProtocol) << r.to.str();
    EXPECT_TRUE(base::netlink::rules(f)->empty());
  }
  EXPECT_EQ(node.out("ip -o addr show dev edgemesh0 scope global"), "");
}

// An operator's nft can list us whatever is programmed.
TEST_F(World, EveryKindOfFrontendIsListable) {
  auto aff4 = balance({2, 3}), aff6 = balance({2, 3}, true);
  aff4.affinity = aff6.affinity = std::chrono::seconds(10800);
  Frontend proxy, hold;
  proxy.mode = Frontend::Mode::proxy;
  hold.mode = Frontend::Mode::hold;
  apply({{key("10.96.0.1:80"), balance({2, 3})}, {key("[fd96::1]:80"), balance({2, 3}, true)},
         {key("10.96.0.2:80"), balance({2, 3}, false, Frontend::Policy::random)}, {key("[fd96::2]:80"), balance({2}, true)},
         {key("10.96.0.3:80"), balance({2, 3}, false, Frontend::Policy::source_hash)},
         {key("[fd96::3]:80"), balance({2, 3}, true, Frontend::Policy::source_hash)},
         {key("10.96.0.4:80"), aff4}, {key("[fd96::4]:80"), aff6}, {key("0.0.0.0:30080"), aff4}, {key("[::]:30080"), balance({2, 3}, true)},
         {key("10.96.0.5:80"), proxy}, {key("10.96.0.6:53", Proto::udp), hold}, {key("[fd96::7]:80"), Frontend{}}});
  EXPECT_EQ(who(call(client, "10.96.0.4:80"))[0], 'p');
  EXPECT_EQ(who(call(client, "[fd96::4]:80"))[0], 'p');
  for (auto* command : {"nft list ruleset", "nft list table inet edgemesh"}) {
    auto text = node.out(command);
    EXPECT_EQ(text.find("FAILED"), std::string::npos) << text.substr(0, 300);
    EXPECT_GT(text.size(), 10000u);
  }
}

TEST_F(World, FiveThousandServicesInOneTransaction) {
  std::vector<FrontendChange> many;
  for (int i = 0; i < 5000; ++i)
    many.push_back({key("10." + std::to_string(100 + i / 2500) + "." + std::to_string(i / 250 % 10) + "." + std::to_string(1 + i % 250) + ":80"),
                    balance({2, 3, 4, 5}, false, Frontend::Policy::random)});
  InNs in(node);
  mesh->remove();
  auto c = config();
  c.service_cidrs = {*Cidr::parse("10.100.0.0/15")};
  install(c);
  apply(many);
  EXPECT_EQ(base::nft::elements("edgemesh", "slot4")->size(), 20000u);
  EXPECT_EQ(who(call(client, "10.101.9.250:80"))[0], 'p');
}

TEST_F(World, ErrorsNameTheMend) {
  NetNs empty;
  InNs in(empty);
  auto r = Intercept::install(config(), metrics);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find("edgemesh0"), std::string::npos) << r.error().what;
  EXPECT_NE(r.error().what.find("/dev/net/tun"), std::string::npos) << r.error().what;
}

}  // namespace
}  // namespace edgemesh
