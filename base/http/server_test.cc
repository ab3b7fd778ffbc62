#include "base/http/server.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/http/client.h"
#include "base/net/stream.h"

namespace base {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string t = (std::filesystem::temp_directory_path() / "em-http-XXXXXX").string();
    dir_ = ::mkdtemp(t.data());
    path_ = dir_ + "/s";
  }
  ~ServerTest() override { std::filesystem::remove_all(dir_); }

  void serve(HttpServer::Options o = {}) {
    server_ = HttpServer::make(*loop_, unix_listen(path_, 0600).value(), [this](const Request& r, const HttpPeer& p, HttpServer::Respond respond) {
      if (p.credentials) uid_ = int(p.credentials->uid);
      if (r.path() == "/later") {
        later_ = loop_->timer([respond] { respond(Response::text(200, "later")); });
        later_->arm(10ms);
        if (on_later_) on_later_();
      } else if (r.path() == "/never") {
        never_ = respond;
      } else {
        respond(Response::text(200, r.method + " " + r.target + " " + r.body));
      }
    }, o);
  }

  Result<Response> call(Request r, Duration deadline = 2s) {
    Result<Response> out = fail(Code::timeout, "not called");
    auto c = http_call(*loop_, UnixPath{path_}, r, deadline, [&](Result<Response> x) { out = std::move(x), loop_->stop(); });
    loop_->run();
    return out;
  }

  // Sends raw bytes; gives everything until the server closes.
  std::string raw(std::string_view wire, bool end = false) {
    std::string out;
    auto stream = connect_unix(*loop_, path_, 2s).value();
    stream->start({.on_data = [&](Buffer& in) { out += in.text(), in.clear(); },
                   .on_end = [&] { loop_->stop(); },
                   .on_closed = [&](auto&) { loop_->stop(); }});
    stream->write(wire);
    if (end) stream->end();
    loop_->run();
    return out;
  }

  std::string dir_, path_;
  std::unique_ptr<Loop> loop_ = make_libevent_loop();
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Timer> later_;
  std::function<void()> on_later_;
  HttpServer::Respond never_;
  int uid_ = -1;
};

TEST_F(ServerTest, AnswersAndKnowsWhoAsks) {
  serve();
  auto r = call({"POST", "/a?b", {}, "body"});
  ASSERT_TRUE(r) << r.error().what;
  EXPECT_EQ(r->body, "POST /a?b body");
  EXPECT_EQ(uid_, int(::getuid()));
}

TEST_F(ServerTest, LateAnswersArrive) {
  serve();
  EXPECT_EQ(call({"GET", "/later", {}, ""})->body, "later");
}

TEST_F(ServerTest, LargeBodiesPassBothWays) {
  serve({.body_bytes_max = 4 << 20});
  std::string big(3 << 20, 'x');
  auto r = call({"POST", "/", {}, big});
  ASSERT_TRUE(r) << r.error().what;
  EXPECT_EQ(r->body.size(), big.size() + 7);
}

TEST_F(ServerTest, KeepsAliveAnswersPipelinedRequestsInOrderAndClosesWhenAsked) {
  serve();
  auto all = raw("GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  auto one = all.find("later"), two = all.find("GET /2");
  ASSERT_NE(one, std::string::npos);
  ASSERT_NE(two, std::string::npos);
  EXPECT_LT(one, two);
}

TEST_F(ServerTest, BadRequestsGetTheirStatusAndAreClosed) {
  serve({.body_bytes_max = 10});
  EXPECT_TRUE(raw("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(raw("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "));
}

TEST_F(ServerTest, SlowRequestsAndSilentHandlersAreEnded) {
  serve({.idle = 5s, .request = 30ms, .answer = 30ms});
  EXPECT_TRUE(raw("GET / HTTP/1.1\r\nHo").starts_with("HTTP/1.1 408 "));
  EXPECT_EQ(call({"GET", "/never", {}, ""})->status, 503);
  never_(Response::text(200, "too late"));
}

TEST_F(ServerTest, ConnectionsAreBounded) {
  serve({.connections_max = 1, .idle = 5s});
  auto idle = connect_unix(*loop_, path_, 2s).value();
  idle->start({});
  auto r = call({"GET", "/", {}, ""});
  EXPECT_FALSE(r);
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(ServerTest, APeerThatFinishedSendingStillGetsItsAnswers) {
  serve();
  auto all = raw("GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n", true);
  EXPECT_NE(all.find("later"), std::string::npos);
  EXPECT_NE(all.find("GET /2"), std::string::npos);
  EXPECT_EQ(raw("", true), "");
  EXPECT_EQ(raw("GET / HT", true), "");
}

// Answers beyond the high-water mark wait for the peer to read; the requests stay in the socket.
TEST_F(ServerTest, APeerThatDoesNotReadIsAskedNothingMore) {
  int asked = 0;
  server_ = HttpServer::make(*loop_, unix_listen(path_, 0600).value(), [&](const Request&, const HttpPeer&, HttpServer::Respond respond) {
    asked++;
    respond(Response::text(200, std::string(1 << 20, 'x')));
  });
  auto stream = connect_unix(*loop_, path_, 2s).value();
  size_t got = 0;
  stream->start({.on_data = [&](Buffer& in) { got += in.size(), in.clear(); }});
  stream->pause();
  for (int i = 0; i < 30; i++) stream->write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  auto later = loop_->timer([&] { loop_->stop(); });
  later->arm(50ms);
  loop_->run();
  EXPECT_GE(asked, 1);
  EXPECT_LE(asked, 3);
  stream->resume();
  std::unique_ptr<Timer> poll = loop_->timer([&] { got > (30u << 20) ? loop_->stop() : poll->arm(2ms); });
  poll->arm(2ms);
  later->arm(5s);
  loop_->run();
  EXPECT_EQ(asked, 30);
  EXPECT_GT(got, 30u << 20);
}

TEST_F(ServerTest, ClientErrorsNameThePlace) {
  auto r = call({"GET", "/", {}, ""});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find(path_), std::string::npos) << r.error().what;
  serve();
  r = call({"GET", "/never", {}, ""}, 30ms);
  EXPECT_EQ(r.error().code, Code::timeout);
}

TEST_F(ServerTest, DrainFinishesWhatIsOwed) {
  serve();
  auto drain = loop_->timer([&] { server_->drain(); });
  on_later_ = [&] { drain->arm(1ms); };
  auto answer = call({"GET", "/later", {}, ""});
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->body, "later");
  EXPECT_FALSE(call({"GET", "/", {}, ""}, 50ms));
}

}  // namespace
}  // namespace base
