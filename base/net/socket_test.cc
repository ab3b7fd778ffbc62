#include "base/net/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace base {
namespace {

const IpPort kAny4{IpAddr::v4(0x7f000001), 0};
const IpPort kAny6{IpAddr::parse("::1").value(), 0};

bool wait_for(int fd, short what) {
  pollfd p{fd, what, 0};
  return poll(&p, 1, 2000) == 1;
}

TEST(SockAddr, RoundTripsBothFamilies) {
  for (const char* s : {"10.1.2.3:53", "[fd00::1]:65535"}) EXPECT_EQ(SockAddr(*IpPort::parse(s)).ip_port()->str(), s);
  EXPECT_FALSE(SockAddr().ip_port());
}

TEST(Socket, UdpSaysWhoHoldsThePort) {
  for (const IpPort& any : {kAny4, kAny6}) {
    auto a = udp_socket(any);
    ASSERT_TRUE(a) << a.error().what;
    IpPort at = local_address(a->get()).value();
    EXPECT_NE(at.port, 0);
    EXPECT_TRUE(fcntl(a->get(), F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(a->get(), F_GETFD) & FD_CLOEXEC);
    auto b = udp_socket(at);
    ASSERT_FALSE(b);
    EXPECT_EQ(b.error().code, Code::exists);
    EXPECT_EQ(b.error().what, at.str() + "/udp: bind: Address already in use: another program holds it (ss -lunp 'sport = :" +
                                  std::to_string(at.port) + "')");
  }
}

TEST(Socket, ErrorsNameTheMend) {
  auto e = socket_failure(EADDRINUSE, *IpPort::parse("127.0.0.1:53"), "udp", "bind");
  EXPECT_EQ(e.what, "127.0.0.1:53/udp: bind: Address already in use: another DNS server runs there (ss -lunp 'sport = :53')");
  auto far = udp_socket(*IpPort::parse("203.0.113.1:5"));
  ASSERT_FALSE(far);
  EXPECT_NE(far.error().what.find("no interface has this address"), std::string::npos) << far.error().what;
  EXPECT_TRUE(udp_socket(*IpPort::parse("203.0.113.1:5005"), {.freebind = true}));
}

TEST(Socket, ReusePortSharesAPort) {
  auto a = udp_socket(kAny4, {.reuse_port = true});
  ASSERT_TRUE(a);
  EXPECT_TRUE(udp_socket(*local_address(a->get()), {.reuse_port = true}));
}

TEST(Socket, TcpConnectsAndIsAccepted) {
  for (const IpPort& any : {kAny4, kAny6}) {
    auto l = tcp_listen(any);
    ASSERT_TRUE(l) << l.error().what;
    auto none = accept_one(l->get());
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Code::unavailable);
    IpPort at = *local_address(l->get());
    auto c = tcp_connect_start(at, {.source = IpPort{any.ip, 0}});
    ASSERT_TRUE(c) << c.error().what;
    ASSERT_TRUE(wait_for(c->get(), POLLOUT) && wait_for(l->get(), POLLIN));
    EXPECT_TRUE(socket_error(c->get(), "x"));
    IpPort peer;
    auto s = accept_one(l->get(), &peer);
    ASSERT_TRUE(s);
    EXPECT_EQ(peer, *local_address(c->get()));
    EXPECT_EQ(*peer_address(s->get()), *local_address(c->get()));
    EXPECT_EQ(*peer_address(c->get()), at);
    EXPECT_FALSE(original_destination(s->get()) && *original_destination(s->get()) != at);
  }
}

TEST(Socket, ADeferredConnectionIsShownWithItsFirstData) {
  auto l = tcp_listen(kAny4);
  ASSERT_TRUE(l);
  set_defer_accept(l->get(), std::chrono::seconds(30));
  set_tcp_nodelay(l->get());
  auto c = tcp_connect_start(*local_address(l->get()));
  ASSERT_TRUE(c && wait_for(c->get(), POLLOUT));
  EXPECT_FALSE(accept_one(l->get()));
  ASSERT_EQ(::send(c->get(), "x", 1, 0), 1);
  ASSERT_TRUE(wait_for(l->get(), POLLIN));
  auto s = accept_one(l->get());
  ASSERT_TRUE(s);
  char b[2];
  EXPECT_EQ(::recv(s->get(), b, sizeof b, MSG_DONTWAIT), 1);
  int on = 0;
  socklen_t len = sizeof on;
  EXPECT_EQ(::getsockopt(s->get(), IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
  EXPECT_TRUE(on) << "what the listener says holds for what it accepts";
}

TEST(Socket, ARefusedConnectSaysSo) {
  IpPort at;
  {
    auto l = tcp_listen(kAny4);
    at = *local_address(l->get());
  }
  auto c = tcp_connect_start(at);
  ASSERT_TRUE(c);
  ASSERT_TRUE(wait_for(c->get(), POLLOUT));
  auto e = socket_error(c->get(), at.str());
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().code, Code::unavailable);
  EXPECT_EQ(e.error().what, at.str() + ": Connection refused");
}

// In a child with a network of its own: a connection to `wanted` is redirected to our port; we still learn what was wanted.
std::string redirected(const char* listen_on, const char* family, const char* wanted) {
  if (unshare(CLONE_NEWNET) != 0) return "no right to make a network namespace";
  if (system("ip link set lo up") != 0) return "ip";
  auto l = tcp_listen(*IpPort::parse(listen_on));
  IpPort to = *IpPort::parse(wanted);
  std::string rules = fmt::format("nft 'add table {0} t; add chain {0} t o {{ type nat hook output priority -100; }}; "
                                  "add rule {0} t o tcp dport {1} redirect to :7000'", family, to.port);
  if (!l || system(rules.c_str()) != 0) return "setup";
  auto c = tcp_connect_start(to);
  if (!c || !wait_for(l->get(), POLLIN)) return "no connection";
  auto s = accept_one(l->get());
  auto d = original_destination(s->get());
  return d ? d->str() : d.error().what;
}

TEST(Socket, ARedirectedConnectionTellsItsOriginalDestination) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for a network namespace";
  struct { const char *listen_on, *family, *wanted; } cases[] = {{"127.0.0.1:7000", "ip", "127.0.0.9:80"}, {"[::1]:7000", "ip6", "[::1]:80"}};
  for (auto& k : cases) {
    pid_t child = fork();
    if (child == 0) {
      std::string got = redirected(k.listen_on, k.family, k.wanted);
      if (got != k.wanted) fprintf(stderr, "%s instead of %s\n", got.c_str(), k.wanted);
      _exit(got == k.wanted ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << k.wanted;
  }
}

struct UnixSocket : testing::Test {
  char dir[32] = "/tmp/em_socket_XXXXXX";
  std::string path;
  UnixSocket() { path = std::string(mkdtemp(dir)) + "/s"; }
  ~UnixSocket() override {
    unlink(path.c_str());
    rmdir(dir);
  }
};

TEST_F(UnixSocket, ListensWithItsModeAndKnowsItsPeer) {
  auto l = unix_listen(path, 0600);
  ASSERT_TRUE(l) << l.error().what;
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  auto c = unix_connect_start(path);
  ASSERT_TRUE(c);
  auto s = accept_one(l->get());
  ASSERT_TRUE(s);
  auto who = peer_credentials(s->get());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->pid, getpid());
  EXPECT_EQ(who->uid, getuid());
}

TEST_F(UnixSocket, ReplacesTheDeadNeverTheLiving) {
  auto first = unix_listen(path, 0600);
  ASSERT_TRUE(first);
  auto second = unix_listen(path, 0600);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::exists);
  first->reset();
  EXPECT_FALSE(unix_connect_start(path));
  EXPECT_TRUE(unix_listen(path, 0600));
}

TEST_F(UnixSocket, LeavesFilesAlone) {
  close(open(path.c_str(), O_CREAT | O_WRONLY, 0600));
  auto l = unix_listen(path, 0600);
  ASSERT_FALSE(l);
  EXPECT_NE(l.error().what.find("not a socket"), std::string::npos);
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  EXPECT_FALSE(unix_listen(std::string(200, 'x'), 0600));
}

}  // namespace
}  // namespace base
