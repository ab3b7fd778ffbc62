// The relay behind a real redirect of the kernel, in a namespace of the test's own.
#include "edgemesh/proxy/udp_relay.h"

#include "base/net/netns_testing.h"

namespace edgemesh {
namespace {

using namespace base::testing;
using base::IpAddr;
using base::IpPort;
using namespace std::chrono_literals;

struct Relay : ::testing::Test {
  NetNs ns;
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::SocketStore store;
  base::Metrics metrics;
  std::map<IpPort, std::vector<IpPort>> endpoints;  // by frontend
  int asked = 0;
  std::unique_ptr<UdpRelay> relay;

  void SetUp() override {
    if (!ns.ok()) GTEST_SKIP() << "needs the right to make network namespaces";
    ns.sh("ip addr add 10.50.0.1/32 dev lo; ip route add 10.96.0.0/16 dev lo src 10.50.0.1; nft -f - <<'X'\ntable ip t {\n chain out { type nat hook output priority -100;"
          " ip daddr 10.96.0.0/16 udp dport 53 dnat to 127.0.0.1:15001;\n}\n}\nX\n");
  }
  void start(size_t flows_max = 100, base::Duration idle = 1min) {
    InNs in(ns);
    UdpRelay::Hooks hooks{[this](const IpPort& frontend, const IpAddr&) {
      ++asked;
      std::vector<L4Proxy::Choice> out;
      for (const IpPort& e : endpoints[frontend]) out.push_back({e.str(), [e](L4Proxy::Resolved done) {
        if (e.port == 1) done(base::fail(base::Code::unavailable, "no export"));
        else done(e);
      }});
      return out;
    }};
    auto r = UdpRelay::start({.listen = {IpAddr::v4(0x7F000001)}, .port = 15001, .idle_timeout = idle, .flows_max = flows_max}, hooks, *loop, store, metrics);
    ASSERT_TRUE(r) << r.error().what;
    relay = std::move(*r);
  }
  // Runs f, a client, beside the relay's loop.
  void with_loop(const std::function<void()>& f) {
    std::thread client([&] {
      f();
      loop->stop();
    });
    InNs in(ns);
    loop->run();
    client.join();
  }
  // An endpoint that gives every datagram back as it came; stops at an empty one.
  std::thread mirror(const char* at) {
    std::shared_ptr<base::UniqueFd> fd;
    {
      InNs in(ns);
      fd = std::make_shared<base::UniqueFd>(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      base::testing::SockAddr a(*IpPort::parse(at));
      EXPECT_EQ(::bind(fd->get(), a.get(), a.len), 0);
    }
    return std::thread([fd] {
      std::string b(65536, 0);
      sockaddr_storage from;
      socklen_t len = sizeof from;
      for (ssize_t n; (n = ::recvfrom(fd->get(), b.data(), b.size(), 0, reinterpret_cast<sockaddr*>(&from), &len)) > 0;)
        ::sendto(fd->get(), b.data(), size_t(n), 0, reinterpret_cast<sockaddr*>(&from), len);
    });
  }
};

TEST_F(Relay, BoundariesAreKeptBothWaysAndTheServiceAnswersUnderItsAddress) {
  endpoints[*IpPort::parse("10.96.0.7:53")] = {*IpPort::parse("127.0.0.1:1"), *IpPort::parse("127.0.0.1:9000")};
  start();
  std::thread server = mirror("127.0.0.1:9000");
  std::vector<size_t> sizes;
  with_loop([&] {
    base::UniqueFd fd = open_socket(ns, true, {.udp = true});
    base::testing::SockAddr to(*IpPort::parse("10.96.0.7:53"));
    EXPECT_EQ(::connect(fd.get(), to.get(), to.len), 0) << strerror(errno);  // answers from elsewhere would not be received
    std::string out(60'000, 'x'), in(65'536, 0);
    for (size_t n : {size_t(1), size_t(1400), size_t(60'000), size_t(9)}) EXPECT_EQ(::send(fd.get(), out.data(), n, 0), ssize_t(n));
    for (int i = 0; i < 4 && wait_for(fd.get(), POLLIN, 2000); ++i) sizes.push_back(size_t(::recv(fd.get(), in.data(), in.size(), 0)));
    base::UniqueFd stop = open_socket(ns, true, {.udp = true});
    base::testing::SockAddr at(*IpPort::parse("127.0.0.1:9000"));
    ::sendto(stop.get(), "", 0, 0, at.get(), at.len);
  });
  server.join();
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 1400, 60'000, 9}));
  EXPECT_EQ(asked, 1) << "one flow is decided once";
  EXPECT_EQ(relay->flows(), 1u);
}

// Two services called from one port: the kernel gives the second flow another port, and the relay tells them apart.
TEST_F(Relay, OneClientPortTwoServices) {
  Servers servers;
  servers.add(ns, "127.0.0.1:9001", "one");
  servers.add(ns, "127.0.0.1:9002", "two");
  endpoints[*IpPort::parse("10.96.0.1:53")] = {*IpPort::parse("127.0.0.1:9001")};
  endpoints[*IpPort::parse("10.96.0.2:53")] = {*IpPort::parse("127.0.0.1:9002")};
  start();
  std::string one, two, nobody;
  with_loop([&] {
    one = call(ns, "10.96.0.1:53", {.from = "127.0.0.1", .from_port = 4000, .udp = true});
    two = call(ns, "10.96.0.2:53", {.from = "127.0.0.1", .from_port = 4000, .udp = true});
    nobody = call(ns, "10.96.0.3:53", {.udp = true, .timeout_ms = 200});
  });
  EXPECT_EQ(who(one), "one");
  EXPECT_EQ(who(two), "two");
  EXPECT_EQ(nobody, "timeout");
  EXPECT_EQ(relay->flows(), 2u);
}

TEST_F(Relay, FlowsAreBoundedAndEnd) {
  Servers servers;
  servers.add(ns, "127.0.0.1:9001", "one");
  endpoints[*IpPort::parse("10.96.0.1:53")] = {*IpPort::parse("127.0.0.1:9001")};
  start(2, 1s);
  std::vector<std::string> answers;
  with_loop([&] {
    for (int i = 0; i < 3; ++i) answers.push_back(who(call(ns, "10.96.0.1:53", {.udp = true, .timeout_ms = 300})));
    for (int i = 0; i < 80 && relay->flows(); ++i) std::this_thread::sleep_for(100ms);
    answers.push_back(who(call(ns, "10.96.0.1:53", {.udp = true})));
  });
  EXPECT_EQ(answers, (std::vector<std::string>{"one", "one", "timeout", "one"}));
}

}  // namespace
}  // namespace edgemesh
