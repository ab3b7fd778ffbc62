#include "tunnel/known_peers_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/sim/sim_loop.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

struct KnownPeersFileTest : testing::Test {
  KnownPeersFileTest() { EXPECT_NE(mkdtemp(dir.data()), nullptr); }
  ~KnownPeersFileTest() override { std::filesystem::remove_all(dir); }
  std::string path() const { return dir + "/known-peers"; }
  KnownPeers with(const std::string& name) {
    known.met(name, {}, ResumeSecret());
    return known;
  }
  ino_t inode() const {
    struct stat st{};
    return ::stat(path().c_str(), &st) == 0 ? st.st_ino : 0;
  }
  std::string dir = testing::TempDir() + "known-peers-XXXXXX";
  base::SimLoop loop;
  base::Metrics metrics;
  base::StateDisk disk{metrics};
  KnownPeers known;
};

TEST_F(KnownPeersFileTest, WhatOneProcessSavesTheNextOneLoads) {
  KnownPeersFile file(path(), &disk, loop);
  EXPECT_EQ(file.load().size(), 0u);
  file.save(with("edge-a"));
  loop.run_for(150ms);
  KnownPeersFile next(path(), &disk, loop);
  EXPECT_TRUE(next.load().find("edge-a"));
  struct stat st{};
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(KnownPeersFileTest, ManyChangesAreOneWriteASecond) {
  KnownPeersFile file(path(), &disk, loop);
  file.save(with("edge-0"));
  loop.run_for(150ms);
  std::set<ino_t> written{inode()};
  std::vector<int> held;  // so that no inode comes twice
  for (int i = 1; i <= 300; i++) {
    file.save(with(fmt::format("edge-{}", i % 50)));
    loop.run_for(10ms);
    held.push_back(::open(path().c_str(), O_RDONLY));
    written.insert(inode());
  }
  for (int fd : held) ::close(fd);
  EXPECT_GE(written.size(), 3u);
  EXPECT_LE(written.size(), 5u);
}

TEST_F(KnownPeersFileTest, TheEndOfTheProcessLosesNothing) {
  { KnownPeersFile(path(), &disk, loop).save(with("edge-a")); }
  EXPECT_TRUE(KnownPeersFile(path(), &disk, loop).load().find("edge-a"));
}

TEST_F(KnownPeersFileTest, ADamagedFileIsIgnoredWithOneLine) {
  static std::vector<std::string> lines;
  lines.clear();
  { KnownPeersFile(path(), &disk, loop).save(with("edge-a")); }
  std::string text = *base::read_file(path(), 1 << 20);
  text[20] ^= 1;
  ASSERT_TRUE(base::write_file_atomic(path(), text, 0600));
  base::set_log_sink([](base::LogLevel, std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(KnownPeersFile(path(), &disk, loop).load().size(), 0u);
  base::set_log_sink({});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("known-peers: the checksum is wrong"), std::string::npos) << lines[0];
}

TEST_F(KnownPeersFileTest, ADiskThatRefusesIsTriedAgain) {
  KnownPeersFile file(dir + "/later/known-peers", &disk, loop);
  file.save(with("edge-a"));
  loop.run_for(5s);
  EXPECT_EQ(disk.problems().size(), 1u);
  ASSERT_EQ(mkdir((dir + "/later").c_str(), 0700), 0);
  loop.run_for(10s);
  EXPECT_TRUE(file.load().find("edge-a"));
  EXPECT_TRUE(disk.problems().empty());
}

TEST_F(KnownPeersFileTest, WithoutAFolderNothingIsKept) {
  KnownPeersFile file("", nullptr, loop);
  file.save(with("edge-a"));
  loop.run_for(1min);
  EXPECT_EQ(file.load().size(), 0u);
}

}  // namespace
}  // namespace tunnel
