#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dns/server/message_text.h"
#include "dns/server/query_watch.h"
#include "dns/wire/message_writer.h"

namespace dns {
namespace {

using namespace std::chrono_literals;

base::Instant at(std::chrono::seconds s) { return base::Instant(s); }

base::ByteVec reply(std::function<void(MessageWriter&)> fill, Reply r = {}) {
  base::ByteVec b(600), out(1232);
  Name n = *Name::from_text("a.example");
  b.resize(write_query(n, 1, 7, 1232, false, false, b));
  Query q;
  EXPECT_EQ(parse_query(b, q), Parsed::ok);
  MessageWriter w(n);
  fill(w);
  out.resize(write_reply(q, r, w.body(), 1232, out));
  return out;
}

TEST(MessageText, RecordsReadAsInAZoneFile) {
  Name a = *Name::from_text("a.example"), b = *Name::from_text("b.example");
  auto t = message_text(reply([&](MessageWriter& w) {
    w.add_name(a, 5, 60, b);
    w.add(b, 1, 30, base::ByteVec{192, 0, 2, 1});
    w.add(b, 16, 30, base::ByteVec{3, 'h', '"', 7, 1, 'x'});
    w.add(b, 65, 30, base::ByteVec{0, 1, 0});
    w.add_srv(b, 30, 100, 80, a);
    w.authority();
    w.add_soa(*Name::from_text("example"), 5, 9);
  }, {.rcode = Rcode::nxdomain, .flags = flag::AA, .ede = Ede::stale_answer}));
  ASSERT_TRUE(t);
  EXPECT_EQ(t->status, "NXDOMAIN");
  EXPECT_EQ(t->flags, (std::vector<std::string>{"aa", "rd"}));
  EXPECT_EQ(t->ede, 3);
  ASSERT_EQ(t->answer.size(), 5u);
  const char* const data[] = {"b.example.", "192.0.2.1", "\"h\\\"\\007\" \"x\"", "\\# 3 000100", "0 100 80 a.example."};
  for (size_t i = 0; i < 5; i++) EXPECT_EQ(t->answer[i].data, data[i]);
  EXPECT_EQ(t->answer[0].name, "a.example.");
  EXPECT_EQ(t->answer[3].type, "HTTPS");
  EXPECT_EQ(t->authority[0].data, "ns.dns.example. hostmaster.example. 9 7200 1800 86400 5");
}

TEST(MessageText, HalfAMessageIsNone) {
  auto m = reply([](MessageWriter& w) { w.add(*Name::from_text("a.example"), 1, 30, base::ByteVec{192, 0, 2, 1}); });
  for (size_t n = 0; n < m.size(); n++) EXPECT_FALSE(message_text({m.data(), n})) << n;
}

TEST(MessageText, TypesByNameAndNumber) {
  EXPECT_EQ(type_from_text("aaaa"), 28);
  EXPECT_EQ(type_from_text("TYPE65280"), 65280);
  for (const char* bad : {"", "TYPE", "TYPE70000", "TYPE1x", "NOPE"}) EXPECT_FALSE(type_from_text(bad)) << bad;
  EXPECT_EQ(type_text(1), "A");
  EXPECT_EQ(type_text(65280), "TYPE65280");
}

void ask(QueryWatch& w, const char* name, const char* client, base::Instant now, uint32_t batch = 1) {
  Name n = *Name::from_text(name);
  w.seen(n.key(), *base::IpAddr::parse(client), now);
  w.passed(batch);
}

TEST(QueryWatch, WhoAsksMostComesFirst) {
  QueryWatch w(at(0s));
  for (int i = 0; i < 3; i++) ask(w, "often.example", "10.0.0.1", at(1s));
  ask(w, "once.example", "fd00::1", at(2s));
  ask(w, "batch.example", "10.0.0.2", at(2s), 64);
  TopView v = w.view(2, at(10s));
  EXPECT_EQ(v.queries, 68u);
  EXPECT_EQ(v.seconds, 10);
  ASSERT_EQ(v.names.size(), 2u);
  EXPECT_EQ(v.names[0].what + " " + std::to_string(v.names[0].queries), "batch.example. 64");
  EXPECT_EQ(v.names[1].what, "often.example.");
  EXPECT_EQ(w.view(9, at(10s)).clients.back().what, "fd00::1");
}

TEST(QueryWatch, AFloodOfInventedNamesDoesNotHideTheOneThatComesOften) {
  QueryWatch w(at(0s));
  for (int i = 0; i < 20'000; i++) {
    ask(w, fmt::format("x{}.example", i).c_str(), "10.0.0.1", at(1s));
    if (i % 20 == 0) ask(w, "often.example", "10.0.0.2", at(1s));
  }
  TopView v = w.view(1, at(1s));
  EXPECT_EQ(v.names[0].what, "often.example.");
  EXPECT_GE(v.names[0].queries, 1000u);
}

TEST(QueryWatch, LooksOncePerMillisecondAndCountsAll) {
  QueryWatch w(at(0s));
  EXPECT_TRUE(w.is_due(at(1s)));
  ask(w, "a.example", "10.0.0.1", at(1s), 3);
  EXPECT_FALSE(w.is_due(at(1s) + 999us));
  EXPECT_TRUE(w.is_due(at(1s) + 1ms));
  w.passed(4);  // not looked at
  TopView v = w.view(9, at(2s));
  EXPECT_EQ(v.queries, 7u);
  EXPECT_EQ(v.names.at(0).queries, 7u);
  EXPECT_EQ(v.clients.at(0).queries, 7u);
}

TEST(QueryWatch, ForgetsWhatWasMoreThanAMinuteAgo) {
  QueryWatch w(at(0s));
  ask(w, "old.example", "10.0.0.1", at(1s));
  ask(w, "new.example", "10.0.0.1", at(40s));
  EXPECT_EQ(w.view(9, at(41s)).names.size(), 2u);
  ask(w, "new.example", "10.0.0.1", at(75s));
  EXPECT_EQ(w.view(9, at(76s)).names.size(), 1u);
  EXPECT_TRUE(w.view(9, at(1000s)).names.empty());
}

}  // namespace
}  // namespace dns
