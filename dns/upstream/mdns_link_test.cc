// Hosts of a site on loopback, which has no multicast: the group is their one address there.
#include "dns/upstream/mdns_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/core/rng.h"
#include "base/net/socket.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/scan.h"

namespace dns {
namespace {

using namespace std::chrono_literals;

struct MdnsTest : testing::Test {
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::UniqueFd host = *base::udp_socket({base::IpAddr::v4(0x7f000001), 0});
  std::unique_ptr<base::FdWatch> watch;
  std::unique_ptr<ServerLink> link;
  std::vector<base::ByteVec> heard;
  std::function<void(const Query&, const base::SockAddr&)> answer;

  void SetUp() override {
    watch = loop->watch(host.get(), base::kFdRead, [this](base::FdEvents) {
      base::ByteVec m(1500);
      base::SockAddr from;
      const ssize_t n = ::recvfrom(host.get(), m.data(), m.size(), 0, from.ptr(), &from.len);
      if (n <= 0) return;
      m.resize(size_t(n));
      heard.push_back(m);
      Query q;
      ASSERT_EQ(parse_query(heard.back(), q), Parsed::ok);
      if (answer) answer(q, from);
    });
    link = make_mdns_link(*loop, {.devices = {""}, .groups = {*base::local_address(host.get())}, .within = 150ms});
  }
  void say(const Query& q, const base::SockAddr& to, const char* name, uint16_t t, const base::IpAddr& ip, uint16_t id, uint32_t ttl = 120,
           bool flush = true) {
    MessageWriter w(*Name::from_wire(q.name()));
    w.add(*Name::from_text(name), t, ttl, ip.bytes());
    Query other = q;
    other.id = id;
    base::ByteVec out(1500);
    out.resize(write_reply(other, {.flags = flag::AA}, w.body(), 1232, out));
    Scan s;
    ASSERT_TRUE(scan_answer(out, s));
    if (flush) out[s.ttl_at[0] - size_t(2)] |= 0x80;
    ::sendto(host.get(), out.data(), out.size(), 0, to.ptr(), to.len);
  }
  struct Got {
    Rcode rcode = Rcode::servfail;
    std::vector<std::string> addresses;
    uint32_t ttl = 0, negative_ttl = 0;
    uint16_t klass = 0;
    bool any = false;
  };
  Got ask(const char* name, uint16_t t) {
    base::ByteVec b(600);
    b.resize(write_query(*Name::from_text(name), t, 77, 1232, true, false, b));
    Got g;
    bool done = false;
    link->send(b, [&](base::ByteView m) {
      done = true;
      Scan s;
      g.any = !m.empty();
      if (m.empty() || !scan_answer(m, s)) return loop->stop();
      g.rcode = s.rcode;
      g.negative_ttl = s.negative_ttl;
      each_answer(m, [&](const Record& r) {
        g.addresses.push_back((r.type == type::A ? base::IpAddr::v4(&m[r.data_at]) : base::IpAddr::v6(&m[r.data_at])).str());
        g.ttl = r.ttl, g.klass = r.klass;
        return true;
      });
      loop->stop();
    });
    if (!done) loop->run();
    return g;
  }
};

const base::IpAddr kPrinter = *base::IpAddr::parse("192.0.2.9");

TEST_F(MdnsTest, TheHostThatHasTheNameAnswersAndForTenSecondsAtMost) {
  answer = [&](const Query& q, const base::SockAddr& to) { say(q, to, "printer.local", type::A, kPrinter, q.id); };
  auto g = ask("printer.local", type::A);
  EXPECT_EQ(g.addresses, std::vector<std::string>{"192.0.2.9"});
  EXPECT_EQ(g.ttl, 10u);
  EXPECT_EQ(g.klass, 1) << "the cache-flush bit is not the class's";
  ASSERT_EQ(heard.size(), 1u);
  Query q;
  ASSERT_EQ(parse_query(heard[0], q), Parsed::ok);
  EXPECT_EQ(q.flags, 0);
  EXPECT_FALSE(q.has_opt);
}

// Over lo with IPv6, where this host has it: the group is a port of ours there.
TEST_F(MdnsTest, TheHostThatOnlySpeaksIpv6AnswersAsWell) {
  auto six = base::udp_socket({*base::IpAddr::parse("::1"), 0});
  if (!six) GTEST_SKIP() << "no IPv6 here";
  host = std::move(*six);
  base::ByteVec b(2000);
  auto heard_six = loop->watch(host.get(), base::kFdRead, [&](base::FdEvents) {
    base::SockAddr from;
    const ssize_t n = ::recvfrom(host.get(), b.data(), b.size(), 0, from.ptr(), &from.len);
    Query q;
    if (n > 0 && parse_query({b.data(), size_t(n)}, q) == Parsed::ok) say(q, from, "printer.local", type::A, kPrinter, q.id);
  });
  link = make_mdns_link(
      *loop, {.devices = {""}, .groups = {{*base::IpAddr::parse("127.0.0.1"), 1}, *base::local_address(host.get())}, .within = 1500ms});
  EXPECT_EQ(ask("printer.local", type::A).addresses, std::vector<std::string>{"192.0.2.9"});
}

TEST_F(MdnsTest, ANameNobodyClaimsHasNoRecords) {
  auto g = ask("printer.local", type::AAAA);
  EXPECT_EQ(g.rcode, Rcode::noerror);
  EXPECT_TRUE(g.addresses.empty());
  EXPECT_EQ(g.negative_ttl, 10u);
  EXPECT_EQ(link->in_flight(), 0u);
}

TEST_F(MdnsTest, WhatAnswersAnotherQuestionOrSaysNothingIsNotTaken) {
  answer = [&](const Query& q, const base::SockAddr& to) {
    say(q, to, "printer.local", type::A, kPrinter, uint16_t(q.id + 1));
    Query other = q;
    base::ByteVec question(q.question.begin(), q.question.end());
    question[1] ^= 1;
    other.question = question;
    say(other, to, "printer.local", type::A, kPrinter, q.id);
    say(q, to, "printer.local", type::AAAA, *base::IpAddr::parse("2001:db8::1"), q.id);
  };
  auto g = ask("printer.local", type::A);
  EXPECT_TRUE(g.any);
  EXPECT_TRUE(g.addresses.empty());
}

TEST_F(MdnsTest, GarbageIsPassedOver) {
  base::SeededRng rng{7};
  answer = [&](const Query& q, const base::SockAddr& to) {
    say(q, to, "printer.local", type::A, kPrinter, uint16_t(q.id + 1));
    base::ByteVec good(heard.back());
    good[2] = 0x84, good[7] = 1;
    for (uint8_t b : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2}) good.push_back(b);  // an octet short
    for (int i = 0; i < 100; i++) {
      base::ByteVec m = good;
      m.resize(size_t(rng.below(m.size() + 1)));
      for (int k = 0; k < 3 && m.size() > 12; k++) m[2 + size_t(rng.below(m.size() - 2))] ^= uint8_t(1 + rng.below(255));
      ::sendto(host.get(), m.data(), m.size(), 0, to.ptr(), to.len);
    }
    say(q, to, "printer.local", type::A, kPrinter, q.id);
  };
  EXPECT_EQ(ask("printer.local", type::A).addresses, std::vector<std::string>{"192.0.2.9"});
}

TEST_F(MdnsTest, WithoutTheInterfaceThereIsNoAnswerAtAll) {
  link = make_mdns_link(*loop, {.devices = {"not-there0"}});
  EXPECT_FALSE(ask("printer.local", type::A).any);
  EXPECT_FALSE(ask("printer.local", type::A).any);
}

}  // namespace
}  // namespace dns
