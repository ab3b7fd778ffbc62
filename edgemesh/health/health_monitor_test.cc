// Endpoints die behind a real kernel's data path; what the monitor makes of it.
#include "edgemesh/health/health_monitor.h"

#include "edgemesh/intercept/intercept_world_testing.h"

namespace edgemesh {
namespace {

using namespace std::chrono_literals;
using State = lb::Outlier::State;

constexpr const char* kVip = "10.96.0.1:80";
constexpr uint32_t kMark = 0x00040000;

struct Monitored : World {
  std::unique_ptr<base::Loop> loop;
  base::SeededRng rng{7};
  std::unique_ptr<HealthMonitor> monitor;
  std::set<IpPort> dialled;
  std::vector<std::string> changes;
  int asked = 0;
  base::Result<void> log_answer;

  void SetUp() override {
    World::SetUp();
    if (IsSkipped()) return;
    for (int i = 2; i <= 5; i++) dialled.insert(pod_at(i));
    dialled.insert(dead());
    apply({{key(kVip), to({dead()})}});
    start();
  }
  static IpPort pod_at(int i) { return *IpPort::parse("172.17.0." + std::to_string(i) + ":8080"); }
  static IpPort dead() { return *IpPort::parse("172.17.0.2:81"); }  // nobody listens
  static Frontend to(std::vector<IpPort> list) {
    Frontend f;
    for (auto& a : list) f.backends.push_back({a.ip, a.port});
    return f;
  }
  void start() {
    InNs in(node);
    if (!loop) loop = base::make_libevent_loop();
    HealthMonitor::Hooks h;
    h.serves = [this](const IpPort& frontend, const lb::Dialled& to) {
      asked++;
      return frontend == *IpPort::parse(kVip) && dialled.count(to.at);
    };
    h.still_dialled = [this](const std::set<lb::Dialled>& some) {
      std::set<lb::Dialled> out;
      for (auto& a : some)
        if (dialled.count(a.at)) out.insert(a);
      return out;
    };
    h.on_change = [this](const lb::Dialled& a) {
      changes.push_back(a.str());
      return std::string("shop/web");
    };
    h.report_failures = [this](uint16_t group) { return log_answer ? mesh->report_failures(group) : log_answer; };
    monitor = std::make_unique<HealthMonitor>(
        HealthMonitor::Config{.outliers = {}, .socket_mark = kMark, .check_timeout = 200ms, .sweep_every = 500ms}, std::move(h), *loop, rng,
        metrics);
    monitor->watch_kernel();
  }
  void run_for(base::Duration d) {
    InNs in(node);
    auto stop = loop->timer([this] { loop->stop(); });
    stop->arm(d);
    loop->run();
  }
  State state(const lb::Dialled& a) {
    auto* o = monitor->outliers().find(a);
    return o ? o->state : State::healthy;
  }
  std::string reason() {
    std::string text = metrics.render();
    for (auto* r : {"refused", "unreachable", "unanswered"})
      if (text.find(std::string("edgemeshd_endpoint_ejections_total{reason=\"") + r + "\"} 1") != std::string::npos) return r;
    return "none";
  }
  // A connection that nobody answers, left alone until its SYN was sent again (after a second) and that was noticed.
  void call_silently(const std::string& to) {
    UniqueFd fd = open_socket(client, true, {});
    SockAddr a(*IpPort::parse(to));
    ::connect(fd.get(), a.get(), a.len);
    const auto noticed = [this, asked_before = asked, changes_before = changes.size()] {
      return asked > asked_before || changes.size() > changes_before;
    };
    for (int i = 0; i < 50 && !noticed(); i++) run_for(100ms);
    run_for(200ms);
  }
  using UniqueFd = base::UniqueFd;
  // One datagram to the UDP frontend; whatever comes back is for the kernel.
  UniqueFd send_one(const NetNs& from, const std::string& to) {
    UniqueFd fd = open_socket(from, true, {.udp = true});
    SockAddr a(*IpPort::parse(to));
    ::sendto(fd.get(), "x", 1, 0, a.get(), a.len);
    return fd;
  }
};

TEST_F(Monitored, AnEndpointThatRefusesIsOutAtOnceAndBackWhenItListens) {
  EXPECT_EQ(call(client, kVip), "refused");
  run_for(100ms);
  ASSERT_EQ(state(dead()), State::ejected);
  EXPECT_TRUE(monitor->outliers().find(dead())->confirmed);
  EXPECT_EQ(changes, std::vector<std::string>{"172.17.0.2:81"});
  EXPECT_EQ(reason(), "refused");
  ASSERT_TRUE(servers->add(pod(2), "172.17.0.2:81", "late"));
  run_for(1200ms);
  EXPECT_EQ(state(dead()), State::returning);
  run_for(3500ms);
  EXPECT_EQ(state(dead()), State::healthy);
}

TEST_F(Monitored, ASilentEndpointIsOutWhenItsSynIsSentAgain) {
  apply({{key(kVip), to({pod_at(3)})}});
  pod(3).sh("nft -f - <<'X'\ntable ip t {\n chain in { type filter hook input priority 0; tcp dport 8080 drop; }\n}\nX\n");
  call_silently(kVip);
  EXPECT_EQ(state(pod_at(3)), State::ejected);
  EXPECT_EQ(reason(), "unanswered");
}

TEST_F(Monitored, ASilentEndpointIsFoundWithoutThePacketLogToo) {
  monitor.reset();
  log_answer = base::fail(base::Code::io, "no nft_log");
  start();
  apply({{key(kVip), to({pod_at(3)})}});
  pod(3).sh("nft -f - <<'X'\ntable ip t {\n chain in { type filter hook input priority 0; tcp dport 8080 drop; }\n}\nX\n");
  call_silently(kVip);
  EXPECT_EQ(state(pod_at(3)), State::ejected);
}

TEST_F(Monitored, AnIcmpErrorIsNamed) {
  pod(2).sh(
      "nft -f - <<'X'\ntable ip t {\n chain in { type filter hook input priority 0; tcp dport 81 reject with icmp type host-unreachable; "
      "}\n}\nX\n");
  call_silently(kVip);
  EXPECT_EQ(state(dead()), State::ejected);
  EXPECT_EQ(reason(), "unreachable");
}

TEST_F(Monitored, OneClientsFailureIsNotEnoughWhileTheEndpointAnswersOurCheck) {
  apply({{key(kVip), to({pod_at(3)})}});
  pod(3).sh(
      "nft -f - <<'X'\ntable ip t {\n chain in { type filter hook input priority 0; ip saddr 10.50.0.2 tcp dport 8080 drop; }\n}\nX\n");
  call_silently(kVip);
  EXPECT_GT(asked, 0) << "it was suspected";
  EXPECT_EQ(state(pod_at(3)), State::healthy);
  EXPECT_TRUE(changes.empty());
}

TEST_F(Monitored, WhileAllIsWellNothingReachesUs) {
  apply({{key(kVip), to({pod_at(3)})}});
  for (int i = 0; i < 50; i++) EXPECT_EQ(who(call(client, kVip)), "p3");
  run_for(100ms);
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(monitor->outliers().quiet());
}

TEST_F(Monitored, AUdpEndpointThatAnswersPortUnreachableIsOutAndItsTcpPortIsNot) {
  const lb::Dialled udp(dead(), Proto::udp);
  apply({{key(kVip, Proto::udp), to({dead()})}});
  auto kept = send_one(client, kVip);
  run_for(200ms);
  ASSERT_EQ(state(udp), State::ejected);
  EXPECT_EQ(state(dead()), State::healthy);
  EXPECT_EQ(reason(), "refused");
  EXPECT_EQ(changes, std::vector<std::string>{"172.17.0.2:81/udp"});
}

TEST_F(Monitored, AHostsOwnDatagramsCountToo) {
  const lb::Dialled udp(dead(), Proto::udp);
  apply({{key(kVip, Proto::udp), to({dead()})}});
  auto kept = send_one(node, kVip);
  run_for(200ms);
  EXPECT_EQ(state(udp), State::ejected);
}

TEST_F(Monitored, AUdpClientThatIsGoneIsNoFailureOfTheEndpoint) {
  apply({{key(kVip, Proto::udp), to({dead()})}});
  UniqueFd server = open_socket(pod(2), true, {.udp = true});
  SockAddr at(dead());
  ASSERT_EQ(::bind(server.get(), at.get(), at.len), 0);
  send_one(client, kVip).reset();  // closed before the answer comes
  run_for(50ms);
  char buf[16];
  sockaddr_storage from{};
  socklen_t len = sizeof from;
  ASSERT_EQ(::recvfrom(server.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &len), 1);
  ASSERT_EQ(::sendto(server.get(), buf, 1, 0, reinterpret_cast<sockaddr*>(&from), len), 1);
  run_for(200ms);
  EXPECT_TRUE(monitor->outliers().quiet());
}

TEST_F(Monitored, ASynOverLoIsReportedWhenItIsSentAgainAndNotBefore) {
  monitor.reset();
  ASSERT_TRUE(servers->add(node, "172.17.0.1:8080", "host"));
  apply({{key(kVip), to({*IpPort::parse("172.17.0.1:8080")})}});
  int reported = 0;
  std::unique_ptr<base::PacketLog> log;
  {
    InNs in(node);
    auto started = base::PacketLog::start(*loop, 10496, 128, {[&](base::ByteView) { reported++; }, [] {}});
    ASSERT_TRUE(started) << started.error().what;
    log = std::move(*started);
  }
  EXPECT_EQ(who(call(node, kVip)), "host");
  node.sh("nft -f - <<'X'\ntable ip t {\n chain in { type filter hook input priority 0; tcp dport 8080 drop; }\n}\nX\n");
  UniqueFd fd = open_socket(node, true, {});
  SockAddr a(*IpPort::parse(kVip));
  ::connect(fd.get(), a.get(), a.len);
  run_for(500ms);
  EXPECT_EQ(reported, 0) << "the first SYN";
  run_for(1000ms);
  EXPECT_EQ(reported, 1) << "the second one, a second later";
}

TEST_F(Monitored, OtherProgramsDestinationsAreNotOurs) {
  node.sh(
      "nft -f - <<'X'\ntable ip other {\n chain pre { type nat hook prerouting priority -90; ip daddr 10.97.0.1 tcp dport 80 dnat to "
      "172.17.0.2:81; }\n}\nX\n");
  EXPECT_EQ(call(client, "10.97.0.1:80"), "refused");
  run_for(100ms);
  EXPECT_GT(asked, 0);
  EXPECT_TRUE(monitor->outliers().quiet());
}

TEST_F(Monitored, TheProxysFailuresCount) {
  monitor->on_dialled(dead(), lb::Sign::refused);
  run_for(100ms);
  EXPECT_EQ(state(dead()), State::ejected);
}

TEST_F(Monitored, WhatIsNoLongerDialledIsForgotten) {
  call(client, kVip);
  run_for(100ms);
  ASSERT_EQ(monitor->outliers().ejected(), 1u);
  dialled.clear();
  run_for(700ms);
  EXPECT_TRUE(monitor->outliers().quiet());
}

std::shared_ptr<const ProbeSpec> quick(ProbeSpec::Kind kind = ProbeSpec::Kind::tcp) {
  return std::make_shared<ProbeSpec>(
      ProbeSpec{.kind = kind, .host = "web.shop", .interval = 100ms, .timeout = 100ms, .thresholds = {.failures = 2, .successes = 2}});
}

TEST_F(Monitored, AConfiguredCheckFindsADeadEndpointThatNobodyCalls) {
  monitor->set_checked("shop/web", {{dead(), quick()}, {pod_at(3), quick()}});
  for (int i = 0; i < 100 && state(dead()) != State::ejected; i++) run_for(100ms);
  ASSERT_EQ(state(dead()), State::ejected);
  EXPECT_EQ(state(pod_at(3)), State::healthy);
  ASSERT_TRUE(servers->add(pod(2), "172.17.0.2:81", "late"));
  for (int i = 0; i < 100 && state(dead()) == State::ejected; i++) run_for(100ms);
  EXPECT_EQ(state(dead()), State::returning);
}

TEST_F(Monitored, AConfiguredCheckIsNotIntercepted) {
  apply({{key("172.17.0.3:8080"), to({dead()})}});  // whoever else calls the endpoint's own address is led elsewhere
  EXPECT_EQ(call(client, "172.17.0.3:8080"), "refused");
  monitor->set_checked("shop/web", {{pod_at(3), quick()}, {dead(), quick()}});
  for (int i = 0; i < 100 && state(dead()) != State::ejected; i++) run_for(100ms);
  ASSERT_EQ(state(dead()), State::ejected);
  EXPECT_EQ(state(pod_at(3)), State::healthy);
}

}  // namespace
}  // namespace edgemesh
