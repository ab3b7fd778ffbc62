#include "tunnel/deny_book.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/core/file.h"
#include "base/sim/test_ca.h"

namespace tunnel {
namespace {

struct World {
  base::TestCa ca{"mesh.test"}, other{"mesh.test"};
  std::string dir = testing::TempDir() + "deny-book-XXXXXX";
  World() {
    EXPECT_NE(mkdtemp(dir.data()), nullptr);
    mkdir(state().c_str(), 0700);
  }
  ~World() { std::filesystem::remove_all(dir); }
  std::string file() const { return dir + "/operator.json"; }
  std::string state() const { return dir + "/state"; }
  std::string text(uint64_t number, const std::string& name, const base::TestCa& by) const {
    nlohmann::json body = {
        {"version", 1}, {"trustDomain", "mesh.test"}, {"number", number}, {"keys", nlohmann::json::array()}, {"names", {name}}};
    std::string b = body.dump();
    return nlohmann::json{{"body", b}, {"signature", base::to_base64(by.root().sign(std::string(base::kDenyListContext) + b))}}.dump();
  }
  void put(uint64_t number, const std::string& name) { ASSERT_TRUE(base::write_file_atomic(file(), text(number, name, ca), 0644)); }
  base::Result<DenyBook> open() const {
    return DenyBook::open({file(), state(), *base::certificates_from_pem(ca.ca_pem(), "ca"), "mesh.test", &disk});
  }
  base::Metrics metrics;
  mutable base::StateDisk disk{metrics};
};

TEST(DenyBook, FollowsItsFile) {
  World w;
  auto book = w.open();
  ASSERT_TRUE(book);
  EXPECT_FALSE(book->follow());
  w.put(1, "mallory");
  EXPECT_TRUE(book->follow());
  EXPECT_TRUE(book->list().is_name_denied("mallory"));
  EXPECT_FALSE(book->follow());
  w.put(2, "trudy");
  EXPECT_TRUE(book->follow());
  EXPECT_TRUE(book->list().is_name_denied("trudy"));
}

TEST(DenyBook, APeersListIsTakenIfNewerAndSignedAndKept) {
  World w;
  auto book = w.open();
  ASSERT_TRUE(book);
  EXPECT_FALSE(book->take(w.text(5, "mallory", w.other)));  // somebody else's root
  std::string damaged = w.text(5, "mallory", w.ca);
  damaged.replace(damaged.find("mallory"), 7, "alice12");
  EXPECT_FALSE(book->take(damaged));
  EXPECT_TRUE(book->list().names().empty());
  auto taken = book->take(w.text(5, "mallory", w.ca));
  ASSERT_TRUE(taken);
  EXPECT_TRUE(*taken);
  EXPECT_FALSE(book->take(w.text(4, "nobody", w.ca)));  // older: the denied one stays so
  auto again = w.open();
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->list().is_name_denied("mallory"));
}

TEST(DenyBook, AnOlderFileDoesNotBringADeniedNodeBackNorStopTheStart) {
  World w;
  w.put(3, "nobody");
  { ASSERT_TRUE(*w.open()->take(w.text(9, "mallory", w.ca))); }
  auto book = w.open();
  ASSERT_TRUE(book);
  EXPECT_TRUE(book->list().is_name_denied("mallory"));
  w.put(4, "nobody");
  EXPECT_FALSE(book->follow());
  EXPECT_TRUE(book->list().is_name_denied("mallory"));
}

TEST(DenyBook, ADamagedFileStopsTheStartButNotARunningNode) {
  World w;
  w.put(1, "mallory");
  auto book = w.open();
  ASSERT_TRUE(base::write_file_atomic(w.file(), "{\"body\":", 0644));
  EXPECT_FALSE(book->follow());
  EXPECT_TRUE(book->list().is_name_denied("mallory"));
  auto fresh = w.open();
  ASSERT_FALSE(fresh);
  EXPECT_NE(fresh.error().what.find(w.file()), std::string::npos);
}

TEST(DenyBook, WhatWasKeptAndIsDamagedIsIgnored) {
  World w;
  ASSERT_TRUE(base::write_file_atomic(w.state() + "/deny.json", "rubbish", 0600));
  ASSERT_TRUE(w.open());
}

}  // namespace
}  // namespace tunnel
