#include "tunnel/lan/lan_message.h"

#include <gtest/gtest.h>

#include <set>

namespace tunnel {
namespace {

using base::ByteVec;
using base::IpAddr;

LanService service(LanTag tag = 0x0123456789abcdef) {
  return {{tag, 0xdeadbeef}, 20006, 20007, {*IpAddr::parse("192.168.1.5"), *IpAddr::parse("fd01::5")}, 4500};
}

// A message by hand, as another implementation might write it.
struct Hand {
  ByteVec out;
  base::Writer w{out};
  Hand(uint16_t flags, uint16_t questions, uint16_t answers, uint16_t authority = 0, uint16_t additional = 0) {
    for (uint16_t v : {uint16_t(7), flags, questions, answers, authority, additional}) w.u16(v);
  }
  Hand& name(std::initializer_list<std::string_view> labels, int pointer = -1) {
    for (auto l : labels) w.u8(uint8_t(l.size())), w.put(base::as_bytes(l));
    if (pointer >= 0) w.u16(uint16_t(0xc000 | pointer));
    else w.u8(0);
    return *this;
  }
  Hand& record(uint16_t type, uint16_t length, uint32_t ttl = 120, uint16_t cls = 0x8001) {
    w.u16(type), w.u16(cls), w.u32(ttl), w.u16(length);
    return *this;
  }
};

TEST(LanMessage, AResponseSaysWhoIsWhereAndNoNames) {
  ByteVec b = make_lan_response({service()});
  auto m = read_lan(b);
  ASSERT_TRUE(m && m->response);
  ASSERT_EQ(m->services.size(), 1u);
  EXPECT_EQ(m->services[0], service());
  std::string text(base::as_text(b));
  EXPECT_NE(text.find("0123456789abcdef-deadbeef"), std::string::npos);
}

TEST(LanMessage, AQueryCarriesWhatIsKnownAsFarAsItFits) {
  std::vector<LanKnown> known;
  for (uint32_t i = 0; i < 200; i++) known.push_back({{i, i}, 4000 + i});
  ByteVec b = make_lan_query(known);
  EXPECT_LE(b.size(), 1300u);
  auto m = read_lan(b);
  ASSERT_TRUE(m);
  EXPECT_FALSE(m->response);
  EXPECT_TRUE(m->browses);
  ASSERT_GE(m->known.size(), 10u);
  for (size_t i = 0; i < m->known.size(); i++) EXPECT_EQ(m->known[i], known[i]);
}

TEST(LanMessage, AProbeAsksForAndProposesTheSameLabel) {
  auto m = read_lan(make_lan_probe({service()}));
  ASSERT_TRUE(m);
  EXPECT_FALSE(m->browses);
  EXPECT_EQ(m->asked, std::vector<LanLabel>{service().label});
  EXPECT_EQ(m->proposed, std::vector<LanLabel>{service().label});
}

TEST(LanMessage, CompressedNamesAndOtherCaseAreRead) {
  Hand h(0x8400, 0, 3, 0, 1);
  h.name({"_EDGEMESH", "_udp", "Local"}).record(12, 28);  // at 12
  h.name({"0123456789ABCDEF-deadbeef"}, 12);              // the instance, its end by a pointer
  const int instance = int(h.out.size()) - 28;
  h.name({}, instance).record(33, 8 + 25).w.u32(0), h.w.u16(20006), h.name({"0123456789abcdef-DEADBEEF"}, 12 + 15);
  // SRV's data is 6 bytes, 26 of a label and a pointer: 34
  h.out[h.out.size() - 34 - 1] = 34;
  h.name({}, instance).record(16, 4 + 8).w.u8(3), h.w.put(base::as_bytes("v=1")), h.w.u8(7), h.w.put(base::as_bytes("t=20007"));
  h.name({"0123456789abcdef-deadbeef", "local"}).record(1, 4).w.put(IpAddr::parse("192.168.1.5")->bytes());
  auto m = read_lan(h.out);
  ASSERT_TRUE(m);
  ASSERT_EQ(m->services.size(), 1u);
  EXPECT_EQ(m->services[0].udp_port, 20006);
  EXPECT_EQ(m->services[0].tcp_port, 20007);
  EXPECT_EQ(m->services[0].label, service().label);
}

TEST(LanMessage, OtherServicesArePassedOver) {
  Hand h(0x8400, 0, 2);
  h.name({"_ipp", "_tcp", "local"}).record(12, 10).name({"printer"}, 12);
  h.name({"printer", "local"}).record(1, 4).w.put(IpAddr::parse("192.168.1.9")->bytes());
  auto m = read_lan(h.out);
  ASSERT_TRUE(m);
  EXPECT_TRUE(m->services.empty());
  EXPECT_TRUE(m->asked.empty());
}

TEST(LanMessage, AServiceInPartsOrOfAnotherVersionDoesNotCount) {
  ByteVec whole = make_lan_response({service()});
  std::string text(base::as_text(whole));
  for (const char* part : {"v=1", "t="}) {
    std::string other = text;
    other[other.find(part)] = 'x';
    auto m = read_lan(base::as_bytes(other));
    ASSERT_TRUE(m);
    if (std::string(part) == "v=1") EXPECT_TRUE(m->services.empty());
    else EXPECT_EQ(m->services.at(0).tcp_port, 0) << "without signalling it is still a place to knock at";
  }
  LanService bare = service();
  bare.addresses.clear();
  EXPECT_TRUE(read_lan(make_lan_response({bare}))->services.empty());
  bare = service();
  bare.udp_port = 0;
  EXPECT_TRUE(read_lan(make_lan_response({bare}))->services.empty());
}

TEST(LanMessage, DamagedMessagesAreRefusedWhereverTheyEnd) {
  for (const ByteVec& whole : {make_lan_response({service()}), make_lan_query({{service().label, 4500}}), make_lan_probe({service()})})
    for (size_t n = 0; n < whole.size(); n++) EXPECT_FALSE(read_lan(base::ByteView(whole).first(n))) << n;
  Hand loop(0, 1, 0);
  loop.name({}, 12).w.u32(0x000c0001);
  EXPECT_FALSE(read_lan(loop.out)) << "a pointer to itself";
  Hand forward(0, 1, 0);
  forward.name({}, 40).w.u32(0x000c0001);
  forward.out.resize(64);
  EXPECT_FALSE(read_lan(forward.out));
  Hand many(0, 0, 65);
  many.out.resize(1400);
  EXPECT_FALSE(read_lan(many.out));
  Hand update(0x2800, 0, 0);
  EXPECT_FALSE(read_lan(update.out)) << "another operation";
  ByteVec large = make_lan_response({service()});
  large.resize(kLanMessageBytesMax + 1);
  EXPECT_FALSE(read_lan(large));
}

TEST(LanTag, DependsOnTheAuthorityTheDomainAndTheName) {
  const ByteVec a(32, 1), b(32, 2);
  std::set<LanTag> all = {lan_tag(a, "mesh", "node"), lan_tag(b, "mesh", "node"), lan_tag(a, "mesh2", "node"), lan_tag(a, "mesh", "node2"),
                          lan_tag(a, "mes", "hnode")};
  EXPECT_EQ(all.size(), 5u);
  EXPECT_EQ(lan_tag(a, "mesh", "node"), lan_tag(a, "mesh", "node"));
}

TEST(LanLabel, IsReadAsItIsWrittenAndNothingElseIs) {
  LanLabel l{0x00000000000000ff, 0x1};
  EXPECT_EQ(l.str(), "00000000000000ff-00000001");
  EXPECT_EQ(LanLabel::parse(l.str()), l);
  for (const char* bad : {"", "00000000000000ff", "00000000000000ff-0000001", "00000000000000ff_00000001", "00000000000000fg-00000001",
                          "00000000000000ff-000000011"})
    EXPECT_FALSE(LanLabel::parse(bad)) << bad;
}

}  // namespace
}  // namespace tunnel
