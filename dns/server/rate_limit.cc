#include "dns/server/rate_limit.h"

#include <algorithm>
#include <string_view>

#include "dns/zone/name_table.h"

namespace dns {

using namespace std::chrono_literals;

static constexpr auto kAtOnce = 1s;
static constexpr size_t kNetV4 = 3, kNetV6 = 7;  // octets

RateLimit::RateLimit(RateLimitConfig c, uint64_t seed)
    : config_(c), seed_(seed), each_(base::Duration(kAtOnce) / std::max<uint32_t>(c.per_second, 1)), sources_(kSets * kWays) {}

static std::array<uint8_t, 17> key_of(const base::IpAddr& ip) {
  const bool alone = ip.is_private() || ip.is_link_local() || ip.is_loopback();
  const auto b = ip.bytes();
  const size_t n = alone ? b.size() : ip.is_v4() ? kNetV4 : kNetV6;
  std::array<uint8_t, 17> key{};
  std::copy_n(b.begin(), n, key.begin());
  key[16] = uint8_t(n);
  return key;
}

RateLimit::Source& RateLimit::find(const base::IpAddr& ip) {
  const auto key = key_of(ip);
  const uint64_t hash = name_hash(seed_, std::string_view(reinterpret_cast<const char*>(key.data()), key.size()));
  const auto set = sources_.begin() + std::ptrdiff_t(hash % kSets * kWays);
  auto quiet = set;
  for (auto s = set; s != set + kWays; ++s) {
    if (s->key == key) return *s;
    if (s->paid < quiet->paid) quiet = s;
  }
  *quiet = {};
  quiet->key = key;
  return *quiet;
}

RateLimit::Verdict RateLimit::judge(const base::IpAddr& client, base::Instant now) {
  Source& s = find(client);
  const auto paid = std::max(s.paid, now) + each_;
  if (paid <= now + kAtOnce) {
    s.paid = paid;
    s.beyond = 0;
    return Verdict::answer;
  }
  const bool slips = config_.truncate_every && ++s.beyond % config_.truncate_every == 0;
  return slips ? Verdict::truncate : Verdict::drop;
}

}  // namespace dns
