// What is tapped is read by an independent reader (integration/dns/tap_reader.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/core/file.h"
#include "base/sim/source_dir.h"
#include "dns/server/query_tap.h"
#include "dns/wire/response.h"

namespace dns {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Json = nlohmann::json;

struct Tap : ::testing::Test {
  std::string dir = [] {
    char name[] = "/tmp/dns_tap_XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  base::Metrics metrics;
  base::ByteVec storage;
  Query query;
  const base::IpPort client{*base::IpAddr::parse("10.0.0.7"), 4242};
  ~Tap() override { fs::remove_all(dir); }

  void ask(QueryTap& tap, const char* name, bool tcp = false) {
    storage.resize(600);
    storage.resize(write_query(*Name::from_text(name), type::A, 7, 1232, false, false, storage));
    ASSERT_EQ(parse_query(storage, query), Parsed::ok);
    if (!tap.due()) return;
    auto s = tap.query(storage, client, tcp);
    base::ByteVec out(600);
    out.resize(write_reply(query, {.rcode = Rcode::nxdomain}, {}, 512, out));
    tap.answer(s, query, out);
  }
  static std::vector<Json> read(FILE* p) {
    std::vector<Json> out;
    char line[4096];
    while (fgets(line, sizeof line, p)) out.push_back(Json::parse(line, nullptr, false));
    EXPECT_EQ(::pclose(p), 0);
    return out;
  }
  static FILE* reader(const std::string& args) { return ::popen(("python3 " + base::source_path("integration/dns/tap_reader.py") + " " + args + " 2>&1").c_str(), "r"); }
  uint64_t count(const char* name) { return metrics.counter(name, "").value(); }
};

TEST_F(Tap, AFileHoldsEachQueryAndItsAnswer) {
  {
    auto tap = QueryTap::make({.file = dir + "/tap", .identity = "node-a"}, metrics);
    ask(*tap, "www.example");
    ask(*tap, "api.example", true);
  }
  auto got = read(reader(dir + "/tap"));
  ASSERT_EQ(got.size(), 4u) << got.size();
  EXPECT_EQ(got[0]["type"], 5);
  EXPECT_EQ(got[1]["type"], 6);
  EXPECT_EQ(got[0]["name"], "www.example");
  EXPECT_EQ(got[0]["identity"], "node-a");
  EXPECT_EQ(got[0]["client"], "10.0.0.7");
  EXPECT_EQ(got[0]["port"], 4242);
  EXPECT_EQ(got[0]["protocol"], 1);
  EXPECT_EQ(got[2]["protocol"], 2);
  EXPECT_TRUE(got[0]["answered"].is_null());
  EXPECT_EQ(got[1]["rcode"], 3);
  EXPECT_GE(got[1]["answered"].get<double>(), got[1]["asked"].get<double>());
  EXPECT_GT(got[1]["asked"].get<double>(), 1.6e9);
}

TEST_F(Tap, OfManyOneOfEverySoManyIsTaken) {
  {
    auto tap = QueryTap::make({.tap_every = 10, .file = dir + "/tap"}, metrics);
    for (int i = 0; i < 100; i++) ask(*tap, "www.example");
  }
  EXPECT_EQ(read(reader(dir + "/tap")).size(), 20u);
  EXPECT_EQ(count("edgemeshd_dns_tap_frames_total"), 20u);
}

TEST_F(Tap, AFileOfBeforeIsPutAside) {
  for (const char* name : {"first.example", "second.example"}) {
    auto tap = QueryTap::make({.file = dir + "/tap"}, metrics);
    ask(*tap, name);
  }
  EXPECT_EQ(read(reader(dir + "/tap"))[0]["name"], "second.example");
  EXPECT_EQ(read(reader(dir + "/tap.1"))[0]["name"], "first.example");
}

TEST_F(Tap, AFullFileIsPutAsideWhole) {
  {
    FrameStream s({.file = dir + "/tap", .file_bytes_max = 300}, metrics);
    for (int i = 0; i < 3; i++) s.put(base::ByteVec(150, 1));
  }
  EXPECT_LE(fs::file_size(dir + "/tap"), 350u);
  EXPECT_TRUE(fs::exists(dir + "/tap.1"));
  EXPECT_EQ(count("edgemeshd_dns_tap_frames_total"), 3u);
}

TEST_F(Tap, AProgramOnASocketMayComeLater) {
  auto tap = QueryTap::make({.socket = dir + "/socket"}, metrics);
  ask(*tap, "early.example");
  FILE* p = reader("--listen " + dir + "/socket 4");
  for (int i = 0; i < 500 && !fs::exists(dir + "/socket"); i++) std::this_thread::sleep_for(10ms);
  ask(*tap, "late.example");
  for (int i = 0; i < 1000 && count("edgemeshd_dns_tap_frames_total") < 4; i++) std::this_thread::sleep_for(10ms);
  tap.reset();  // STOP, and the reader's FINISH
  auto got = read(p);
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[0]["name"], "early.example");
  EXPECT_EQ(got[3]["name"], "late.example");
}

TEST_F(Tap, WithoutAReaderTheQueueIsBoundedAndCounted) {
  FrameStream s({.socket = dir + "/nobody", .queue_bytes_max = 1000}, metrics);
  for (int i = 0; i < 100; i++) s.put(base::ByteVec(100, 1));
  EXPECT_EQ(count("edgemeshd_dns_tap_dropped_total"), 90u);
}

TEST_F(Tap, NothingIsMadeWhenNothingIsAskedFor) { EXPECT_FALSE(QueryTap::make({}, metrics)); }

}  // namespace
}  // namespace dns
