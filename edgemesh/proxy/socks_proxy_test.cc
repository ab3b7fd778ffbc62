#include "edgemesh/proxy/socks_proxy.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/core/file.h"
#include "base/net/socket.h"
#include "edgemesh/proxy/socks_message.h"

namespace edgemesh {
namespace {

using base::Code;
using base::IpPort;
using base::UniqueFd;
using namespace std::chrono_literals;
using namespace std::string_literals;
using State = SocksDialogue::State;

const std::string kHello = "\x05\x01\x00"s, kHelloLogin = "\x05\x02\x00\x02"s;
std::string connect_to(const std::string& name, uint16_t port) {
  return "\x05\x01\x00\x03"s + char(name.size()) + name + char(port >> 8) + char(port);
}
std::string login(const std::string& name, const std::string& password) {
  return "\x01"s + char(name.size()) + name + char(password.size()) + password;
}

// Feeds as a socket would, never more than is wanted; -> what was said, and in `left` what was not taken.
std::string talk(SocksDialogue& d, std::string_view bytes, std::string* left = nullptr) {
  std::string said;
  while (d.wants() && !bytes.empty()) {
    const size_t n = std::min(d.wants(), bytes.size());
    d.feed(base::as_bytes(bytes.substr(0, n)));
    bytes.remove_prefix(n);
    said += d.take_reply();
  }
  if (left) *left = std::string(bytes);
  return said;
}

// ---- RFC 1928 and 1929

TEST(SocksDialogue, ANameIsReadAndWhatFollowsStaysInTheSocket) {
  SocksDialogue d({});
  std::string left;
  EXPECT_EQ(talk(d, kHello + connect_to("Node-B.", 22) + "SSH-2.0-x", &left), "\x05\x00"s);
  EXPECT_EQ(d.state(), State::requested);
  EXPECT_EQ(d.target().name, "node-b");
  EXPECT_EQ(d.target().address.port, 22);
  EXPECT_EQ(left, "SSH-2.0-x");
}

TEST(SocksDialogue, AddressesOfBothFamiliesAndAddressesWrittenAsNames) {
  for (auto& [request, want] : {std::pair("\x05\x01\x00\x01\x0a\x60\x00\x07\x00\x50"s, "10.96.0.7:80"),
                                {"\x05\x01\x00\x04"s + "\xfd\x96"s + std::string(13, 0) + "\x07\x00\x50"s, "[fd96::7]:80"},
                                {connect_to("10.96.0.7", 80), "10.96.0.7:80"}}) {
    SocksDialogue d({});
    talk(d, kHello + request);
    EXPECT_EQ(d.state(), State::requested);
    EXPECT_EQ(d.target().name, "");
    EXPECT_EQ(d.target().address.str(), want);
  }
}

TEST(SocksDialogue, ALoginIsAskedForAndJudged) {
  auto right = [](std::string_view n, std::string_view p) { return n == "me" && p == "secret"; };
  SocksDialogue good(right);
  EXPECT_EQ(talk(good, kHelloLogin + login("me", "secret") + connect_to("b", 22)), "\x05\x02\x01\x00"s);
  EXPECT_EQ(good.state(), State::requested);
  for (const std::string& wrong : {login("me", "Secret"), login("", ""), login("you", "secret")}) {
    SocksDialogue d(right);
    EXPECT_EQ(talk(d, kHelloLogin + wrong + connect_to("b", 22)), "\x05\x02\x01\x01"s);
    EXPECT_EQ(d.state(), State::refused);
    EXPECT_TRUE(d.login_failed());
  }
  SocksDialogue without(right);
  EXPECT_EQ(talk(without, kHello + connect_to("b", 22)), "\x05\xff"s) << "a client that cannot log in";
  EXPECT_TRUE(without.login_failed());
}

TEST(SocksDialogue, OtherCommandsTypesAndProtocolsAreRefusedWithTheirCode) {
  auto code = [](const std::string& request) {
    SocksDialogue d({});
    std::string said = talk(d, kHello + request);
    EXPECT_EQ(d.state(), State::refused);
    return said.size() > 3 ? int(said[3]) : -1;
  };
  EXPECT_EQ(code("\x05\x02\x00\x01\x0a\x60\x00\x07\x00\x50"s), int(SocksCode::no_such_command));
  EXPECT_EQ(code("\x05\x03\x00\x01\x0a\x60\x00\x07\x00\x50"s), int(SocksCode::no_such_command));
  EXPECT_EQ(code("\x05\x01\x00\x02"s), int(SocksCode::no_such_address_type));
  EXPECT_EQ(code(connect_to("a\nb", 22)), int(SocksCode::host_unreachable));
  EXPECT_EQ(code(connect_to("b", 0)), int(SocksCode::refused));
  SocksDialogue http({});
  EXPECT_EQ(talk(http, "GET / HTTP/1.1\r\n"), "");
  EXPECT_EQ(http.state(), State::refused);
}

TEST(SocksMessage, AnAnswerCarriesTheAddress) {
  EXPECT_EQ(socks_answer(SocksCode::granted, *IpPort::parse("10.0.0.1:258")), "\x05\x00\x00\x01\x0a\x00\x00\x01\x01\x02"s);
  EXPECT_EQ(socks_answer(SocksCode::refused), "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"s);
  EXPECT_EQ(socks_answer(SocksCode::granted, *IpPort::parse("[::1]:1")).size(), 22u);
}

// ---- users

TEST(SocksUsers, LinesOfNameAndPassword) {
  auto u = SocksUsers::parse("# people\nme:se:cret\r\n\nyou:x\n", "users");
  ASSERT_TRUE(u) << u.error().what;
  EXPECT_EQ(u->size(), 2u);
  EXPECT_TRUE(u->admits("me", "se:cret"));
  EXPECT_FALSE(u->admits("me", "x") || u->admits("you", "") || u->admits("nobody", "x") || u->admits("", ""));
}

TEST(SocksUsers, MistakesNameTheirLine) {
  for (auto& [text, want] : {std::pair("me\n", "users:1: is not"),
                             {"me:x\n:y\n", "users:2: is not"},
                             {"me:\n", "users:1: is not"},
                             {"me:x\nme:y\n", "users:2: \"me\" is there twice"},
                             {"# none\n", "users: has no users"}}) {
    auto u = SocksUsers::parse(text, "users");
    ASSERT_FALSE(u) << text;
    EXPECT_EQ(u.error().what.find(want), 0u) << u.error().what;
  }
}

TEST(SocksUsers, AFileThatOthersMayReadIsRefused) {
  const std::string path = ::testing::TempDir() + "/socks-users";
  ASSERT_TRUE(base::write_file_atomic(path, "me:x\n", 0644));
  auto open = SocksUsers::read(path);
  ASSERT_FALSE(open);
  EXPECT_NE(open.error().what.find("chmod 0600"), std::string::npos) << open.error().what;
  ::chmod(path.c_str(), 0600);
  EXPECT_TRUE(SocksUsers::read(path));
  ::unlink(path.c_str());
}

// ---- the server

UniqueFd dial(const IpPort& at) {
  base::SockAddr to(at);
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval patience{20, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(::connect(fd.get(), to.ptr(), to.len), 0) << at.str();
  return fd;
}
void send_all(int fd, const std::string& s) { EXPECT_EQ(::send(fd, s.data(), s.size(), MSG_NOSIGNAL), ssize_t(s.size())); }
std::string read_n(int fd, size_t n) {
  std::string out;
  char b[256];
  while (out.size() < n) {
    const ssize_t got = ::recv(fd, b, std::min(sizeof b, n - out.size()), 0);
    if (got <= 0) break;
    out.append(b, size_t(got));
  }
  return out;
}

struct Server {
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::SocketStore store;
  base::Metrics metrics;
  UniqueFd target = std::move(*base::tcp_listen({*base::IpAddr::parse("127.0.0.1"), 0}));
  std::map<std::string, std::function<void(SocksProxy::Resolved)>> names;
  std::weak_ptr<void> held;
  std::unique_ptr<SocksProxy> proxy;
  std::thread thread;

  explicit Server(std::optional<SocksUsers> users = std::nullopt, SocksProxy::Config c = {}) {
    c.listen = {*base::IpAddr::parse("127.0.0.1"), 0};
    SocksProxy::Hooks hooks{[this](const SocksTarget& t, const base::IpAddr&) -> SocksProxy::Ways {
      auto it = names.find(t.name);
      if (it == names.end()) return {{}, SocksCode::host_unreachable, "unknown"};
      return {{{t.name, it->second}}, SocksCode::failure, ""};
    }};
    names["echo"] = [this](SocksProxy::Resolved done) {
      auto hold = std::make_shared<int>(1);
      held = hold;
      done(SocksProxy::Place{*base::local_address(target.get()), hold});
    };
    auto p = SocksProxy::start(c, std::move(users), std::move(hooks), *loop, store, metrics);
    EXPECT_TRUE(p) << p.error().what;
    proxy = std::move(*p);
  }
  void fails(const char* name, Code code) {
    names[name] = [code](SocksProxy::Resolved done) { done(base::fail(code, "as the test wants")); };
  }
  UniqueFd client() {  // of the running server
    if (!thread.joinable()) thread = std::thread([this] { loop->run(); });
    return dial(proxy->listening());
  }
  int code(const std::string& name) {
    UniqueFd c = client();
    send_all(c.get(), kHello + connect_to(name, 22));
    const std::string answer = read_n(c.get(), 12);
    return answer.size() == 12 ? int(uint8_t(answer[3])) : -1;
  }
  UniqueFd accepted() {
    pollfd p{target.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&p, 1, 20'000), 1);
    return UniqueFd(::accept(target.get(), nullptr, nullptr));
  }
  void stop() {
    if (!thread.joinable()) return;
    loop->stop();
    thread.join();
  }
  ~Server() { stop(); }
  int64_t count(const char* answer) {
    return int64_t(metrics.counter("edgemeshd_socks5_requests_total", "", {{"answer", answer}}).value());
  }
};

TEST(SocksProxy, BytesGoBothWaysAndWhatTheClientSentEarlyIsNotLost) {
  Server s;
  UniqueFd client = s.client();
  send_all(client.get(), kHello + connect_to("echo", 22) + "early ");
  UniqueFd server = s.accepted();
  EXPECT_EQ(read_n(client.get(), 12).substr(0, 6), "\x05\x00\x05\x00\x00\x01"s);
  send_all(client.get(), "late");
  EXPECT_EQ(read_n(server.get(), 10), "early late");
  send_all(server.get(), "answer");
  EXPECT_EQ(read_n(client.get(), 6), "answer");
  EXPECT_FALSE(s.held.expired()) << "what makes the address reachable is kept";
  client.reset();
  EXPECT_EQ(read_n(server.get(), 1), "") << "the end is passed on";
  server.reset();
  for (int i = 0; i < 2000 && !s.held.expired(); i++) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(s.held.expired());
  s.stop();
  EXPECT_EQ(s.count("granted"), 1);
  EXPECT_EQ(s.proxy->connections(), 0u);
}

TEST(SocksProxy, EveryFailureHasItsCode) {
  Server s({}, {.connect_timeout = 500ms});
  s.fails("closed-to-us", Code::denied);
  s.fails("unknown-there", Code::not_found);
  s.fails("no-session", Code::timeout);
  s.fails("trouble", Code::io);
  UniqueFd nobody = std::move(*base::tcp_listen({*base::IpAddr::parse("127.0.0.1"), 0}));
  const IpPort dead = *base::local_address(nobody.get());
  nobody.reset();
  s.names["dead"] = [&](SocksProxy::Resolved done) { done(SocksProxy::Place{dead, nullptr}); };
  s.names["forever"] = [](SocksProxy::Resolved) {};
  UniqueFd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // a queue of one, and it is taken: further SYNs are not answered
  base::SockAddr any(IpPort{*base::IpAddr::parse("127.0.0.1"), 0});
  ASSERT_EQ(::bind(full.get(), any.ptr(), any.len), 0);
  ASSERT_EQ(::listen(full.get(), 0), 0);
  const IpPort silent = *base::local_address(full.get());
  UniqueFd taker = dial(silent);
  s.names["silent"] = [&](SocksProxy::Resolved done) { done(SocksProxy::Place{silent, nullptr}); };

  EXPECT_EQ(s.code("nowhere"), int(SocksCode::host_unreachable));
  EXPECT_EQ(s.code("unknown-there"), int(SocksCode::host_unreachable));
  EXPECT_EQ(s.code("closed-to-us"), int(SocksCode::not_allowed));
  EXPECT_EQ(s.code("no-session"), int(SocksCode::network_unreachable));
  EXPECT_EQ(s.code("forever"), int(SocksCode::network_unreachable));
  EXPECT_EQ(s.code("trouble"), int(SocksCode::failure));
  EXPECT_EQ(s.code("dead"), int(SocksCode::refused));
  EXPECT_EQ(s.code("silent"), int(SocksCode::expired));
  s.stop();
  EXPECT_EQ(s.count("network_unreachable"), 2);
  EXPECT_EQ(s.count("expired"), 1);
}

TEST(SocksProxy, AWrongPasswordIsAnsweredLateARightOneAtOnce) {
  Server s(*SocksUsers::parse("me:right\n", "users"));
  auto ask = [&](const std::string& password) {
    UniqueFd c = s.client();
    send_all(c.get(), kHelloLogin + login("me", password) + connect_to("echo", 22));
    return read_n(c.get(), 4);
  };
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("wrong"), "\x05\x02\x01\x01"s);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 900ms);
  EXPECT_EQ(ask("right"), "\x05\x02\x01\x00"s);
  UniqueFd without = s.client();
  send_all(without.get(), kHello);
  EXPECT_EQ(read_n(without.get(), 3), "\x05\xff"s);
  s.stop();
  EXPECT_EQ(s.metrics.counter("edgemeshd_socks5_logins_refused_total", "").value(), 2u);
}

TEST(SocksProxy, BeyondTheLimitClientsAreClosedAtOnce) {
  Server s({}, {.connections_max = 2});
  UniqueFd a = s.client(), b = s.client();
  send_all(a.get(), kHello);
  send_all(b.get(), kHello);
  EXPECT_EQ(read_n(a.get(), 2) + read_n(b.get(), 2), "\x05\x00\x05\x00"s);
  UniqueFd c = s.client();
  EXPECT_EQ(read_n(c.get(), 1), "");
  a.reset();
  for (int i = 0; i < 400; i++) {  // until the place is free
    UniqueFd d = s.client();
    send_all(d.get(), kHello);
    if (read_n(d.get(), 2).size() == 2) return;
    std::this_thread::sleep_for(50ms);
  }
  FAIL() << "a place that became free is not given to the next";
}

}  // namespace
}  // namespace edgemesh
