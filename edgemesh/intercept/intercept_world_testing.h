// For the tests of interception: a node between two segments, in namespaces of the test process.
//
//   client 10.50.0.2.., fd50::2..  -- cl --+ node +-- br0 -- pods p2..p5: 172.17.0.2.., fd17::2.. (port 8080)
//                                          |      +-- lan -- lan host 192.168.7.9 (the default route's side)
//                                     edgemesh0 (TUN): 169.254.96.16, 100.64.0.1, fd64::1
#pragma once
#include <map>

#include "base/net/conntrack.h"
#include "base/net/netns_testing.h"
#include "edgemesh/intercept/intercept.h"

namespace edgemesh {

using namespace base::testing;
using base::Cidr;
using base::IpAddr;
using base::IpPort;
using base::Proto;

inline IpAddr ip(const std::string& s) { return *IpAddr::parse(s); }

struct World : ::testing::Test {
  NetNs node, client, lan;
  std::vector<std::unique_ptr<NetNs>> pods;
  std::unique_ptr<Servers> servers;
  base::Metrics metrics;
  std::unique_ptr<Intercept> mesh;

  static constexpr int kPods = 4;

  void SetUp() override {
    if (!node.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
    servers = std::make_unique<Servers>();
    join(node, "cl", client, "eth0");
    join(node, "lan", lan, "eth0");
    node.sh("ip -b - <<'X'\naddr add 10.50.0.1/24 dev cl\naddr add fd50::1/64 dev cl nodad\naddr add 192.168.7.1/24 dev lan\n"
            "link add br0 type bridge\nlink set br0 up\naddr add 172.17.0.1/24 dev br0\naddr add fd17::1/64 dev br0 nodad\n"
            "route add default via 192.168.7.9\ntuntap add edgemesh0 mode tun\nX\n");
    client.sh("ip addr add 10.50.0.2/24 dev eth0; ip addr add fd50::2/64 dev eth0 nodad; ip route add local 10.50.1.0/24 dev lo;"
              "ip -6 route add local fd50:1::/64 dev lo; ip route add default via 10.50.0.1; ip -6 route add default via fd50::1");
    node.sh("ip route add 10.50.1.0/24 via 10.50.0.2; ip -6 route add fd50:1::/64 via fd50::2");
    lan.sh("ip addr add 192.168.7.9/24 dev eth0; ip route add default via 192.168.7.1");
    for (int i = 2; i < 2 + kPods; ++i) add_pod(i);
    install();
  }

  void add_pod(int i) {
    pods.push_back(std::make_unique<NetNs>());
    NetNs& p = *pods.back();
    std::string n = std::to_string(i);
    join(node, "v" + n, p, "eth0");
    node.sh("ip link set v" + n + " master br0");
    p.sh("ip addr add 172.17.0." + n + "/24 dev eth0; ip addr add fd17::" + n + "/64 dev eth0 nodad;"
         "ip route add default via 172.17.0.1; ip -6 route add default via fd17::1");
    EXPECT_TRUE(servers->add(p, "172.17.0." + n + ":8080", "p" + n));
    EXPECT_TRUE(servers->add(p, "[fd17::" + n + "]:8080", "p" + n));
  }

  NetNs& pod(int i) { return *pods[size_t(i - 2)]; }

  static InterceptConfig config() {
    InterceptConfig c;
    c.service_ips = {ip("169.254.96.16")};
    c.overlay_ips = {ip("100.64.0.1"), ip("fd64::1")};
    c.overlay_cidrs = {*Cidr::parse("100.64.0.0/10"), *Cidr::parse("fd64::/64")};
    c.proxy_port = 15001;
    return c;
  }

  void install(InterceptConfig c = config()) {
    InNs in(node);
    auto m = Intercept::install(c, metrics);
    ASSERT_TRUE(m) << m.error().what;
    mesh = std::move(*m);
  }

  static FrontendKey key(const std::string& at, Proto p = Proto::tcp) {
    auto a = *IpPort::parse(at);
    return {a.ip, p, a.port, a.ip.is_any()};
  }
  static Frontend balance(std::vector<int> to, bool v6 = false, Frontend::Policy p = Frontend::Policy::round_robin) {
    Frontend f;
    f.policy = p;
    for (int i : to) f.backends.push_back({ip((v6 ? "fd17::" : "172.17.0.") + std::to_string(i)), 8080});
    return f;
  }
  void apply(std::vector<FrontendChange> c) {
    InNs in(node);
    auto r = mesh->apply(c);
    ASSERT_TRUE(r) << r.error().what;
  }
  using Pieces = std::vector<std::vector<FrontendChange>>;
  static std::function<std::vector<FrontendChange>()> giver(Pieces pieces) {
    return [pieces, at = size_t(0)]() mutable { return at < pieces.size() ? pieces[at++] : std::vector<FrontendChange>(); };
  }
  void apply_first(const Pieces& pieces) {
    InNs in(node);
    auto r = mesh->apply_first(giver(pieces));
    ASSERT_TRUE(r) << r.error().what;
  }
  // Who answered, how often.
  std::map<std::string, int> spread(int n, const std::string& to, CallOptions o = {}) {
    std::map<std::string, int> seen;
    for (int i = 0; i < n; ++i) ++seen[who(call(client, to, o))];
    return seen;
  }
};

}  // namespace edgemesh
