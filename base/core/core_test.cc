#include <gtest/gtest.h>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/core/rng.h"

namespace base {

TEST(Bytes, ReaderStopsAtItsEndAndStaysStopped) {
  uint8_t b[] = {1, 2, 3};
  Reader r(b);
  EXPECT_EQ(r.u16(), 0x0102);
  EXPECT_EQ(r.u32(), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.u8(), 0) << "a read after a short read must give nothing";
}

TEST(Bytes, HexAndBase64RefuseWhatIsNot) {
  EXPECT_EQ(to_hex(*from_hex("00ff7A")), "00ff7a");
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("zz"));
  for (const char* s : {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="}) EXPECT_EQ(to_base64(*from_base64(s)), s);
  for (const char* s : {"Z", "Zg=", "Zh==", "Zg==Zg==", "Z===", "Zm 9"}) EXPECT_FALSE(from_base64(s)) << s;
}

TEST(Rng, SeededReplaysAndBelowStaysBelow) {
  SeededRng a(7), b(7), c(8);
  EXPECT_EQ(a.u64(), b.u64());
  EXPECT_NE(a.u64(), c.u64());
  for (int i = 0; i < 1000; i++) EXPECT_LT(a.below(3), 3u);
}

TEST(Metrics, RendersEachFamilyOnceWithEscapedLabels) {
  Metrics m;
  m.counter("edgemeshd_b_total", "B.", {{"x", "a\"b"}}).add(2);
  m.gauge("edgemeshd_a", "A.").set(-1);
  m.counter("edgemeshd_b_total", "B.", {{"x", "c"}}).add();
  EXPECT_EQ(m.render(),
            "# HELP edgemeshd_a A.\n# TYPE edgemeshd_a gauge\nedgemeshd_a -1\n"
            "# HELP edgemeshd_b_total B.\n# TYPE edgemeshd_b_total counter\n"
            "edgemeshd_b_total{x=\"a\\\"b\"} 2\nedgemeshd_b_total{x=\"c\"} 1\n");
}

TEST(Metrics, AHistogramCountsUpToEachBound) {
  Metrics m;
  auto& h = m.histogram("edgemeshd_took_seconds", "How long.", {{"x", "y"}});
  for (auto ms : {1, 3, 3, 70, 20'000}) h.observe(std::chrono::milliseconds(ms));
  EXPECT_EQ(&h, &m.histogram("edgemeshd_took_seconds", "", {{"x", "y"}}));
  const std::string out = m.render();
  for (const char* line :
       {"# TYPE edgemeshd_took_seconds histogram\n", "_bucket{x=\"y\",le=\"0.0005\"} 0\n", "_bucket{x=\"y\",le=\"0.001\"} 1\n",
        "_bucket{x=\"y\",le=\"0.005\"} 3\n", "_bucket{x=\"y\",le=\"0.1\"} 4\n", "_bucket{x=\"y\",le=\"10\"} 4\n",
        "_bucket{x=\"y\",le=\"+Inf\"} 5\n", "_sum{x=\"y\"} 20.077\n", "_count{x=\"y\"} 5\n"})
    EXPECT_NE(out.find(line), out.npos) << line << out;
}

TEST(Log, ASiteIsHeldBackAfterTenLinesAndNeverBreaksALine) {
  int lines = 0;
  set_log_sink([&](LogLevel, std::string_view l) {
    lines++;
    EXPECT_EQ(l.find('\n'), std::string_view::npos);
  });
  for (int i = 0; i < 50; i++) EM_LOG(info, "test", "line\n{}", i);
  set_log_sink(nullptr);
  EXPECT_EQ(lines, 10);
}

static Result<int> half(int v) {
  if (v % 2) return fail(Code::invalid, "{} is odd: give an even number", v);
  return v / 2;
}
static Result<int> quarter(int v) {
  EM_TRY_ASSIGN(int h, half(v));
  return half(h);
}

TEST(Result, TryPassesTheErrorOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().what, "3 is odd: give an even number");
}

}  // namespace base
