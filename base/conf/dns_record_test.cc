#include "base/conf/dns_record.h"

#include <gtest/gtest.h>

namespace base::conf {
namespace {

std::string trouble(const char* line) {
  auto r = parse_dns_record(line);
  return r ? "" : r.error().what;
}

TEST(DnsRecord, ReadsWhatZoneFilesHold) {
  auto r = parse_dns_record("www 60 IN A 192.0.2.1");
  ASSERT_TRUE(r) << r.error().what;
  EXPECT_EQ(r->name, "www");
  EXPECT_EQ(r->ttl, 60u);
  EXPECT_EQ(r->data, std::vector<std::string>{"192.0.2.1"});
  auto t = parse_dns_record("@ txt \"v=spf1 -all\" plain");
  ASSERT_TRUE(t) << t.error().what;
  EXPECT_EQ(t->type, "TXT");
  EXPECT_EQ(t->data, (std::vector<std::string>{"v=spf1 -all", "plain"}));
  for (auto* fine : {"* A 192.0.2.1", "*.x AAAA ::1", "_sip._tcp SRV 0 5 5060 sip", "@ MX 10 mail.example.", "7 PTR host.example."})
    EXPECT_EQ(trouble(fine), "") << fine;
}

TEST(DnsRecord, SaysWhatIsWrong) {
  EXPECT_EQ(trouble("www"), "is not \"<name> [<ttl>] <type> <data>\"");
  EXPECT_EQ(trouble("www A ::1"), "\"::1\" is not an IPv4 address");
  EXPECT_EQ(trouble("www B 1"), "has the type \"B\"; known are A, AAAA, CNAME, MX, NS, PTR, SRV and TXT");
  EXPECT_EQ(trouble("www A 192.0.2.1 192.0.2.2"), "has 2 words behind A; it takes 1");
  EXPECT_EQ(trouble("x SRV 0 0 70000 y"), "\"70000\" is not a number from 0 to 65535");
  EXPECT_EQ(trouble("a..b A 192.0.2.1"), "\"a..b\" is not a domain name: each part has 1 to 63 characters");
  EXPECT_EQ(trouble("x TXT \"open"), "has a quotation mark that is not closed");
  EXPECT_EQ(trouble("x 60 IN"), "has no type");
}

}  // namespace
}  // namespace base::conf
