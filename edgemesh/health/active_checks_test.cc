// Probes against real servers on loopback: what each answer is taken for, and how they are spread.
#include "edgemesh/health/active_checks.h"

#include <gtest/gtest.h>

#include "base/core/limits.h"
#include "base/net/socket.h"
#include "base/net/stream.h"

namespace edgemesh {
namespace {

using namespace std::chrono_literals;
using base::IpPort;
using Kind = ProbeOutcome::Kind;

constexpr auto kPatience = 20s;  // a machine may be slow; nothing here waits so long otherwise

// Takes connections and says the same to each of them: "" nothing at all.
struct Server {
  std::unique_ptr<base::Listener> listener;
  IpPort at;
  std::string answer;
  std::string heard;
  int connections = 0;
  size_t open = 0, most_open = 0;
  bool closes = false;
  std::vector<std::unique_ptr<base::Stream>> streams;

  explicit Server(base::Loop& loop, std::string says = "") : answer(std::move(says)) {
    auto fd = base::tcp_listen(*IpPort::parse("127.0.0.1:0"));
    at = *base::local_address(fd->get());
    listener = std::make_unique<base::Listener>(loop, std::move(*fd), [this, &loop](base::UniqueFd c) { on_accept(loop, std::move(c)); });
  }
  void on_accept(base::Loop& loop, base::UniqueFd c) {
    connections++;
    most_open = std::max(most_open, ++open);
    if (closes) return void(open--);
    streams.push_back(base::make_stream(loop, std::move(c)));
    base::Stream* s = streams.back().get();
    s->start({.on_connected = {},
              .on_data =
                  [this, s](base::Buffer& in) {
                    heard = base::as_text(in.view());
                    in.consume(in.view().size());
                    if (!answer.empty()) s->write(answer);
                  },
              .on_end = [this, s] { s->end(), open--; },
              .on_drained = {},
              .on_closed = {}});
  }
};

struct Probing : ::testing::Test {
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::SeededRng rng{3};
  base::Metrics metrics;

  void run_until(const std::function<bool()>& done) {
    auto stop = loop->timer([&] { loop->stop(); });
    stop->arm(kPatience);
    std::unique_ptr<base::Timer> look;
    look = loop->timer([&] { done() ? loop->stop() : look->arm(2ms); });
    look->arm(0ms);
    loop->run();
    ASSERT_TRUE(done()) << "not within " << kPatience.count() << " s";
  }
  ProbeOutcome probe(const IpPort& at, ProbeSpec spec) {
    std::optional<ProbeOutcome> out;
    auto p = start_probe(*loop, 0, at, spec, [&](ProbeOutcome o) { out = std::move(o); });
    EXPECT_FALSE(out) << "never from inside the call";
    run_until([&] { return out.has_value(); });
    return out.value_or(ProbeOutcome{Kind::told_nothing, {}, "nothing came"});
  }
  std::string say(const ProbeOutcome& o) {
    if (o.kind != Kind::failed) return o.kind == Kind::well ? "well" : "told nothing";
    return std::string(lb::to_string(o.sign)) + (o.detail.empty() ? "" : ": " + o.detail);
  }
  static ProbeSpec http(std::string path = "/") {
    return {.kind = ProbeSpec::Kind::http, .path = std::move(path), .host = "web.shop", .timeout = 10s};
  }
  std::string get(const std::string& answer, ProbeSpec spec = http()) {
    Server s(*loop, answer);
    return say(probe(s.at, std::move(spec)));
  }
  IpPort nobody() {
    auto fd = base::tcp_listen(*IpPort::parse("127.0.0.1:0"));
    return *base::local_address(fd->get());
  }
};

TEST_F(Probing, TcpAsksForAConnectionAndNoMore) {
  Server s(*loop);
  EXPECT_EQ(say(probe(s.at, {.timeout = 10s})), "well");
  EXPECT_EQ(say(probe(nobody(), {.timeout = 10s})), "refused");
}

TEST_F(Probing, HttpAsksForThePathByTheHostsName) {
  Server s(*loop, "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(say(probe(s.at, http("/healthz?deep=1"))), "well");
  EXPECT_EQ(s.heard.substr(0, 31), "GET /healthz?deep=1 HTTP/1.1\r\nH");
  EXPECT_NE(s.heard.find("Host: web.shop\r\n"), std::string::npos) << s.heard;
}

TEST_F(Probing, TheStatusDecides) {
  EXPECT_EQ(get("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "well");
  EXPECT_EQ(get("HTTP/1.1 302 Found\r\n\r\n"), "well");
  EXPECT_EQ(get("HTTP/1.1 503 Busy\r\n\r\n", http("/h")), "unhealthy: GET /h: status 503");
  auto only = http();
  only.good = {{503, 503}, {401, 403}};
  EXPECT_EQ(get("HTTP/1.1 402 Pay\r\n\r\n", only), "well");
  EXPECT_EQ(get("HTTP/1.1 200 OK\r\n\r\n", only), "unhealthy: GET /: status 200");
}

TEST_F(Probing, TheBodyIsNotWaitedFor) { EXPECT_EQ(get("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nhalf"), "well"); }

TEST_F(Probing, AnInterimAnswerIsNotTheAnswer) {
  EXPECT_EQ(get("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 500 No\r\n\r\n"), "unhealthy: GET /: status 500");
}

TEST_F(Probing, WhatIsNoHttpIsUnhealthy) {
  EXPECT_EQ(get("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "unhealthy: GET /: not an HTTP answer");
  EXPECT_EQ(get("HTTP/1.1 200 OK\r\nX: " + std::string(base::limits::kProbeAnswerBytesMax, 'x')), "unhealthy: GET /: not an HTTP answer");
  Server s(*loop);
  s.closes = true;
  EXPECT_EQ(say(probe(s.at, http())), "unhealthy: GET /: closed before the answer");
}

TEST_F(Probing, SilenceEndsWithTheTimeout) {
  Server s(*loop);
  auto quick = http();
  quick.timeout = 50ms;
  EXPECT_EQ(say(probe(s.at, quick)), "unanswered: GET /: no answer in time");
}

// ---- many of them

struct Checking : Probing {
  std::map<IpPort, std::string> watched;
  std::map<IpPort, int> good, bad;
  std::string detail;
  std::unique_ptr<ActiveChecks> checks;

  Checking() {
    checks = std::make_unique<ActiveChecks>(
        *loop, rng, metrics, 0,
        ActiveChecks::Hooks{
            .watch = [this](const IpPort& at,
                            lb::OutlierDetector::Thresholds t) { watched[at] = fmt::format("{}/{}", t.failures, t.successes); },
            .unwatch = [this](const IpPort& at) { watched.erase(at); },
            .on_probed = [this](const IpPort& at, std::optional<lb::Sign> failure,
                                std::string d) { (failure ? bad : good)[at]++, detail = d; }});
  }
  static std::shared_ptr<const ProbeSpec> often(lb::OutlierDetector::Thresholds t = {}) {
    return std::make_shared<ProbeSpec>(ProbeSpec{.interval = 10ms, .timeout = 10ms, .thresholds = t});
  }
};

TEST_F(Checking, EveryEndpointIsAskedAgainAndAgain) {
  Server a(*loop), b(*loop);
  const IpPort dead = nobody();
  checks->set_targets("shop/web", {{a.at, often()}, {b.at, often()}, {dead, often()}});
  run_until([&] { return good[a.at] >= 3 && good[b.at] >= 3 && bad[dead] >= 3; });
  EXPECT_EQ(bad.count(a.at) + good.count(dead), 0u);
  EXPECT_EQ(watched[dead], "3/2");
}

TEST_F(Checking, WhoGoesIsAskedNoMore) {
  Server a(*loop), b(*loop);
  checks->set_targets("shop/web", {{a.at, often()}, {b.at, often()}});
  run_until([&] { return good[a.at] && good[b.at]; });
  checks->set_targets("shop/web", {{b.at, often({.failures = 1, .successes = 9})}});
  run_until([&] { return !watched.count(a.at) && watched[b.at] == "1/9"; });
  const int seen = a.connections, before = good[b.at];
  run_until([&] { return good[b.at] >= before + 5; });
  EXPECT_EQ(a.connections, seen);
  checks->set_targets("shop/web", {});
  run_until([&] { return watched.empty(); });
  EXPECT_EQ(checks->size(), 0u);
}

TEST_F(Checking, AnEndpointOfTwoServicesIsAskedAsTheFirstWants) {
  Server a(*loop);
  checks->set_targets("shop/b", {{a.at, often({.failures = 2, .successes = 2})}});
  checks->set_targets("shop/a", {{a.at, often({.failures = 1, .successes = 1})}});
  run_until([&] { return watched[a.at] == "1/1"; });
  checks->set_targets("shop/a", {});
  run_until([&] { return watched[a.at] == "2/2"; });
  EXPECT_EQ(checks->size(), 1u);
}

TEST_F(Checking, FirstProbesAreSpreadOverTheInterval) {
  std::vector<std::unique_ptr<Server>> servers;
  std::vector<ProbeTarget> all;
  auto hourly = std::make_shared<ProbeSpec>(ProbeSpec{.interval = 1h, .timeout = 1s});
  for (int i = 0; i < 200; i++) all.push_back({IpPort{base::IpAddr::v4(0x7f000001), uint16_t(2000 + i)}, hourly});
  checks->set_targets("shop/web", all);
  run_until([&] { return checks->size() == 200; });
  EXPECT_LT(good.size() + bad.size(), 5u) << "an hour holds them all, this moment few";
}

TEST_F(Checking, SoManyAtOnceAndTheOthersWait) {
  Server silent(*loop);  // answers nothing: each probe lasts its whole time
  auto spec = std::make_shared<ProbeSpec>(ProbeSpec{.kind = ProbeSpec::Kind::http, .host = "h", .interval = 100ms, .timeout = 100ms});
  std::vector<ProbeTarget> all;
  for (uint32_t i = 1; i <= 3 * base::limits::kProbesMax; i++)
    all.push_back({IpPort{base::IpAddr::v4(0x7f000000 + i), silent.at.port}, spec});
  auto fd = base::tcp_listen(IpPort{base::IpAddr(), silent.at.port}, {.reuse_port = false});
  silent.listener.reset();
  if (!fd) fd = base::tcp_listen(IpPort{base::IpAddr(), silent.at.port});
  ASSERT_TRUE(fd) << fd.error().what;
  silent.listener =
      std::make_unique<base::Listener>(*loop, std::move(*fd), [&](base::UniqueFd c) { silent.on_accept(*loop, std::move(c)); });
  checks->set_targets("shop/web", all);
  run_until([&] { return bad.size() == all.size(); });
  EXPECT_GT(silent.most_open, 1u);
  EXPECT_LE(silent.most_open, base::limits::kProbesMax + 8) << "a few may be closed at one end only";
}

TEST_F(Checking, BeyondTheBoundTheyAreCountedAndLeftAlone) {
  auto hourly = std::make_shared<ProbeSpec>(ProbeSpec{.interval = 1h, .timeout = 1s});
  std::vector<ProbeTarget> all;
  for (uint32_t i = 0; i < base::limits::kProbedEndpointsMax + 7; i++) all.push_back({IpPort{base::IpAddr::v4(0x7f100000 + i), 9}, hourly});
  checks->set_targets("shop/web", all);
  run_until([&] { return checks->size() == base::limits::kProbedEndpointsMax; });
  EXPECT_NE(metrics.render().find("edgemeshd_active_check_endpoints_left_out 7"), std::string::npos);
}

}  // namespace
}  // namespace edgemesh
