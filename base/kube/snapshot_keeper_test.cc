#include "base/kube/snapshot_keeper.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/core/file.h"

namespace base::kube {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

ObjectPtr service(const std::string& name, const std::string& ip) {
  auto o = std::make_shared<Object>();
  o->id = {"shop", name};
  ServiceObject s;
  s.cluster_ips = {*IpAddr::parse(ip)};
  s.ports = {{.name = "http", .app_protocol = "", .port = 80, .target_name = ""}};
  o->body = std::move(s);
  return o;
}

struct World : ::testing::Test {
  World() {
    char name[] = "/tmp/snapshot_XXXXXX";
    dir = ::mkdtemp(name);
    path = dir + "/objects.snapshot";
    fresh();
  }
  ~World() override {
    keeper.reset();
    fs::remove_all(dir);
  }
  void fresh() {  // as after a restart
    keeper.reset();
    builder = make_service_table_builder(*loop);
    keeper = std::make_unique<SnapshotKeeper>(*loop, *builder, metrics, SnapshotKeeper::Options{path, 20ms, [] { return uint64_t(1700000000); }, {}, &disk});
  }
  void sync(std::vector<PackedObject> services) {
    keeper->replace(Kind::service, std::move(services));
    for (size_t k = 0; k < kKinds; ++k) keeper->synced(Kind(k));
  }
  bool wait(const std::function<bool()>& condition) {
    const Instant end = loop->now() + 30s;
    bool held = false;
    std::unique_ptr<Timer> tick = loop->timer([&] {
      held = condition();
      if (held || loop->now() > end) loop->stop();
      else tick->arm(2ms);
    });
    tick->arm(0s);
    loop->run();
    return held;
  }
  void run_for(Duration d) {
    const Instant end = loop->now() + d;
    wait([&] { return loop->now() >= end; });
  }
  bool has(const std::string& name) { return builder->table()->find({"shop", name}) != nullptr; }
  uint64_t failures() { return metrics.counter("edgemeshd_snapshot_failures_total", "Snapshots of the objects that were damaged or could not be read.").value(); }
  int64_t alarm() { return metrics.gauge("edgemeshd_state_write_failed", "Files of the data directory that could not be written; anything but 0 is an alarm.").value(); }

  std::string dir, path;
  Metrics metrics;
  StateDisk disk{metrics};
  std::unique_ptr<Loop> loop = make_libevent_loop();
  std::unique_ptr<TableBuilder> builder;
  std::unique_ptr<SnapshotKeeper> keeper;
};

TEST_F(World, ServesTheLastRunUntilTheSourceSpeaksThenOnlyTheSource) {
  sync({service("old", "10.96.0.1"), service("kept", "10.96.0.2")});
  ASSERT_TRUE(wait([&] { return fs::exists(path); }));
  struct stat st{};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);

  fresh();
  ASSERT_TRUE(keeper->load());
  builder->publish_now();
  EXPECT_TRUE(has("old"));
  EXPECT_TRUE(builder->table()->synced()) << "a complete table, so names that are not in it do not exist";
  ASSERT_EQ(keeper->problems().size(), 1u);
  EXPECT_EQ(keeper->problems()[0], "objects from the snapshot of 2023-11-14 22:13:20 UTC, source not reached");

  sync({service("kept", "10.96.0.2"), service("new", "10.96.0.3")});
  builder->publish_now();
  EXPECT_FALSE(has("old"));
  EXPECT_TRUE(has("new"));
  EXPECT_TRUE(keeper->problems().empty());
}

TEST_F(World, HalfAListReplacesNoFile) {
  keeper->replace(Kind::service, {service("a", "10.96.0.1")});
  keeper->synced(Kind::service);
  run_for(100ms);
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(World, WritesOnlyWhatChangedAndNotMoreOftenThanAllowed) {
  sync({service("a", "10.96.0.1")});
  ASSERT_TRUE(wait([&] { return fs::exists(path); }));
  const auto first = fs::last_write_time(path);
  const auto inode = [&] { struct stat st{}; ::stat(path.c_str(), &st); return st.st_ino; };
  const auto before = inode();
  keeper->upsert(service("a", "10.96.0.1"));
  run_for(100ms);
  EXPECT_EQ(inode(), before) << "the same content was written again";
  EXPECT_EQ(fs::last_write_time(path), first);
  keeper->upsert(service("b", "10.96.0.2"));
  EXPECT_EQ(inode(), before) << "written at once instead of after the interval";
  EXPECT_TRUE(wait([&] { return inode() != before; }));
}

TEST_F(World, ADamagedFileIsIgnoredAndReplaced) {
  std::ofstream(path) << "not a snapshot at all, but long enough to have a header";
  EXPECT_FALSE(keeper->load());
  EXPECT_EQ(failures(), 1u);
  EXPECT_FALSE(keeper->loaded());
  sync({service("a", "10.96.0.1")});
  ASSERT_TRUE(wait([&] { auto b = read_file(path, 1 << 20); return b && decode_snapshot(*b); }));
}

TEST_F(World, ADiskThatRefusesCostsAMetricAndALine) {
  path = dir + "/no/such/folder/objects.snapshot";
  fresh();
  sync({service("a", "10.96.0.1")});
  ASSERT_TRUE(wait([&] { return alarm() == 1; }));
  builder->publish_now();
  EXPECT_TRUE(has("a"));
  ASSERT_EQ(disk.problems().size(), 1u);
  EXPECT_NE(disk.problems()[0].find(path), std::string::npos);
  EXPECT_EQ(failures(), 0u) << "one alarm, not two";
  fs::create_directories(dir + "/no/such/folder");
  EXPECT_TRUE(wait([&] { return alarm() == 0 && disk.problems().empty() && fs::exists(path); })) << "it is not tried again";
}

TEST_F(World, TheEndWritesWhatIsPending) {
  sync({service("a", "10.96.0.1")});
  keeper->write_now();
  EXPECT_TRUE(fs::exists(path));
}

// Whatever the writer's thread is at: at the end the file is whole, and has what came last.
TEST_F(World, TheEndWaitsForNoWriterThatOnlyPrepares) {
  for (int round = 0; round < 8; ++round) {
    std::vector<PackedObject> all;
    for (int i = 0; i < 500; ++i) all.push_back(service(fmt::format("s{}", i), "10.96.0.1"));
    sync(std::move(all));
    run_for(19ms + round * 1ms);  // the thread is about to begin, at work, or done
    keeper->upsert(service(fmt::format("last{}", round), "10.96.0.2"));
    keeper->write_now();
    auto bytes = read_file(path, 1 << 20);
    ASSERT_TRUE(bytes) << bytes.error().what;
    auto snapshot = decode_snapshot(*bytes);
    ASSERT_TRUE(snapshot) << snapshot.error().what;
    const auto is_last = [&](const PackedObject& o) { return o.name() == fmt::format("last{}", round); };
    ASSERT_TRUE(std::ranges::any_of(snapshot->objects, is_last)) << round;
    fresh();
  }
}

}  // namespace
}  // namespace base::kube
