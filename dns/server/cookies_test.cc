#include "dns/server/cookies.h"

#include <gtest/gtest.h>

namespace dns {
namespace {

std::string made(const char* client, const char* address, const char* secret, uint32_t at) {
  Query q;
  auto c = *base::from_hex(client), s = *base::from_hex(secret);
  std::copy(c.begin(), c.end(), q.cookie.begin());
  CookieSecret key;
  std::copy(s.begin(), s.end(), key.begin());
  make_cookie(q, *base::IpAddr::parse(address), at, key);
  return base::to_hex(q.cookie);
}

TEST(Cookies, AreThoseOfTheSpecification) {  // RFC 9018 appendix A.1, A.4
  EXPECT_EQ(made("2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", 1559731985), "2464c4abcf10c957010000005cf79f111f8130c3eee29480");
  EXPECT_EQ(made("22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "dd3bdf9344b678b185a6f5cb60fca715", 1559741817),
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8");
}

}  // namespace
}  // namespace dns
