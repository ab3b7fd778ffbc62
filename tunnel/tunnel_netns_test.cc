// Whole tunnels in network namespaces of their own, with certificates of a test authority: two on one LAN without any relay, then
// two behind NATs with the same subnet and a relay between them. Needs root (or CAP_SYS_ADMIN); skipped otherwise.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "base/core/log.h"
#include "base/core/wall_clock.h"
#include "base/net/socket.h"
#include "base/sim/test_ca.h"
#include "tunnel/tunnel.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Namespaces {
 public:
  bool add(const std::string& name) {
    if (unshare(CLONE_NEWNET) != 0) return false;
    fds_[name] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return run(name, "ip link set lo up");
  }
  void enter(const std::string& name) const { ASSERT_EQ(setns(fds_.at(name), CLONE_NEWNET), 0); }
  bool run(const std::string& name, const std::string& command) const {
    enter(name);
    return system((command + " >/dev/null 2>&1").c_str()) == 0;
  }
  bool join(const std::string& a, const std::string& dev_a, const std::string& addr_a, const std::string& b, const std::string& dev_b, const std::string& addr_b) const {
    std::string peer_ns = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fds_.at(b));
    return run(a, "ip link add " + dev_a + " type veth peer name " + dev_b + " netns " + peer_ns) &&
           run(a, "ip addr add " + addr_a + " dev " + dev_a + " && ip link set " + dev_a + " up") &&
           run(b, "ip addr add " + addr_b + " dev " + dev_b + " && ip link set " + dev_b + " up");
  }
  ~Namespaces() { for (auto& [n, fd] : fds_) close(fd); }

 private:
  std::map<std::string, int> fds_;
};

// One daemon's worth of tunnel on a thread of its own inside a namespace.
class Member {
 public:
  Member(const Namespaces& net, std::string ns, Tunnel::Config c, std::string overlay) : net_(net), ns_(std::move(ns)), overlay_(std::move(overlay)) {
    thread_ = std::thread([this, c = std::move(c)]() mutable { life(std::move(c)); });
    std::unique_lock lock(mu_);
    ready_.wait(lock, [&] { return started_; });
  }
  ~Member() {
    if (loop_) loop_->stop();
    thread_.join();
    net_.run(ns_, "ip link del tun0");
  }
  const std::string& error() const { return error_; }
  // Runs on the member's loop and waits for it.
  template <class F>
  auto on_loop(F f) {
    std::promise<decltype(f(*tunnel_))> p;
    loop_->post([&] { p.set_value(f(*tunnel_)); });
    return p.get_future().get();
  }
  PeerView view(const std::string& peer) {
    auto all = on_loop([](Tunnel& t) { return t.peers(); });
    for (auto& v : all)
      if (v.name == peer) return v;
    return {};
  }
  // Inner packets that went with a handshake instead of waiting for its keys.
  uint64_t carried(const char* direction) { return metric("edgemeshd_tunnel_carried_packets_total", {{"direction", direction}}); }
  uint64_t metric(const char* name, base::Labels labels) {
    return on_loop([&](Tunnel&) { return metrics_.counter(name, "", labels).value(); });
  }
  bool up_hook = false;

 private:
  void life(Tunnel::Config c) {
    net_.enter(ns_);
    loop_ = base::make_libevent_loop();
    Tunnel::Hooks h;
    h.on_export_request = [](const std::string& peer, const auto&, const ExportRequest& r) -> base::Result<ExportGrant> {
      if (r.service != "shop/web") return base::fail(base::Code::denied, "{} may not use {}", peer, r.service);
      return ExportGrant{{*base::IpAddr::parse("100.64.7.2"), 30001}, 300s};
    };
    h.on_peer = [this](const std::string&, bool up, const auto&) { up_hook = up; };
    clock_ = std::make_unique<base::TrustClock>(base::TrustClock::Options{[this] { return loop_->now(); }, base::wall_now, base::build_day(), "", &disk_}, metrics_);
    c.clock = clock_.get();
    c.disk = &disk_;
    auto t = Tunnel::start(std::move(c), h, *loop_, store_, rng_, metrics_);
    if (t) {
      tunnel_ = std::move(*t);
      net_.run(ns_, "ip addr add " + overlay_ + "/32 dev tun0 && ip route add 100.64.7.0/24 dev tun0 src " + overlay_);
    } else {
      error_ = t.error().what;
    }
    {
      std::lock_guard lock(mu_);
      started_ = true;
    }
    ready_.notify_all();
    if (tunnel_) loop_->run();
    tunnel_.reset();
    loop_.reset();
  }
  const Namespaces& net_;
  std::string ns_, overlay_, error_;
  std::thread thread_;
  std::mutex mu_;
  std::condition_variable ready_;
  bool started_ = false;
  std::unique_ptr<base::Loop> loop_;
  base::SocketStore store_;
  base::SystemRng rng_;
  base::Metrics metrics_;
  base::StateDisk disk_{metrics_};
  std::unique_ptr<base::TrustClock> clock_;
  std::unique_ptr<Tunnel> tunnel_;
};

// An application's UDP echo in one namespace and a caller in another: how many of `count` datagrams come back.
class Echo {
 public:
  Echo(const Namespaces& net, const std::string& ns, const std::string& overlay) : at_{*base::IpAddr::parse(overlay), 4000} {
    net.enter(ns);
    auto fd = base::udp_socket(at_);
    EXPECT_TRUE(fd) << fd.error().what;
    fd_ = std::move(*fd);
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd p{fd_.get(), POLLIN, 0};
        char b[2048];
        sockaddr_storage from{};
        socklen_t n = sizeof from;
        if (poll(&p, 1, 50) != 1) continue;
        ssize_t got = recvfrom(fd_.get(), b, sizeof b, 0, reinterpret_cast<sockaddr*>(&from), &n);
        if (got > 0) sendto(fd_.get(), b, size_t(got), 0, reinterpret_cast<sockaddr*>(&from), n);
      }
    });
  }
  ~Echo() {
    stop_ = true;
    thread_.join();
  }
  int call(const Namespaces& net, const std::string& ns, int count, std::chrono::milliseconds every, std::chrono::milliseconds linger = 1s) const {
    net.enter(ns);
    auto fd = base::udp_socket({base::IpAddr(), 0});
    EXPECT_TRUE(fd);
    base::SockAddr to(at_);
    std::set<int> back;
    auto read_all = [&](std::chrono::milliseconds for_long) {
      for (auto end = std::chrono::steady_clock::now() + for_long;;) {
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        pollfd p{fd->get(), POLLIN, 0};
        int number = 0;
        if (left < 0 || poll(&p, 1, int(left)) != 1) return;
        if (recv(fd->get(), &number, sizeof number, 0) == sizeof number) back.insert(number);
        if (int(back.size()) == count) return;
      }
    };
    for (int i = 0; i < count; i++) {
      sendto(fd->get(), &i, sizeof i, 0, to.ptr(), to.len);
      read_all(every);
    }
    if (int(back.size()) < count) read_all(linger);
    return int(back.size());
  }

 private:
  base::IpPort at_;
  base::UniqueFd fd_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// A router's PCP server in its namespace: forwards what it is asked for, with nft.
class PcpServer {
 public:
  PcpServer(const Namespaces& net, std::string ns) : net_(net), ns_(std::move(ns)) {
    net_.enter(ns_);
    auto fd = base::udp_socket({*base::IpAddr::parse("192.168.1.1"), 5351});
    EXPECT_TRUE(fd) << (fd ? "" : fd.error().what);
    fd_ = std::move(*fd);
    thread_ = std::thread([this] {
      net_.enter(ns_);
      while (!stop_) serve();
    });
  }
  ~PcpServer() {
    stop_ = true;
    thread_.join();
  }
  bool forwards() const { return net_.run(ns_, "nft list chain ip n pre | grep -q dnat"); }

 private:
  void serve() {
    pollfd p{fd_.get(), POLLIN, 0};
    uint8_t b[1100];
    sockaddr_storage from{};
    socklen_t n = sizeof from;
    if (poll(&p, 1, 50) != 1 || recvfrom(fd_.get(), b, sizeof b, 0, reinterpret_cast<sockaddr*>(&from), &n) != 60 || b[0] != 2 || b[1] != 1)
      return;
    uint16_t port = base::load_be16(b + 40);
    bool wanted = base::load_be32(b + 4) > 0;
    std::string rule = " && nft add rule ip n pre iif wan udp dport 40404 dnat to 192.168.1.10:" + std::to_string(port);
    EXPECT_EQ(
        system(("nft 'add chain ip n pre { type nat hook prerouting priority -100; }' && nft flush chain ip n pre" + (wanted ? rule : ""))
                   .c_str()),
        0);
    base::ByteVec out;
    base::Writer w(out);
    w.u16(0x0281), w.u16(0), w.u32(wanted ? 7200 : 0), w.u32(1000), w.put(base::ByteVec(12));
    w.put(base::ByteView(b + 24, 18)), w.u16(40404), w.put(base::ByteVec(10)), w.u16(0xffff),
        w.put(base::IpAddr::parse("198.51.100.2")->bytes());
    sendto(fd_.get(), out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from), n);
  }
  const Namespaces& net_;
  std::string ns_;
  base::UniqueFd fd_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class TunnelNetns : public testing::Test {
 protected:
  void SetUp() override {
    if (!net_.add("a") || !net_.add("b") || access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN and /dev/net/tun";
    dir_ = fs::temp_directory_path() / ("tunnel_netns_" + std::to_string(getpid()));
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    fs::permissions(dir_ / name, fs::perms::owner_read | fs::perms::owner_write);
  }
  Tunnel::Config config(const std::string& name, const std::string& overlay, std::vector<std::string> roles = {}) {
    base::WallTime now = base::wall_now();
    auto pem = ca_.node(name, {.overlay_ips = {*base::IpAddr::parse(overlay)}, .roles = std::move(roles), .from = {now.unix_seconds - 3600}, .to = {now.unix_seconds + 86400}});
    write(name + ".crt", pem.cert_chain);
    write(name + ".key", pem.key);
    write("ca.crt", pem.ca);
    Tunnel::Config c;
    c.node = name;
    c.tun = "tun0";
    c.cert_file = dir_ / (name + ".crt");
    c.key_file = dir_ / (name + ".key");
    c.ca_file = dir_ / "ca.crt";
    c.state_dir = dir_;
    return c;
  }
  template <class P>
  bool wait(P done, std::chrono::milliseconds limit = 15s) {
    for (auto end = std::chrono::steady_clock::now() + limit; !done(); std::this_thread::sleep_for(50ms))
      if (std::chrono::steady_clock::now() > end) return false;
    return true;
  }
  void two_sites(bool relay_serves = true) {
    for (const char* n : {"nat-a", "nat-b", "inet"}) ASSERT_TRUE(net_.add(n));
    ASSERT_TRUE(net_.join("nat-a", "lan", "192.168.1.1/24", "a", "eth0", "192.168.1.10/24"));
    ASSERT_TRUE(net_.join("nat-b", "lan", "192.168.1.1/24", "b", "eth0", "192.168.1.10/24"));
    ASSERT_TRUE(net_.join("nat-a", "wan", "198.51.100.2/30", "inet", "i0", "198.51.100.1/30"));
    ASSERT_TRUE(net_.join("nat-b", "wan", "198.51.101.2/30", "inet", "i1", "198.51.101.1/30"));
    ASSERT_TRUE(net_.run("inet", "sysctl -w net.ipv4.ip_forward=1 && ip addr add 203.0.113.1/32 dev lo"));
    for (const char* n : {"a", "b"}) ASSERT_TRUE(net_.run(n, "ip route add default via 192.168.1.1"));
    for (auto [n, gw] : {std::pair{"nat-a", "198.51.100.1"}, std::pair{"nat-b", "198.51.101.1"}})
      ASSERT_TRUE(net_.run(n, std::string("sysctl -w net.ipv4.ip_forward=1 && ip route add default via ") + gw +
                                  " && nft add table ip n && nft 'add chain ip n post { type nat hook postrouting priority 100; }' && nft add rule ip n post oif wan masquerade"
                                  " && nft 'add chain ip n in { type filter hook input priority 0; policy drop; }' && nft add rule ip n in iif lan accept"
                                  " && nft add rule ip n in ct state established,related accept"));
    auto c = config("relay", "100.64.7.9", {"relay"});
    c.serve_relay = true;
    c.advertise = {*base::IpPort::parse("203.0.113.1:20006")};
    relay_ = std::make_unique<Member>(net_, "inet", c, "100.64.7.9");
    ASSERT_EQ(relay_->error(), "");
  }
  Tunnel::Config behind_nat(const std::string& name, const std::string& overlay, bool direct) {
    auto c = config(name, overlay);
    c.relays = {{"relay", *base::IpPort::parse("203.0.113.1:20006")}};
    c.direct = direct;
    return c;
  }
  static void hint(Member& m, const std::string& name, const std::string& overlay, std::vector<base::IpPort> advertise = {}) {
    m.on_loop([&](Tunnel& t) {
      t.set_peers({{name, {*base::IpAddr::parse(overlay)}, advertise, {}, false}});
      return 0;
    });
  }

  base::TestCa ca_{"mesh.test"};
  Namespaces net_;
  fs::path dir_;
  std::unique_ptr<Member> relay_;
};

TEST_F(TunnelNetns, TwoNodesOnOneLanWithoutARelay) {
  ASSERT_TRUE(net_.join("a", "eth0", "10.9.0.1/24", "b", "eth0", "10.9.0.2/24"));
  auto ca = config("a", "100.64.7.1"), cb = config("b", "100.64.7.2");
  ca.advertise = {*base::IpPort::parse("10.9.0.1:20006")};
  cb.advertise = {*base::IpPort::parse("10.9.0.2:20006")};
  Member a(net_, "a", ca, "100.64.7.1"), b(net_, "b", cb, "100.64.7.2");
  ASSERT_EQ(a.error() + b.error(), "");
  hint(a, "b", "100.64.7.2", cb.advertise);
  hint(b, "a", "100.64.7.1", ca.advertise);
  // The first packet makes the session; none is lost from the second on.
  Echo at_b(net_, "b", "100.64.7.2"), at_a(net_, "a", "100.64.7.1");
  EXPECT_EQ(at_b.call(net_, "a", 1, 3s), 1);
  EXPECT_GE(a.carried("sent"), 1u);
  EXPECT_EQ(b.carried("received"), a.carried("sent"));
  EXPECT_EQ(at_b.call(net_, "a", 20, 50ms), 20);
  EXPECT_EQ(at_a.call(net_, "b", 5, 50ms), 5);
  auto v = a.view("b");
  EXPECT_EQ(v.state, "up");
  EXPECT_TRUE(v.direct);
  EXPECT_GT(v.tx_direct, 0u);

  std::promise<base::Result<ExportGrant>> good, bad;
  a.on_loop([&](Tunnel& t) {
    ExportRequest r{"shop/web", base::Proto::tcp, *base::IpPort::parse("172.17.0.9:8080")};
    t.request_export("b", r, [&](auto x) { good.set_value(std::move(x)); });
    r.service = "shop/secret";
    t.request_export("b", r, [&](auto x) { bad.set_value(std::move(x)); });
    return 0;
  });
  auto g = good.get_future().get(), refused = bad.get_future().get();
  ASSERT_TRUE(g) << g.error().what;
  EXPECT_EQ(g->at.str(), "100.64.7.2:30001");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "a may not use shop/secret");
}

TEST_F(TunnelNetns, OverTheRelayBetweenTwoNatsWithTheSameSubnet) {
  two_sites();
  Member a(net_, "a", behind_nat("a", "100.64.7.1", false), "100.64.7.1"), b(net_, "b", behind_nat("b", "100.64.7.2", false), "100.64.7.2");
  ASSERT_EQ(a.error() + b.error(), "");
  hint(a, "b", "100.64.7.2");
  hint(b, "a", "100.64.7.1");
  std::this_thread::sleep_for(1s);  // signalling connects
  Echo at_b(net_, "b", "100.64.7.2");
  EXPECT_TRUE(wait([&] { return at_b.call(net_, "a", 1, 2s) == 1; }));
  EXPECT_EQ(at_b.call(net_, "a", 40, 50ms), 40) << a.view("b").state << ": " << a.view("b").last_error;
  EXPECT_FALSE(a.view("b").direct);
  EXPECT_EQ(a.view("b").relay, "relay");
}

TEST_F(TunnelNetns, MovesFromRelayToDirectWithoutLosingAPacket) {
  two_sites();
  Member a(net_, "a", behind_nat("a", "100.64.7.1", true), "100.64.7.1"), b(net_, "b", behind_nat("b", "100.64.7.2", true), "100.64.7.2");
  ASSERT_EQ(a.error() + b.error(), "");
  hint(a, "b", "100.64.7.2");
  hint(b, "a", "100.64.7.1");
  std::this_thread::sleep_for(1s);
  Echo at_b(net_, "b", "100.64.7.2");
  EXPECT_TRUE(wait([&] { return at_b.call(net_, "a", 1, 2s) == 1; }));
  EXPECT_EQ(at_b.call(net_, "a", 60, 50ms), 60);
  EXPECT_TRUE(wait([&] { return a.view("b").direct && b.view("a").direct; }, 5s));
  // The direct way is cut: the flow goes on over the relay.
  ASSERT_TRUE(net_.run("inet", "nft add table ip f && nft 'add chain ip f cut { type filter hook forward priority 0; policy drop; }'"));
  EXPECT_GE(at_b.call(net_, "a", 60, 50ms), 15);  // three seconds of calls: at most two of them silent
  EXPECT_FALSE(a.view("b").direct);
  ASSERT_TRUE(net_.run("inet", "nft delete table ip f"));
  EXPECT_EQ(at_b.call(net_, "a", 20, 50ms), 20);
}

// Both NATs take a random port for each destination: nothing but the relay is left, if one of the routers does not help.
TEST_F(TunnelNetns, APortTheRouterForwardsLetsTwoSymmetricNatsMeet) {
  two_sites();
  for (const char* n : {"nat-a", "nat-b"})
    ASSERT_TRUE(net_.run(n, "nft flush chain ip n post && nft add rule ip n post oif wan masquerade fully-random"));
  PcpServer router(net_, "nat-a");
  {
    Member a(net_, "a", behind_nat("a", "100.64.7.1", true), "100.64.7.1"), b(net_, "b", behind_nat("b", "100.64.7.2", true), "100.64.7.2");
    ASSERT_EQ(a.error() + b.error(), "");
    hint(a, "b", "100.64.7.2");
    hint(b, "a", "100.64.7.1");
    EXPECT_TRUE(wait([&] { return a.on_loop([](Tunnel& t) { return t.nat().port_mapping.outside; }) == "198.51.100.2:40404"; }));
    EXPECT_TRUE(router.forwards());
    auto at_b_asked = b.on_loop([](Tunnel& t) { return t.nat().port_mapping; });
    EXPECT_EQ(at_b_asked.router, "192.168.1.1");
    EXPECT_EQ(at_b_asked.outside, "");
    Echo at_b(net_, "b", "100.64.7.2");
    EXPECT_TRUE(wait([&] { return at_b.call(net_, "a", 1, 2s) == 1; }, 30s));
    EXPECT_TRUE(wait([&] { return a.view("b").direct && b.view("a").direct; }, 30s)) << a.view("b").nat << ", " << b.view("a").nat;
    EXPECT_EQ(b.view("a").path, "198.51.100.2:40404");
    EXPECT_EQ(a.view("b").nat.find("address"), 0u) << a.view("b").nat;
    EXPECT_EQ(b.view("a").nat.find("address"), 0u) << b.view("a").nat;
  }
  EXPECT_TRUE(wait([&] { return !router.forwards(); })) << "taken back when the node stops";
}

// The files are replaced while packets flow. The old certificate ends soon: only with the new one a peer that starts afresh is met.
TEST_F(TunnelNetns, ARenewedCertificateIsUsedWithoutARestartAndABadOneIsNot) {
  ASSERT_TRUE(net_.join("a", "eth0", "10.9.0.1/24", "b", "eth0", "10.9.0.2/24"));
  auto ca = config("a", "100.64.7.1"), cb = config("b", "100.64.7.2");
  auto certificate_of_a = [&](base::WallTime until) {
    auto pem = ca_.node("a", {.overlay_ips = {*base::IpAddr::parse("100.64.7.1")}, .from = {base::wall_now().unix_seconds - 3600}, .to = until});
    write("a.crt", pem.cert_chain);
    write("a.key", pem.key);
  };
  base::WallTime end{base::wall_now().unix_seconds + 10};
  certificate_of_a(end);
  ca.offline_grace = cb.offline_grace = 0s;
  ca.advertise = {*base::IpPort::parse("10.9.0.1:20006")};
  cb.advertise = {*base::IpPort::parse("10.9.0.2:20006")};
  Member a(net_, "a", ca, "100.64.7.1");
  auto b = std::make_unique<Member>(net_, "b", cb, "100.64.7.2");
  ASSERT_EQ(a.error() + b->error(), "");
  hint(a, "b", "100.64.7.2", cb.advertise);
  hint(*b, "a", "100.64.7.1", ca.advertise);
  Echo at_b(net_, "b", "100.64.7.2");
  EXPECT_EQ(at_b.call(net_, "a", 1, 3s), 1);
  auto results = [&](const char* result) { return a.metric("edgemeshd_certificate_renewals_total", {{"result", result}}); };
  write("a.crt", "no certificate");
  ASSERT_TRUE(wait([&] { return results("refused") == 1; }));
  EXPECT_EQ(at_b.call(net_, "a", 20, 20ms), 20);
  certificate_of_a({base::wall_now().unix_seconds + 86400});
  int answered = 0, asked = 0;
  while (results("ok") == 0 && asked < 500) asked += 10, answered += at_b.call(net_, "a", 10, 50ms);
  EXPECT_EQ(results("ok"), 1u);
  EXPECT_EQ(answered, asked);
  ASSERT_TRUE(wait([&] { return base::wall_now() > base::WallTime{end.unix_seconds + 1}; }));
  EXPECT_EQ(at_b.call(net_, "a", 20, 20ms), 20) << "the session goes on";
  b.reset();
  b = std::make_unique<Member>(net_, "b", cb, "100.64.7.2");
  hint(*b, "a", "100.64.7.1", ca.advertise);
  EXPECT_TRUE(wait([&] { return at_b.call(net_, "a", 1, 200ms, 200ms) == 1; }));
}

TEST_F(TunnelNetns, BadIdentityIsOneLineWithTheMend) {
  auto c = config("a", "100.64.7.1");
  c.node = "somebody-else";
  Member wrong(net_, "a", c, "100.64.7.1");
  EXPECT_NE(wrong.error().find("is for node a, the configuration names somebody-else"), std::string::npos) << wrong.error();
  c = config("a", "100.64.7.1");
  c.key_file = dir_ / "nothing.key";
  Member unreadable(net_, "a", c, "100.64.7.1");
  EXPECT_NE(unreadable.error().find("nothing.key"), std::string::npos) << unreadable.error();
  c = config("a", "100.64.7.1");
  c.serve_relay = true;
  Member no_role(net_, "a", c, "100.64.7.1");
  EXPECT_NE(no_role.error().find("needs the role relay"), std::string::npos) << no_role.error();
}

}  // namespace
}  // namespace tunnel
