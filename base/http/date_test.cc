#include "base/http/date.h"

#include <gtest/gtest.h>

namespace base {
namespace {

TEST(HttpDate, IsSecondsSince1970) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), WallTime{784111777});
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), WallTime{0});
  EXPECT_EQ(parse_http_date("Tue, 29 Feb 2028 23:59:60 GMT"), WallTime{1835481600});
}

TEST(HttpDate, NothingElseIsADate) {
  for (const char* s : {"", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 31 Feb 2026 08:49:37 GMT", "Sun, 06 Abc 1994 08:49:37 GMT",
                        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, +6 Nov 1994 08:49:37 GMT"})
    EXPECT_FALSE(parse_http_date(s)) << s;
}

}  // namespace
}  // namespace base
