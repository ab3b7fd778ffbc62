#include "base/kube/api_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/net/stream.h"
#include "base/net/tls_stream.h"
#include "base/sim/test_ca.h"

namespace base::kube {
namespace {

const WallTime kNow{1'750'000'000};

// A server on 127.0.0.1 whose answers are a function of the request's head; with TLS when it has a certificate.
struct ApiClientTest : testing::Test {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  TestAuthority ca{"cluster CA"}, foreign{"foreign CA"};
  std::shared_ptr<const TlsContext> tls;
  std::vector<std::string> heads;
  std::function<void(Stream&, const std::string& head)> on_request;
  std::vector<std::unique_ptr<Stream>> connections;
  std::unique_ptr<Listener> listener;
  ApiAccess access;
  std::unique_ptr<ApiClient> client;
  std::string log;
  std::unique_ptr<Timer> later;

  void SetUp() override {
    listener = std::make_unique<Listener>(*loop, tcp_listen({*IpAddr::parse("127.0.0.1"), 0}).value(), [this](UniqueFd fd) { accept(std::move(fd)); });
    access.server = {false, "127.0.0.1", listener->address()->port, ""};
    client = make_api_client(*loop, {.access = [this] { return Result<ApiAccess>(access); }, .wall = [] { return kNow; }, .connect_within = 300ms});
  }
  void accept(UniqueFd fd) {
    auto s = make_stream(*loop, std::move(fd));
    if (tls) s = make_tls_stream(*loop, std::move(s), tls, {.role = TlsRole::server, .verify_at = kNow, .handshake_within = 200ms});
    Stream* raw = s.get();
    connections.push_back(std::move(s));
    raw->start({.on_data = [this, raw](Buffer& in) {
      const size_t end = in.text().find("\r\n\r\n");
      if (end == in.text().npos) return;
      heads.emplace_back(in.text().substr(0, end));
      in.consume(end + 4);
      if (on_request) on_request(*raw, heads.back());
    }});
  }
  void serve_tls(const char* san, bool want_client_certificate = false) {
    auto leaf = ca.issue({.name = "api", .san = san});
    tls = TlsContext::make({.certificate_pem = leaf.certificate_pem, .key_pem = leaf.key_pem, .ca_pem = ca.pem(),
                            .require_client_certificate = want_client_certificate, .alpn = {"http/1.1"}}).value();
    access.server.tls = true;
    access.ca.text = ca.pem();
  }
  std::unique_ptr<ApiCall> get(const std::string& target) {
    return client->get(target, {.on_head = [this](int s, const Headers&) { log += std::to_string(s) + " "; },
                                .on_body = [this](std::string_view b) { log += std::string(b) + "|"; },
                                .on_end = [this](const Result<void>& r) { log += r ? "end " : r.error().what + " "; loop->stop(); }});
  }
  std::string run(const std::string& target) {
    log.clear();
    auto call = get(target);
    run_for(2s);
    return log;
  }
  void run_for(Duration d) {
    auto t = loop->timer([this] { loop->stop(); });
    t->arm(d);
    loop->run();
  }
  static void ok(Stream& s, const std::string&) { s.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"); }
};

TEST_F(ApiClientTest, AnswersArriveInPiecesAndTheConnectionIsKept) {
  on_request = [this](Stream& s, const std::string&) {
    s.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    later = loop->timer([&s] { s.write("2\r\nde\r\n0\r\n\r\n"); });
    later->arm(20ms);
  };
  EXPECT_EQ(run("/a?b=c"), "200 abc|de|end ");
  EXPECT_TRUE(heads[0].starts_with("GET /a?b=c HTTP/1.1\r\n")) << heads[0];
  EXPECT_NE(heads[0].find("Host: 127.0.0.1:"), std::string::npos);
  EXPECT_NE(heads[0].find("Accept: application/json"), std::string::npos);
  EXPECT_EQ(run("/b"), "200 abc|de|end ");
  EXPECT_EQ(connections.size(), 1u);
}

TEST_F(ApiClientTest, DropsAndHalfAnswersAreErrors) {
  on_request = [](Stream& s, const std::string&) { s.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"); s.end(); };
  EXPECT_NE(run("/").find("200 abc|http://127.0.0.1:"), std::string::npos) << log;
  EXPECT_NE(log.find("closed in the middle of an answer"), std::string::npos) << log;
  on_request = [](Stream& s, const std::string&) { s.end(); };
  EXPECT_NE(run("/").find("closed before an answer"), std::string::npos) << log;
  on_request = [](Stream& s, const std::string&) { s.write("SSH-2.0-x\r\n"); };
  EXPECT_NE(run("/").find("malformed status line"), std::string::npos) << log;
  listener.reset();
  EXPECT_NE(run("/").find("refused"), std::string::npos) << log;
}

TEST_F(ApiClientTest, ADroppedCallIsSilentAlsoFromItsOwnCallback) {
  on_request = ok;
  auto early = get("/");
  early.reset();
  std::unique_ptr<ApiCall> call = client->get("/", {.on_head = [&](int, const Headers&) { log += "head "; call.reset(); },
                                                    .on_body = [&](std::string_view) { log += "body "; },
                                                    .on_end = [&](const Result<void>&) { log += "end "; }});
  run_for(100ms);
  EXPECT_EQ(log, "head ");
}

TEST_F(ApiClientTest, TheTokenFileIsReadAnew) {
  on_request = ok;
  char dir[] = "/tmp/apiclient.XXXXXX";
  ASSERT_NE(mkdtemp(dir), nullptr);
  access.token.file = std::string(dir) + "/token";
  ASSERT_TRUE(write_file_atomic(access.token.file, "one\n", 0600));
  run("/");
  ASSERT_TRUE(write_file_atomic(access.token.file, "two\n", 0600));
  run("/");
  ::unlink(access.token.file.c_str());
  ::rmdir(dir);
  EXPECT_NE(heads[0].find("Authorization: Bearer one"), std::string::npos);
  EXPECT_NE(heads[1].find("Authorization: Bearer two"), std::string::npos);
  EXPECT_NE(run("/").find("/token"), std::string::npos) << "a missing token file is named: " << log;
}

TEST_F(ApiClientTest, TheServerIsVerifiedByAuthorityAndName) {
  serve_tls("IP:127.0.0.1,DNS:kubernetes");
  on_request = ok;
  EXPECT_EQ(run("/"), "200 hi|end ");
  access.server_name = "kubernetes";
  client = make_api_client(*loop, {.access = [this] { return Result<ApiAccess>(access); }, .wall = [] { return kNow; }, .connect_within = 300ms});
  EXPECT_EQ(run("/"), "200 hi|end ");
  access.server_name = "elsewhere";
  client = make_api_client(*loop, {.access = [this] { return Result<ApiAccess>(access); }, .wall = [] { return kNow; }, .connect_within = 300ms});
  EXPECT_NE(run("/").find("refused"), std::string::npos) << log;
  access.server_name.clear();
  access.ca.text = foreign.pem();
  EXPECT_NE(run("/").find("another CA"), std::string::npos) << log;
  access.skip_verify = true;
  EXPECT_EQ(run("/"), "200 hi|end ");
}

TEST_F(ApiClientTest, OnlyAVerifiedServerTellsTheTime) {
  WallTime told;
  client = make_api_client(*loop, {.access = [this] { return Result<ApiAccess>(access); }, .wall = [] { return kNow; },
                                   .on_time = [&](WallTime t) { told = t; }, .connect_within = 300ms});
  on_request = [](Stream& s, const std::string&) { s.write("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nhi"); };
  EXPECT_EQ(run("/"), "200 hi|end ");
  EXPECT_EQ(told, WallTime{}) << "by anybody on the way";
  serve_tls("IP:127.0.0.1");
  access.skip_verify = true;
  EXPECT_EQ(run("/"), "200 hi|end ");
  EXPECT_EQ(told, WallTime{});
  access.skip_verify = false;
  EXPECT_EQ(run("/"), "200 hi|end ");
  EXPECT_EQ(told, WallTime{784111777});
}

TEST_F(ApiClientTest, AClientCertificateThatIsRenewedIsShown) {
  serve_tls("IP:127.0.0.1", true);
  on_request = ok;
  EXPECT_EQ(run("/").find("200"), std::string::npos) << log;
  auto leaf = ca.issue({.name = "edgemeshd"});
  access.certificate.text = leaf.certificate_pem;
  access.key.text = leaf.key_pem;
  EXPECT_EQ(run("/"), "200 hi|end ");
}

TEST_F(ApiClientTest, NamesAreLookedUp) {
  on_request = ok;
  access.server.host = "localhost";
  EXPECT_EQ(run("/"), "200 hi|end ");
  access.server.host = "no-such-host.invalid";
  heads.clear();
  client = make_api_client(*loop, {.access = [this] { return Result<ApiAccess>(access); }, .wall = [] { return kNow; }, .connect_within = 300ms});
  EXPECT_NE(run("/").find("no-such-host.invalid"), std::string::npos) << log;
}

}  // namespace
}  // namespace base::kube
