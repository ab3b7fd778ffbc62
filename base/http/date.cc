#include "base/http/date.h"

#include <algorithm>
#include <array>

namespace base {
namespace {

constexpr std::string_view kShape = "Aaa, 00 Aaa 0000 00:00:00 GMT";
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool fits(char shape, char c) {
  if (shape == 'A') return c >= 'A' && c <= 'Z';
  if (shape == 'a') return c >= 'a' && c <= 'z';
  if (shape == '0') return c >= '0' && c <= '9';
  return shape == c;
}

int number(std::string_view digits) {
  int n = 0;
  for (char c : digits) n = n * 10 + (c - '0');
  return n;
}

}  // namespace

std::optional<WallTime> parse_http_date(std::string_view s) {
  if (s.size() != kShape.size() || !std::equal(s.begin(), s.end(), kShape.begin(), [](char c, char shape) { return fits(shape, c); })) return {};
  const auto month = std::find(kMonths.begin(), kMonths.end(), s.substr(8, 3));
  if (month == kMonths.end()) return {};
  using namespace std::chrono;
  const year_month_day day{year{number(s.substr(12, 4))}, std::chrono::month{unsigned(month - kMonths.begin() + 1)}, std::chrono::day{unsigned(number(s.substr(5, 2)))}};
  const int h = number(s.substr(17, 2)), m = number(s.substr(20, 2)), sec = number(s.substr(23, 2));
  if (!day.ok() || h > 23 || m > 59 || sec > 60) return {};
  return WallTime{int64_t(sys_days{day}.time_since_epoch().count()) * 86400 + h * 3600 + m * 60 + sec};
}

}  // namespace base
