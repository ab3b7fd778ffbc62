#include "base/core/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/core/unique_fd.h"
#include "base/core/wall_clock.h"

namespace base {
namespace {

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string t = (std::filesystem::temp_directory_path() / "em-file-XXXXXX").string();
    dir_ = ::mkdtemp(t.data());
  }
  ~FileTest() override { std::filesystem::remove_all(dir_); }
  std::string dir_;
};

TEST_F(FileTest, WritesWithModeAndReadsBack) {
  auto p = dir_ + "/k";
  ASSERT_TRUE(write_file_atomic(p, "one", 0600));
  ASSERT_TRUE(write_file_atomic(p, "two", 0600));
  EXPECT_EQ(*read_file(p, 10), "two");
  struct stat st;
  ASSERT_EQ(::stat(p.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(p + ".tmp"));
}

TEST_F(FileTest, BoundAndAbsenceAreDifferentErrors) {
  ASSERT_TRUE(write_file_atomic(dir_ + "/k", "12345", 0644));
  EXPECT_EQ(read_file(dir_ + "/k", 4).error().code, Code::limit);
  EXPECT_EQ(read_file(dir_ + "/none", 4).error().code, Code::not_found);
  EXPECT_NE(read_file(dir_ + "/none", 4).error().what.find(dir_ + "/none"), std::string::npos);
}

TEST_F(FileTest, AFileOfExactlyTheBoundIsReadWhole) {
  ASSERT_TRUE(write_file_atomic(dir_ + "/k", std::string(40'000, 'x'), 0644));
  EXPECT_EQ(read_file(dir_ + "/k", 40'000)->size(), 40'000u);
  EXPECT_EQ(read_file(dir_ + "/k", 39'999).error().code, Code::limit);
  ASSERT_TRUE(write_file_atomic(dir_ + "/empty", "", 0644));
  EXPECT_EQ(*read_file(dir_ + "/empty", 0), "");
}

TEST_F(FileTest, AFolderIsAnErrorAndNotContent) {
  auto r = read_file(dir_, 10);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::io);
  EXPECT_EQ(write_file_atomic(dir_, "x", 0600).has_value(), false);
  EXPECT_FALSE(std::filesystem::exists(dir_ + ".tmp"));
}

TEST_F(FileTest, AModeNarrowerThanTheUmaskAllowsAndWiderBothHold) {
  mode_t before = ::umask(077);
  ASSERT_TRUE(write_file_atomic(dir_ + "/wide", "x", 0644));
  ::umask(before);
  struct stat st;
  ASSERT_EQ(::stat((dir_ + "/wide").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0644u);
}

// What an attacker or a crash may have left under the temporary's name is neither followed nor written into.
TEST_F(FileTest, ALinkInTheTemporarysPlaceIsNotFollowed) {
  ASSERT_TRUE(write_file_atomic(dir_ + "/victim", "untouched", 0600));
  std::filesystem::create_symlink(dir_ + "/victim", dir_ + "/k.tmp");
  ASSERT_TRUE(write_file_atomic(dir_ + "/k", "new", 0600));
  EXPECT_EQ(*read_file(dir_ + "/victim", 100), "untouched");
  EXPECT_EQ(*read_file(dir_ + "/k", 100), "new");
}

TEST_F(FileTest, AReaderHoldsTheOldContentWhileANewOneIsWritten) {
  ASSERT_TRUE(write_file_atomic(dir_ + "/k", "old", 0600));
  UniqueFd reader(::open((dir_ + "/k").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(write_file_atomic(dir_ + "/k", "brand new", 0600));
  char buf[16];
  EXPECT_EQ(std::string(buf, size_t(::read(reader.get(), buf, sizeof buf))), "old");
}

TEST(WallClock, IsTheSystemsAndNotTheMonotonicOne) {
  EXPECT_GE(wall_now().unix_seconds, 1'700'000'000) << "the machine's clock is before November 2023, or this is no wall clock";
  EXPECT_LE(wall_now(), wall_now());
}

TEST_F(FileTest, FailedWriteNamesThePathAndLeavesNothing) {
  auto r = write_file_atomic(dir_ + "/no/such/k", "x", 0600);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what.find(dir_ + "/no/such/k"), std::string::npos);
}

}  // namespace
}  // namespace base
