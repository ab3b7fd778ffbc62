// Links over TLS and HTTPS against a server of ours on loopback, on one loop.
#include "dns/upstream/secure_link.h"

#include <gtest/gtest.h>

#include "base/http/h2_codec.h"
#include "base/net/socket.h"
#include "base/net/tls_stream.h"
#include "base/sim/test_ca.h"
#include "dns/upstream/dialect.h"
#include "dns/wire/message_writer.h"
#include "dns/wire/scan.h"

namespace dns {
namespace {

using base::ByteVec;
using base::ByteView;
using base::IpPort;
using Kind = ServerAddress::Kind;
using namespace std::chrono_literals;

constexpr base::WallTime kNow{1'750'000'000};

ByteVec answer_to(ByteView query) {
  Query q;
  EXPECT_EQ(parse_query(query, q), Parsed::ok);
  Name n = *Name::from_wire(q.name());
  MessageWriter w(n);
  w.add(n, type::A, 60, ByteVec{192, 0, 2, uint8_t(n.wire()[1])});  // the name's first letter
  ByteVec out(1500);
  out.resize(write_reply(q, {.flags = flag::RA}, w.body(), 1232, out));
  return out;
}

class Server {
  struct Conn {
    std::unique_ptr<base::TlsStream> stream;
    std::unique_ptr<base::H2Codec> h2;
    std::map<int32_t, ByteVec> bodies;
    std::vector<ByteVec> held;  // DoT: answered in the other order, in pairs
  };

 public:
  Server(base::Loop& loop, const base::TestAuthority& ca, bool https) : loop_(loop), https_(https) {
    auto leaf = ca.issue({.name = "dns", .san = "DNS:dns.example,IP:127.0.0.1"});
    base::TlsConfig c{.certificate_pem = leaf.certificate_pem, .key_pem = leaf.key_pem, .ca_pem = ca.pem(), .require_client_certificate = false};
    if (https) c.alpn = {"h2"};
    tls_ = *base::TlsContext::make(std::move(c));
    auto fd = *base::tcp_listen({*base::IpAddr::parse("127.0.0.1"), 0});
    listener_ = std::make_unique<base::Listener>(loop, std::move(fd), [this](base::UniqueFd s) { accept(std::move(s)); });
  }
  IpPort at() const { return *listener_->address(); }
  void drop_connections() { connections_.clear(); }

  int accepted = 0, asked = 0;
  bool silent = false, in_pairs = false, fails = false;
  std::vector<size_t> sizes;

 private:
  void accept(base::UniqueFd fd) {
    accepted++;
    auto c = std::make_unique<Conn>();
    Conn* p = c.get();
    c->stream = base::make_tls_stream(loop_, base::make_stream(loop_, std::move(fd)), tls_, {.role = base::TlsRole::server, .verify_at = kNow});
    if (https_) make_h2(*p);
    c->stream->start({.on_connected = {}, .on_data = [this, p](base::Buffer& in) { https_ ? h2(*p, in) : dot(*p, in); }, .on_end = {}, .on_drained = {}, .on_closed = {}});
    connections_.push_back(std::move(c));
  }
  void dot(Conn& c, base::Buffer& in) {
    while (in.size() >= 2 && in.size() >= 2u + base::load_be16(in.view().data())) {
      size_t n = base::load_be16(in.view().data());
      note(n);
      ByteVec a = answer_to(in.view().subspan(2, n)), frame;
      in.consume(n + 2);
      base::Writer w(frame);
      w.u16(uint16_t(a.size())), w.put(a);
      c.held.push_back(frame);
      if (silent || (in_pairs && c.held.size() < 2)) continue;
      for (auto it = c.held.rbegin(); it != c.held.rend(); ++it) c.stream->write(ByteView(*it));
      c.held.clear();
    }
  }
  void make_h2(Conn& c) {
    base::H2Events e;
    e.on_headers = [this](int32_t, const base::Headers& h, bool) {
      EXPECT_EQ(h.get(":method"), "POST");
      EXPECT_EQ(h.get(":path"), "/dns-query");
      EXPECT_EQ(h.get(":authority"), "dns.example:" + std::to_string(at().port));
      EXPECT_EQ(h.get("content-type"), "application/dns-message");
    };
    e.on_data = [&c](int32_t s, ByteView d) { c.bodies[s].insert(c.bodies[s].end(), d.begin(), d.end()), c.h2->consume(s, d.size()); };
    e.on_end = [this, &c](int32_t s) {
      note(c.bodies[s].size());
      EXPECT_EQ(base::load_be16(c.bodies[s].data()), 0) << "id 0, so that caches on the way can work";
      if (silent) return;
      EXPECT_TRUE(c.h2->respond(s, {{":status", fails ? "500" : "200"}, {"content-type", "application/dns-message"}}, false));
      EXPECT_TRUE(c.h2->send_data(s, answer_to(c.bodies[s]), true));
    };
    c.h2 = std::make_unique<base::H2Codec>(base::H2Codec::Role::server, std::move(e));
  }
  void h2(Conn& c, base::Buffer& in) {
    EXPECT_TRUE(c.h2->feed(in.view(), loop_.now()));
    in.clear();
    for (ByteVec out; !(out = c.h2->drain()).empty();) c.stream->write(ByteView(out));
  }
  void note(size_t size) { asked++, sizes.push_back(size); }

  base::Loop& loop_;
  bool https_;
  std::shared_ptr<const base::TlsContext> tls_;
  std::unique_ptr<base::Listener> listener_;
  std::vector<std::unique_ptr<Conn>> connections_;
};

class SecureLinkTest : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::TestAuthority ca{"roots"}, other{"others"};
  bool https = GetParam() == Kind::https;
  Server server{*loop, ca, https};

  std::unique_ptr<ServerLink> link(const std::string& name, const base::TestAuthority& roots, std::chrono::milliseconds within = 2000ms) {
    base::TlsConfig c{.ca_pem = roots.pem()};
    if (https) c.alpn = {"h2"};
    return make_secure_link(*loop, {.server = {GetParam(), server.at(), name, https ? "/dns-query" : ""}, .tls = *base::TlsContext::make(std::move(c)),
                                    .wall = [] { return kNow; }, .within = within});
  }
  static ByteVec query(const std::string& n, uint16_t id) {
    ByteVec b(600);
    b.resize(write_query(*Name::from_text(n), type::A, id, 1232, false, false, b));
    return b;
  }
  // -> "n" answered rightly of `names`; the loop runs until all are told.
  int ask(ServerLink& l, int names, char first = 'a') {
    int told = 0, right = 0;
    for (int i = 0; i < names; i++) {
      char letter = char(first + i % 26);
      uint16_t id = uint16_t(7);  // the same for all: it is the link's business to tell them apart
      l.send(query(letter + std::to_string(i) + ".example", id), [&, letter, id](ByteView m) {
        Scan s;
        if (scan_answer(m, s) && base::load_be16(m.data()) == id)
          each_answer(m, [&](const Record& r) { return right += m[r.data_at + 3] == letter && r.owner.wire()[1] == letter, true; });
        if (++told == names) loop->stop();
      });
    }
    if (told < names) loop->run();
    return right;
  }
};

TEST_P(SecureLinkTest, ManyQueriesShareOneConnection) {
  auto l = link("dns.example", ca);
  EXPECT_EQ(ask(*l, 60), 60);
  EXPECT_EQ(ask(*l, 60), 60);
  EXPECT_EQ(server.accepted, 1);
  for (size_t s : server.sizes) EXPECT_EQ(s % 128, 0u) << "padded, so that sizes say little";
  EXPECT_EQ(ask(*l, 300), 256) << "what is under way is bounded";
}

TEST_P(SecureLinkTest, AnswersMayComeInAnyOrder) {
  server.in_pairs = true;
  auto l = link("dns.example", ca);
  EXPECT_EQ(ask(*l, 40), 40);
}

TEST_P(SecureLinkTest, AClosedConnectionIsMadeAnew) {
  auto l = link("dns.example", ca);
  EXPECT_EQ(ask(*l, 1), 1);
  server.drop_connections();
  EXPECT_EQ(ask(*l, 3), 3) << "nobody notices that the server closed an idle connection";
  EXPECT_EQ(server.accepted, 2);
}

TEST_P(SecureLinkTest, OnlyTheRightServerIsAsked) {
  EXPECT_EQ(ask(*link("other.example", ca), 1), 0);
  EXPECT_EQ(ask(*link("dns.example", other), 1), 0);
  EXPECT_EQ(server.asked, 0) << "not even the name of what is looked for is told";
  if (!https) EXPECT_EQ(ask(*link("", ca), 1), 1) << "a certificate for the address";
}

TEST_P(SecureLinkTest, ASilentServerIsGivenUpInTime) {
  auto l = link("dns.example", ca, 300ms);
  EXPECT_EQ(ask(*l, 1), 1);
  server.silent = true;
  EXPECT_EQ(ask(*l, 5), 0);
  EXPECT_EQ(l->in_flight(), 0u);
  server.silent = false;
  EXPECT_EQ(ask(*l, 5), 5);
  EXPECT_EQ(server.accepted, 2) << "on a new connection: the old one gave nothing any more";
}

TEST_P(SecureLinkTest, AnErrorOfTheHttpServerIsNoAnswer) {
  server.fails = https;
  EXPECT_EQ(ask(*link("dns.example", ca), 3), https ? 0 : 3);
}

INSTANTIATE_TEST_SUITE_P(Both, SecureLinkTest, ::testing::Values(Kind::tls, Kind::https),
                         [](auto& i) { return i.param == Kind::tls ? "Tls" : "Https"; });

}  // namespace
}  // namespace dns
