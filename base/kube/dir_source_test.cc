#include "base/kube/dir_source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/loop/loop.h"

namespace base::kube {
namespace {

namespace fs = std::filesystem;

struct Recorder final : ObjectSink {
  void replace(Kind k, std::vector<PackedObject> all) override {
    for (auto& o : all) have[o.label()] = o;
    events += all.size();
    ++replaces;
  }
  void upsert(PackedObject o) override { have[o.label()] = o, ++events; }
  void remove(Kind k, const ObjectName& id) override { have.erase(std::string(to_string(k)) + " " + id.str()), ++events; }
  void synced(Kind) override { ++syncs; }
  void error(const std::string& line) override { errors.push_back(line); }
  std::map<std::string, PackedObject> have;
  size_t events = 0, replaces = 0, syncs = 0;
  std::vector<std::string> errors;
};

class DirSourceTest : public ::testing::Test {
 protected:
  DirSourceTest() {
    char name[] = "/tmp/dir_source_XXXXXX";
    dir = ::mkdtemp(name);
    dir += "/objects";
    fs::create_directory(dir);
  }
  ~DirSourceTest() override {
    source.reset();
    fs::remove_all(fs::path(dir).parent_path());
  }

  void write(const std::string& file, const std::string& text) { std::ofstream(dir + "/" + file) << text; }
  void start(const std::string& path = "") {
    source = make_dir_source(*loop, path.empty() ? dir : path);
    source->start(sink);
  }
  // Runs the loop until the condition holds; false after 3 s.
  bool wait(const std::function<bool()>& condition) {
    const Instant end = loop->now() + std::chrono::seconds(3);
    bool held = false;
    std::unique_ptr<Timer> tick;
    tick = loop->timer([&] {
      held = condition();
      if (held || loop->now() > end) loop->stop();
      else tick->arm(std::chrono::milliseconds(2));
    });
    tick->arm(Duration{0});
    loop->run();
    return held;
  }
  void run_for(Duration d) {
    auto t = loop->timer([&] { loop->stop(); });
    t->arm(d);
    loop->run();
  }
  uint16_t port_of(const std::string& label) { return std::get<ServiceObject>(sink.have.at(label).unpack().body).ports.at(0).port; }

  std::string dir;
  std::unique_ptr<Loop> loop = make_libevent_loop();
  Recorder sink;
  std::unique_ptr<DirSource> source;
};

std::string service(const char* name, int port) {
  return fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec: {{clusterIP: 10.96.0.1, ports: [{{port: {}}}]}}\n---\n", name, port);
}

TEST_F(DirSourceTest, FirstListThenChangesOnly) {
  write("a.yaml", service("a", 1) + service("b", 2));
  fs::create_directories(dir + "/sub/deeper");
  write("sub/c.json", R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"ports":[{"port":3}]}})");
  write("sub/deeper/d.yaml", service("d", 4));
  write(".hidden.yaml", service("h", 5));
  write("notes.txt", "not a manifest");
  start();
  EXPECT_EQ(sink.have.size(), 3u);
  EXPECT_EQ(sink.syncs, kKinds);
  write("a.yaml", service("a", 1) + service("b", 22));
  ASSERT_TRUE(wait([&] { return port_of("Service default/b") == 22; }));
  EXPECT_EQ(sink.events, 4u);  // a is the same as before and not told again
  EXPECT_EQ(sink.replaces, kKinds);
}

TEST_F(DirSourceTest, ALargeDirectoryIsReadInSlicesAndToldAsAWhole) {
  std::string some;
  for (int i = 0; i < 300; ++i) some += service(fmt::format("s{}", i).c_str(), 1);  // 30 KB
  for (int i = 0; i < 40; ++i) write(fmt::format("{:02}.yaml", i), "# " + std::to_string(i) + "\n" + some);
  write("last.yaml", service("last", 1));
  start();
  EXPECT_EQ(sink.syncs, 0u) << "the loop was held up until all was read";
  write("00.yaml", service("first", 2));  // read already
  int turns = 0;
  ASSERT_TRUE(wait([&] { return ++turns, sink.syncs == kKinds; }));
  EXPECT_GT(turns, 2);
  EXPECT_EQ(sink.replaces, kKinds);
  EXPECT_EQ(port_of("Service default/last"), 1);
  EXPECT_EQ(port_of("Service default/s299"), 1);
  EXPECT_TRUE(wait([&] { return sink.have.contains("Service default/first"); })) << "a change while it read was missed";
}

TEST_F(DirSourceTest, NewAndRemovedFilesAndDirectories) {
  start();
  write("a.yaml", service("a", 1));
  ASSERT_TRUE(wait([&] { return sink.have.contains("Service default/a"); }));
  fs::create_directory(dir + "/new");
  write("new/b.yaml", service("b", 1));
  ASSERT_TRUE(wait([&] { return sink.have.contains("Service default/b"); }));
  write("new/c.yaml", service("c", 1));
  ASSERT_TRUE(wait([&] { return sink.have.contains("Service default/c"); }));
  fs::remove(dir + "/a.yaml");
  ASSERT_TRUE(wait([&] { return !sink.have.contains("Service default/a"); }));
  fs::remove_all(dir + "/new");
  ASSERT_TRUE(wait([&] { return sink.have.empty(); }));
}

TEST_F(DirSourceTest, AnInvalidFileKeepsItsLastGoodObjects) {
  write("a.yaml", service("a", 1));
  write("b.yaml", service("b", 1));
  start();
  write("a.yaml", service("x", 9) + "apiVersion: v1\nkind: Service\nmetadata: {name: y}\nspec: {ports: [{port: no}]}\n");
  ASSERT_TRUE(wait([&] { return !sink.errors.empty(); }));
  EXPECT_EQ(sink.errors[0], dir + "/a.yaml:9:23: Service default/y: spec.ports[0].port: needs an integer, not a bool");
  EXPECT_EQ(source->problems(), sink.errors);
  EXPECT_EQ(source->files()[0].error, sink.errors[0]);
  write("b.yaml", service("b", 2));  // others go on
  ASSERT_TRUE(wait([&] { return port_of("Service default/b") == 2; }));
  EXPECT_EQ(port_of("Service default/a"), 1);
  EXPECT_FALSE(sink.have.contains("Service default/x"));
  write("a.yaml", service("a", 3));
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 3; }));
  EXPECT_TRUE(source->problems().empty());
  EXPECT_EQ(sink.errors.size(), 1u);
}

TEST_F(DirSourceTest, RenameOverAFileIsOneChange) {
  write("a.yaml", service("a", 1));
  start();
  write("a.yaml.tmp", service("a", 2));
  fs::rename(dir + "/a.yaml.tmp", dir + "/a.yaml");
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 2; }));
  EXPECT_EQ(sink.events, 2u);
}

TEST_F(DirSourceTest, ConfigMapVolumeSwap) {
  fs::create_directory(dir + "/..v1");
  write("..v1/a.yaml", service("a", 1));
  fs::create_symlink("..v1", dir + "/..data");
  fs::create_symlink("..data/a.yaml", dir + "/a.yaml");
  start();
  ASSERT_EQ(sink.have.size(), 1u);
  fs::create_directory(dir + "/..v2");
  write("..v2/a.yaml", service("a", 2));
  fs::create_symlink("..v2", dir + "/..data_tmp");
  fs::rename(dir + "/..data_tmp", dir + "/..data");
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 2; }));
  EXPECT_EQ(sink.events, 2u);
  EXPECT_TRUE(sink.errors.empty());
}

TEST_F(DirSourceTest, AFileBeingWrittenIsReadWhenItRests) {
  write("a.yaml", service("a", 1));
  start();
  std::ofstream slow(dir + "/a.yaml");  // truncates
  for (int i = 0; i < 8; ++i) {
    slow << "# still writing\n" << std::flush;
    write("other.yaml", service("o", i + 1));  // wakes the source
    run_for(std::chrono::milliseconds(6));
    EXPECT_TRUE(sink.have.contains("Service default/a"));
  }
  slow << service("a", 2);
  slow.close();
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 2; }));
  EXPECT_TRUE(sink.errors.empty());
}

TEST_F(DirSourceTest, LaterPathWinsWithALineAndNodesStayWithTheFirst) {
  const std::string node = "apiVersion: mesh.edgemeshd.io/v1alpha1\nkind: MeshNode\nmetadata: {name: n}\nspec: {overlayIPs: [100.64.0.";
  write("a.yaml", service("a", 1) + node + "1]}\n");
  write("b.yaml", service("a", 2) + node + "2]}\n");
  start();
  EXPECT_EQ(port_of("Service default/a"), 2);
  EXPECT_EQ(std::get<MeshNodeObject>(sink.have.at("MeshNode n").unpack().body).overlay_ips[0].str(), "100.64.0.1");
  ASSERT_EQ(sink.errors.size(), 2u);
  EXPECT_EQ(sink.errors[0], dir + "/a.yaml:1: Service default/a is also defined at " + dir + "/b.yaml:1; " + dir + "/b.yaml:1 is used: remove or rename one");
  EXPECT_EQ(sink.errors[1], dir + "/b.yaml:6: MeshNode n is also defined at " + dir + "/a.yaml:6; " + dir + "/a.yaml:6 is used: remove or rename one");
  fs::remove(dir + "/b.yaml");
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 1; }));
  EXPECT_TRUE(source->problems().empty());
}

TEST_F(DirSourceTest, MissingDirectoryIsNamedAndFoundLater) {
  const std::string later = dir + "-later";
  start(later);
  ASSERT_EQ(sink.errors.size(), 1u);
  EXPECT_EQ(sink.errors[0], later + ": No such file or directory; create it or set source.directory");
  EXPECT_EQ(sink.syncs, 0u);
  write("a.yaml", service("a", 1));
  fs::rename(dir, later);
  ASSERT_TRUE(wait([&] { return sink.syncs == kKinds; }));
  EXPECT_TRUE(sink.have.contains("Service default/a"));
  EXPECT_TRUE(source->problems().empty());
}

TEST_F(DirSourceTest, OneFileAsSource) {
  write("a.yaml", service("a", 1));
  write("b.yaml", service("b", 1));
  start(dir + "/a.yaml");
  EXPECT_EQ(sink.have.size(), 1u);
  write("a.yaml", service("a", 2));
  ASSERT_TRUE(wait([&] { return port_of("Service default/a") == 2; }));
}

TEST_F(DirSourceTest, TooLargeAFileIsRefusedByName) {
  write("big.yaml", "# " + std::string(9 << 20, 'x'));
  start();
  ASSERT_EQ(sink.errors.size(), 1u);
  EXPECT_EQ(sink.errors[0], dir + "/big.yaml: larger than 8388608 bytes: split the file");
}

}  // namespace
}  // namespace base::kube
