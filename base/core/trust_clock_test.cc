#include "base/core/trust_clock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/core/log.h"
#include "base/core/wall_clock.h"

namespace base {
namespace {

constexpr int64_t kDay = 86400, kBuilt = 1'780'000'000, kIssued = kBuilt + 100 * kDay, kEnds = kIssued + 90 * kDay;

struct World : ::testing::Test {
  World() {
    char name[] = "/tmp/trust_clock_XXXXXX";
    dir = ::mkdtemp(name);
    set_log_sink([this](LogLevel, std::string_view line) { log += std::string(line) + "\n"; });
  }
  ~World() override {
    set_log_sink(nullptr);
    std::filesystem::remove_all(dir);
  }
  TrustClock started() {  // as after a boot of the machine
    return TrustClock({[this] { return boot; }, [this] { return wall; }, {kBuilt}, dir + "/trusted-time", &disk}, metrics);
  }
  void pass(int64_t seconds) { boot += std::chrono::seconds(seconds), wall.unix_seconds += seconds; }
  int64_t doubted() { return metrics.gauge("edgemeshd_wall_clock_doubted", "1 while the machine's clock cannot be right and certificates are checked without it.").value(); }
  size_t lines(const std::string& what) const {
    size_t n = 0;
    for (size_t at = 0; (at = log.find(what, at)) != log.npos; ++at) n++;
    return n;
  }

  std::string dir, log;
  Instant boot{};
  WallTime wall{kIssued + 10 * kDay};
  Metrics metrics;
  StateDisk disk{metrics};
};

TEST_F(World, IsTheLatestThatIsCertainAndGoesOnWithTheBootClock) {
  TrustClock c = started();
  EXPECT_EQ(c.now(), WallTime{kBuilt});
  c.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(c.now(), WallTime{kIssued});
  pass(3600);
  EXPECT_EQ(c.now(), WallTime{kIssued + 3600});
  c.signed_by_ca({kIssued + 5 * kDay});
  c.signed_by_ca({kIssued + 4 * kDay});
  EXPECT_EQ(c.now(), WallTime{kIssued + 5 * kDay});
}

TEST_F(World, TheWallClockNeverMovesIt) {
  TrustClock c = started();
  c.own_certificate({kIssued}, {kEnds});
  for (int64_t t : {int64_t(0), kIssued + 20 * kDay, kEnds + 60 * 365 * kDay}) {
    wall = {t};
    c.look();
    EXPECT_EQ(c.now(), WallTime{kIssued});
    EXPECT_EQ(c.for_servers(), WallTime{kIssued});
  }
}

TEST_F(World, AClockInsideTheOwnCertificateLetsCertificatesBeginNoOther) {
  TrustClock c = started();
  c.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(c.starts_by(), wall) << "a peer renewed while this node was off is refused";
  wall = {kEnds + 1};
  EXPECT_EQ(c.starts_by(), c.now());
  wall = {0};
  EXPECT_EQ(c.starts_by(), c.now());
}

TEST_F(World, WhatIsKeptCountsAfterABootButNeverBeyondTheOwnCertificate) {
  {
    TrustClock c = started();
    c.own_certificate({kIssued}, {kEnds});
    pass(30 * kDay);
    c.look();
  }
  boot = {};
  TrustClock c = started();
  c.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(c.now(), WallTime{kIssued + 30 * kDay});
  c.told_by_api_server({kEnds + 9000 * kDay});
  c.keep();
  TrustClock after = started();
  after.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(after.now(), WallTime{kEnds}) << "a server's clock that was wrong once has locked the node out";
  std::ofstream(dir + "/trusted-time") << int64_t(kEnds) * 2 << "\n";  // by hand, or by an earlier certificate
  TrustClock forged = started();
  forged.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(forged.now(), WallTime{kEnds});
  std::ofstream(dir + "/trusted-time") << "rubbish";
  TrustClock damaged = started();
  damaged.own_certificate({kIssued}, {kEnds});
  EXPECT_EQ(damaged.now(), WallTime{kIssued});
}

TEST_F(World, TheCasWordIsBoundedAndAServersNewestWordReplacesItsOlderOnes) {
  TrustClock c = started();
  c.own_certificate({kIssued}, {kEnds});
  c.signed_by_ca({kEnds + 5000 * kDay});
  EXPECT_EQ(c.now(), WallTime{kEnds});
  TrustClock d = started();
  d.own_certificate({kIssued}, {kEnds});
  d.told_by_api_server({kEnds + 5000 * kDay});
  EXPECT_EQ(d.now(), WallTime{kEnds + 5000 * kDay}) << "a certificate that really ended would be accepted";
  d.told_by_api_server({kIssued + kDay});
  EXPECT_EQ(d.now(), WallTime{kIssued + kDay});
}

TEST_F(World, AClockThatIsWrongIsSaidOnceInEachDirection) {
  TrustClock c = started();
  c.own_certificate({kIssued}, {kEnds});
  const WallTime right = wall;
  for (int i = 0; i < 3; ++i) c.look();
  EXPECT_EQ(doubted(), 0);
  EXPECT_EQ(log, "");
  wall = {0};
  for (int i = 0; i < 3; ++i) c.look();
  EXPECT_EQ(lines("this machine's clock says 1970-01-01 00:00:00Z"), 1u);
  EXPECT_EQ(doubted(), 1);
  wall = {kEnds + 3650 * kDay};
  for (int i = 0; i < 3; ++i) c.look();
  EXPECT_EQ(lines("it is not believed"), 1u);
  wall = right;
  c.look();
  EXPECT_EQ(lines("it can be right again"), 1u);
  EXPECT_EQ(doubted(), 0);
}

TEST_F(World, ADiskThatRefusesIsAnAlarmAndIsTriedAgain) {
  TrustClock c({[this] { return boot; }, [this] { return wall; }, {kBuilt}, dir + "/none/trusted-time", &disk}, metrics);
  c.own_certificate({kIssued}, {kEnds});
  auto alarm = [&] { return metrics.gauge("edgemeshd_state_write_failed", "Files of the data directory that could not be written; anything but 0 is an alarm.").value(); };
  for (int i = 0; i < 200; ++i) c.look(), pass(1);
  EXPECT_EQ(alarm(), 1);
  EXPECT_EQ(lines("error state: "), 1u);
  std::filesystem::create_directory(dir + "/none");
  for (int i = 0; i < 31; ++i) c.look(), pass(1);
  EXPECT_EQ(alarm(), 0);
  EXPECT_TRUE(std::filesystem::exists(dir + "/none/trusted-time"));
}

}  // namespace
}  // namespace base
