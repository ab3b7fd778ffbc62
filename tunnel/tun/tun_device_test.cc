// Real devices in a network namespace of the test's own.
#include "tunnel/tun/tun_device.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <fstream>

namespace tunnel {
namespace {

class TunDeviceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { isolated_ = unshare(CLONE_NEWNET) == 0; }
  void SetUp() override {
    if (!isolated_) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  }
  base::SocketStore store_;
  static bool isolated_;
};
bool TunDeviceTest::isolated_ = false;

TEST_F(TunDeviceTest, IsUpWithItsMtuAndOffloads) {
  auto d = TunDevice::open({.name = "t0", .mtu = 1300, .persist = false}, store_);
  ASSERT_TRUE(d) << d.error().what;
  EXPECT_TRUE(d->offloads().tcp);
  EXPECT_NE(if_nametoindex("t0"), 0u);
  EXPECT_EQ(system("ip -o link show t0 | grep -q 'UP.*mtu 1300'"), 0);
}

TEST_F(TunDeviceTest, PersistsAndIsTakenOver) {
  unsigned index = 0;
  {
    auto d = TunDevice::open({.name = "t1"}, store_);
    ASSERT_TRUE(d) << d.error().what;
    index = if_nametoindex("t1");
  }
  store_.forget();
  EXPECT_EQ(if_nametoindex("t1"), index);
  {
    auto again = TunDevice::open({.name = "t1"}, store_);
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(if_nametoindex("t1"), index);
  }
  store_.forget();
  EXPECT_TRUE(remove_tun("t1"));
  EXPECT_EQ(if_nametoindex("t1"), 0u);
  EXPECT_TRUE(remove_tun("t1"));
}

TEST_F(TunDeviceTest, TwoQueues) {
  auto d = TunDevice::open({.name = "t2", .queues = 2, .persist = false}, store_);
  ASSERT_TRUE(d) << d.error().what;
  EXPECT_EQ(d->queues(), 2u);
}

TEST_F(TunDeviceTest, SaysWhatIsInTheWay) {
  auto first = TunDevice::open({.name = "t3", .persist = false}, store_);
  ASSERT_TRUE(first);
  auto busy = TunDevice::open({.name = "t3", .persist = false}, store_);
  ASSERT_FALSE(busy);
  EXPECT_NE(busy.error().what.find("tun device t3: in use by another program"), std::string::npos) << busy.error().what;
  auto other = TunDevice::open({.name = "lo", .persist = false}, store_);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().what.find("another kind"), std::string::npos) << other.error().what;
  EXPECT_NE(if_nametoindex("lo"), 0u);
  EXPECT_EQ(TunDevice::open({.name = "much-too-long-a-name"}, store_).error().code, base::Code::invalid);
  EXPECT_EQ(TunDevice::open({.name = "t%d"}, store_).error().code, base::Code::invalid);
}

}  // namespace
}  // namespace tunnel
