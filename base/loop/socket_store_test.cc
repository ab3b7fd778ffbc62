#include "base/loop/socket_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace base {
namespace {

// A descriptor at a place of our choosing, not closed on exec: as a parent would leave it to us.
int inherited_fd(int at) {
  int fd = open("/dev/null", O_RDONLY);
  if (fd == at) return at;
  EXPECT_EQ(dup2(fd, at), at);
  close(fd);
  return at;
}

Result<UniqueFd> must_not_open() {
  ADD_FAILURE() << "opened what was inherited";
  return fail(Code::io, "opened");
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(SocketStore, OpensWhatNobodyPassedAndNamesItInErrors) {
  SocketStore s;
  s.adopt_environment();
  auto ok = s.acquire("dns-tcp", [] { return Result<UniqueFd>(UniqueFd(dup(0))); });
  ASSERT_TRUE(ok);
  EXPECT_TRUE(*ok);
  auto bad = s.acquire("dns-tcp", []() -> Result<UniqueFd> { return fail(Code::exists, "port 53 is taken"); });
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().what, "dns-tcp: port 53 is taken");
  EXPECT_EQ(bad.error().code, Code::exists);
}

TEST(SocketStore, TakesAPredecessorsDescriptorsByName) {
  inherited_fd(200);
  inherited_fd(201);
  setenv("EDGEMESHD_FDS", "dns-udp-0=200,tun-0=201,gone=250,broken,=3,again=200,std=1", 1);
  SocketStore s;
  s.adopt_environment();
  EXPECT_EQ(getenv("EDGEMESHD_FDS"), nullptr);
  {
    auto fd = s.acquire("dns-udp-0", must_not_open);
    ASSERT_TRUE(fd);
    EXPECT_EQ(fd->get(), 200);
    EXPECT_TRUE(fcntl(200, F_GETFD) & FD_CLOEXEC);
  }
  EXPECT_FALSE(is_open(200));
  bool opened = false;
  for (const char* name : {"gone", "again", "std", "dns-udp-0"}) {
    opened = false;
    (void)s.acquire(name, [&]() -> Result<UniqueFd> { opened = true; return UniqueFd(); });
    EXPECT_TRUE(opened) << name;
  }
  EXPECT_TRUE(is_open(201));
  s.close_unclaimed();
  EXPECT_FALSE(is_open(201));
  EXPECT_TRUE(is_open(1));
}

// systemd's descriptors begin at 3, which belongs to somebody else in this process: a child of ours tries it.
int in_child(const std::function<bool()>& check) {
  pid_t child = fork();
  if (child == 0) _exit(check() ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SocketStore, TakesSystemdsDescriptorsByName) {
  EXPECT_EQ(in_child([] {
              inherited_fd(3);
              inherited_fd(4);
              setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
              setenv("LISTEN_FDS", "2", 1);
              setenv("LISTEN_FDNAMES", "dns-tcp:admin-unix", 1);
              SocketStore s;
              s.adopt_environment();
              auto admin = s.acquire("admin-unix", must_not_open), dns = s.acquire("dns-tcp", must_not_open);
              return admin && admin->get() == 4 && dns && dns->get() == 3 && !getenv("LISTEN_FDS");
            }),
            0);
}

TEST(SocketStore, LeavesDescriptorsThatSystemdMeantForAnother) {
  EXPECT_EQ(in_child([] {
              inherited_fd(3);
              setenv("LISTEN_PID", "1", 1);
              setenv("LISTEN_FDS", "1", 1);
              setenv("LISTEN_FDNAMES", "dns-tcp", 1);
              SocketStore s;
              s.adopt_environment();
              s.close_unclaimed();
              return is_open(3);
            }),
            0);
}

TEST(SocketStore, KeepsWhatWasAcquiredForASuccessorUntilItForgets) {
  SocketStore store;
  int pair[2];
  ASSERT_EQ(::pipe(pair), 0);
  UniqueFd reader(pair[0]);
  {
    auto writer = store.acquire("a", [&]() -> Result<UniqueFd> { return UniqueFd(pair[1]); });
    ASSERT_TRUE(writer);
  }  // its owner is done with it
  ASSERT_EQ(store.held().size(), 1u);
  EXPECT_EQ(store.held()[0].first, "a");
  ASSERT_EQ(::write(store.held()[0].second, "x", 1), 1) << "the successor's descriptor is not the same socket";
  EXPECT_EQ(::fcntl(store.held()[0].second, F_GETFD), FD_CLOEXEC);
  store.forget();
  EXPECT_TRUE(store.held().empty());
  char buf[2];
  EXPECT_EQ(::read(reader.get(), buf, 2), 1);
  EXPECT_EQ(::read(reader.get(), buf, 2), 0) << "somebody still holds it open";
}

TEST(SocketStore, ANameAcquiredAgainLetsGoOfTheFirstOneBeforeItOpens) {
  SocketStore store;
  int pair[2];
  ASSERT_EQ(::pipe(pair), 0);
  UniqueFd reader(pair[0]);
  (void)store.acquire("a", [&]() -> Result<UniqueFd> { return UniqueFd(pair[1]); });
  (void)store.acquire("a", [&]() -> Result<UniqueFd> {
    char b;
    EXPECT_EQ(::read(reader.get(), &b, 1), 0) << "the address would still be in use";
    return UniqueFd(::dup(reader.get()));
  });
}

TEST(SocketStore, LetsGoOfOneSocketWhenItsOwnerClosesItForGood) {
  SocketStore store;
  int a[2], b[2];
  ASSERT_EQ(::pipe(a), 0);
  ASSERT_EQ(::pipe(b), 0);
  UniqueFd reader_a(a[0]), reader_b(b[0]), writer_b(b[1]);
  (void)store.acquire("a", [&]() -> Result<UniqueFd> { return UniqueFd(a[1]); });
  store.keep("b", writer_b.get());
  EXPECT_EQ(store.held().size(), 2u);
  store.keep("a", -1);
  char byte;
  EXPECT_EQ(::read(reader_a.get(), &byte, 1), 0) << "somebody still holds it open";
  ASSERT_EQ(store.held().size(), 1u);
  EXPECT_EQ(store.held()[0].first, "b");
  store.keep("never there", -1);
}

TEST(SocketStore, TakesOnlyWhatWasInherited) {
  SocketStore store;
  EXPECT_FALSE(store.take("lock"));
  store.put("lock", UniqueFd(::dup(2)));
  EXPECT_TRUE(store.take("lock"));
  EXPECT_FALSE(store.take("lock"));
}

}  // namespace
}  // namespace base
