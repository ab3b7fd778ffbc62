#include <gtest/gtest.h>

#include "dns/wire/message_writer.h"
#include "dns/wire/bailiwick.h"
#include "dns/wire/scan.h"

namespace dns {

static Name name(const char* s) { return *Name::from_text(s); }

static base::ByteVec ask(const char* qname, uint16_t qtype, uint16_t size = 1232) {
  base::ByteVec b(600);
  b.resize(write_query(name(qname), qtype, 0x1234, size, false, false, b));
  return b;
}

static base::ByteVec without_opt(base::ByteVec b) {
  b.resize(b.size() - kOptSize);
  b[11] = 0;
  return b;
}

TEST(Name, TextRoundTripAndBounds) {
  EXPECT_EQ(name("Web.shop.").text(), "Web.shop.");
  EXPECT_EQ(name(".").text(), ".");
  for (const char* bad : {"a..b", ".a"}) EXPECT_FALSE(Name::from_text(bad)) << bad;
  EXPECT_FALSE(Name::from_text(std::string(64, 'a')));
  EXPECT_TRUE(Name::from_text(std::string(63, 'a')));
  std::string long_name;
  for (int i = 0; i < 127; i++) long_name += "a.";
  EXPECT_TRUE(Name::from_text(long_name));
  EXPECT_FALSE(Name::from_text(long_name + "b"));
  uint8_t v4[] = {10, 96, 0, 7};
  EXPECT_EQ(reverse_name(v4).text(), "7.0.96.10.in-addr.arpa.");
}

TEST(Query, KeepsTheCaseAndLowersTheKey) {
  auto m = ask("WeB.Shop", type::A);
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  EXPECT_EQ(q.key(), name("web.shop").key());
  EXPECT_EQ(base::as_text(q.name()), name("WeB.Shop").key());
  EXPECT_EQ(q.labels, 2);
  EXPECT_EQ(q.label(1), "shop");
  EXPECT_EQ(q.key_from(1), name("shop").key());
  EXPECT_TRUE(q.has_opt);
  EXPECT_EQ(q.udp_size, 1232);
}

TEST(Query, RefusesWhatIsNoQuery) {
  Query q;
  auto m = ask("a.b", type::A);
  for (size_t n = 0; n < m.size(); n++) EXPECT_NE(parse_query(base::ByteView(m).first(n), q), Parsed::ok) << "cut at " << n;
  auto answer = m, two = m, loop = m, opcode = m, version = m, opts = m;
  answer[2] |= 0x80;
  EXPECT_EQ(parse_query(answer, q), Parsed::drop);
  two[5] = 2;
  EXPECT_EQ(parse_query(two, q), Parsed::formerr);
  loop[12] = 0xc0, loop[13] = 12;
  EXPECT_EQ(parse_query(loop, q), Parsed::formerr);
  opcode[2] |= 1 << 3;
  EXPECT_EQ(parse_query(opcode, q), Parsed::notimp);
  version[m.size() - 5] = 1;
  EXPECT_EQ(parse_query(version, q), Parsed::badvers);
  opts.insert(opts.end(), m.end() - kOptSize, m.end());
  opts[11] = 2;
  EXPECT_EQ(parse_query(opts, q), Parsed::formerr) << "two OPT records";
}

TEST(Reply, TruncatesByWholeRecordsAndCountsTheOptFirst) {
  Name n = name("big.shop");
  MessageWriter w(n);
  for (uint8_t i = 0; i < 100; i++) {
    uint8_t ip[4] = {10, 0, 0, i};
    ASSERT_TRUE(w.add(n, type::A, 5, ip));
  }
  BodyView body = w.body();
  EXPECT_EQ(body.octets.size(), 1600u) << "each owner must be a pointer";
  base::ByteVec out(4096);
  auto m = ask("bIG.shop", type::A, 512);
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  size_t n512 = write_reply(q, {.flags = flag::AA}, body, udp_limit(q, 1232), out);
  EXPECT_LE(n512, 512u);
  EXPECT_GT(n512, 512u - 16);
  Scan s;
  ASSERT_TRUE(scan_answer({out.data(), n512}, s));
  EXPECT_TRUE(s.truncated());
  EXPECT_EQ(s.size + kOptSize, n512);
  EXPECT_EQ(base::as_text({&out[12], 10}), n.key().size() == 10 ? name("bIG.shop").key() : "") << "the question comes back as asked";
  ASSERT_TRUE(each_answer({out.data(), n512}, [&](const Record& r) {
    EXPECT_EQ(r.owner.text(), "bIG.shop.");
    return r.data_size == 4;
  }));
  size_t whole = write_reply(q, {}, body, 4096, out);
  ASSERT_TRUE(scan_answer({out.data(), whole}, s));
  EXPECT_FALSE(s.truncated());
  EXPECT_EQ(s.answers, 100);
}

TEST(Reply, AdditionalRecordsGoSilently) {
  Name n = name("s.x"), target = name("a.long.target.x");
  MessageWriter w(n);
  w.add_srv(n, 5, 100, 80, target);
  w.additional();
  for (int i = 0; i < 40; i++) w.add(target, type::AAAA, 5, base::as_bytes("0123456789abcdef"));
  auto m = without_opt(ask("s.x", type::SRV));
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  base::ByteVec out(600);
  size_t n1 = write_reply(q, {}, w.body(), udp_limit(q, 1232), out);
  Scan s;
  ASSERT_TRUE(scan_answer({out.data(), n1}, s));
  EXPECT_LE(n1, 512u);
  EXPECT_FALSE(s.truncated());
  EXPECT_EQ(s.answers, 1);
  EXPECT_LT(s.additional, 40);
}

TEST(Reply, TurnsRecordsWithoutLosingOne) {
  Name n = name("r.x");
  MessageWriter w(n);
  for (uint8_t i = 0; i < 3; i++) w.add(n, type::A, 5, base::ByteVec{10, 0, 0, i});
  BodyView b = w.body();
  b.rotate = 16;
  auto m = ask("r.x", type::A);
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  base::ByteVec out(600);
  for (uint32_t turn = 0; turn < 7; turn++) {
    size_t size = write_reply(q, {.turn = turn}, b, 600, out);
    std::string seen;
    each_answer({out.data(), size}, [&](const Record& r) { return seen += char('0' + out[r.data_at + 3]), true; });
    EXPECT_EQ(seen, turn % 3 == 0 ? "012" : turn % 3 == 1 ? "120" : "201");
  }
}

TEST(MessageWriter, NamesMadeOfEqualLabelsCompressAgainstWholeNamesOnly) {
  Name n = name("0.0.0.0.6.0.0.0.0.ip6.arpa");
  MessageWriter w(n);
  ASSERT_TRUE(w.add_name(n, type::PTR, 5, name("0.0.ip6.arpa")));
  auto m = ask("0.0.0.0.6.0.0.0.0.ip6.arpa", type::PTR);
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  base::ByteVec out(600);
  size_t size = write_reply(q, {}, w.body(), 600, out);
  each_answer({out.data(), size}, [&](const Record& r) {
    size_t at = r.data_at;
    Name target;
    EXPECT_TRUE(read_name({out.data(), size}, at, target));
    EXPECT_EQ(target.text(), "0.0.ip6.arpa.");
    EXPECT_EQ(r.data_size, 2u);
    return true;
  });
}

TEST(Scan, FindsTtlsAndTheNegativeTtlAndDropsTheOpt) {
  Name n = name("nx.example");
  MessageWriter w(n);
  w.authority();
  w.add_soa(name("example"), 60, 7);
  auto m = ask("nx.example", type::A);
  Query q;
  ASSERT_EQ(parse_query(m, q), Parsed::ok);
  base::ByteVec out(600);
  size_t size = write_reply(q, {.rcode = Rcode::nxdomain, .ede = Ede::stale_answer}, w.body(), 600, out);
  Scan s;
  ASSERT_TRUE(scan_answer({out.data(), size}, s));
  EXPECT_EQ(s.rcode, Rcode::nxdomain);
  EXPECT_EQ(s.negative_ttl, 60u);
  EXPECT_EQ(s.ttl_at.size(), 1u);
  EXPECT_EQ(s.size, size - kOptSize - 6);
  for (uint16_t at : s.ttl_at) age_ttl(out, at, 100);
  ASSERT_TRUE(scan_answer({out.data(), size}, s));
  EXPECT_EQ(s.ttl_min, 0u) << "an old record must not wrap round";
  EXPECT_TRUE(question_is({out.data(), size}, name("NX.example").wire(), type::A, klass::IN));
  EXPECT_FALSE(question_is({out.data(), size}, n.wire(), type::AAAA, klass::IN));
  for (size_t k = 0; k < s.size; k++) scan_answer({out.data(), k}, s);
}

bool keeps(std::function<void(MessageWriter&)> more, const char* asked = "www.shop.example") {
  Name n = name(asked);
  MessageWriter w(n);
  more(w);
  auto m = ask(asked, type::A);
  Query q;
  EXPECT_EQ(parse_query(m, q), Parsed::ok);
  base::ByteVec out(1232);
  out.resize(write_reply(q, {}, w.body(), 1232, out));
  Scan s;
  EXPECT_TRUE(scan_answer(out, s));
  return keeps_to_question(out);
}

TEST(Bailiwick, AnAnswerSpeaksOfTheAskedNameAndWhereItLeads) {
  const base::ByteVec a{192, 0, 2, 1};
  auto at = [](const char* n) { return name(n); };
  EXPECT_TRUE(keeps([&](auto& w) { w.add(at("WWW.shop.example"), type::A, 60, a); }));
  EXPECT_TRUE(keeps([&](auto& w) {  // in any order
    w.add(at("web.cdn.example"), type::A, 60, a);
    w.add_name(at("cdn.example"), type::CNAME, 60, at("web.cdn.example"));
    w.add_name(at("www.shop.example"), type::CNAME, 60, at("cdn.example"));
  }));
  EXPECT_FALSE(keeps([&](auto& w) {
    w.add(at("www.shop.example"), type::A, 60, a);
    w.add(at("www.bank.example"), type::A, 60, a);
  }));
  EXPECT_FALSE(keeps([&](auto& w) { w.add_name(at("bank.example"), type::CNAME, 60, at("evil.example")); }));
  EXPECT_TRUE(keeps([&](auto& w) { w.authority(), w.add_soa(at("shop.example"), 60, 1); }));
  EXPECT_TRUE(keeps([&](auto& w) { w.authority(), w.add_soa(at("example"), 60, 1); }));
  EXPECT_FALSE(keeps([&](auto& w) { w.authority(), w.add_soa(at("bank.example"), 60, 1); })) << "a denial of somebody else's zone";
  EXPECT_TRUE(is_within(at("a.b").key(), at("b").key()) && is_within(at("b").key(), at("b").key()) && is_within(at("b").key(), Name().key()));
  EXPECT_FALSE(is_within(at("xb").key(), at("b").key()) || is_within(at("b").key(), at("a.b").key()));
}

TEST(ReadName, PointersMustGoBackwards) {
  uint8_t m[] = {1, 'a', 0, 0xc0, 0, 0xc0, 5, 0xc0, 9, 1, 'b', 0xc0, 7};
  Name n;
  size_t at = 3;
  ASSERT_TRUE(read_name(m, at, n));
  EXPECT_EQ(n.text(), "a.");
  EXPECT_EQ(at, 5u);
  for (size_t bad : {5, 7, 9}) EXPECT_FALSE(read_name(m, bad, n));
}

TEST(Query, OptionsOfAnotherEdnsVersionAreNotJudged) {
  base::ByteVec b(600);
  b.resize(write_query(*Name::from_text("a.example"), type::A, 7, 1232, false, false, b));
  b[b.size() - 5] = 1;  // version
  b.back() = 1;         // one octet of options
  b.push_back(0);
  Query q;
  EXPECT_EQ(parse_query(b, q), Parsed::badvers);
}

TEST(Query, OptionsAreWholeOrItIsNoQuery) {
  auto with = [](std::string_view hex) {
    base::ByteVec b(600), options = *base::from_hex(hex);
    b.resize(write_query(*Name::from_text("a.example"), type::A, 7, 1232, false, false, b));
    base::store_be16(&b[b.size() - 2], uint16_t(options.size()));
    b.insert(b.end(), options.begin(), options.end());
    Query q;
    Parsed p = parse_query(b, q);
    return std::pair(p, q.has_cookie);
  };
  EXPECT_EQ(with("000a00080102030405060708"), std::pair(Parsed::ok, true));
  EXPECT_EQ(with("00030000000a000801020304050607080008000400011800"), std::pair(Parsed::ok, true));
  EXPECT_EQ(with("fde90002ffff"), std::pair(Parsed::ok, false));
  for (const char* bad : {"00", "000a00", "000a0008010203", "000a0000", "000a000701020304050607", "000a0009010203040506070809"}) EXPECT_EQ(with(bad).first, Parsed::formerr) << bad;
}

}  // namespace dns
