// Real sockets on loopback, real TLS: what one node says reaches the other, and what must not pass does not.
#include "tunnel/signal/h2_signal.h"

#include <gtest/gtest.h>

#include "base/net/socket.h"
#include "base/sim/test_ca.h"
#include "tunnel/signal/dialer.h"

namespace tunnel {
namespace {

using base::IpPort;
using namespace std::chrono_literals;

struct Heard {
  std::string from;
  SignalKind kind;
  std::string payload;
};

class SignalTest : public ::testing::Test {
 protected:
  struct Node {
    std::string name;
    std::shared_ptr<TlsIdentity> tls;
    std::unique_ptr<H2Signal> signal;
    IpPort address;
    std::vector<Heard> heard;
    std::vector<RelayGrant> grants;
  };

  std::shared_ptr<TlsIdentity> tls_of(const base::TestNodePem& p) {
    auto t = TlsIdentity::make({p.cert_chain, p.key, p.ca}, [] { return base::TestCa::kNow; },
                               [this](const base::NodeIdentity& id) { return denied_.contains(id.name); });
    EXPECT_TRUE(t) << (t ? "" : t.error().what);
    return *t;
  }

  std::unique_ptr<Node> node(const std::string& name, bool relay, IpPort listen_on = *IpPort::parse("127.0.0.1:0")) {
    base::TestCa::Spec spec;
    if (relay) spec.roles = {"relay"};
    return node_with(name, relay, tls_of(ca_.node(name, spec)), listen_on);
  }

  std::unique_ptr<Node> node_with(const std::string& name, bool relay, std::shared_ptr<TlsIdentity> tls, IpPort listen_on = *IpPort::parse("127.0.0.1:0")) {
    auto n = std::make_unique<Node>();
    n->name = name;
    n->tls = tls;
    auto fd = base::tcp_listen(listen_on);
    EXPECT_TRUE(fd) << (fd ? "" : fd.error().what);
    n->address = *base::local_address(fd->get());
    H2Signal::Config c;
    c.tls = tls;
    c.serve_relay = relay;
    c.relay_udp = {{}, 4444};
    c.timing = timing_;
    c.backoff_min = 10ms;
    c.backoff_max = 50ms;
    c.relay_fallback_port = fallback_port_;
    c.proxy = proxy_;
    n->signal = H2Signal::make(std::move(c), *loop_, rng_, metrics_, std::move(*fd));
    n->signal->on_frame([p = n.get()](const std::string& from, SignalKind k, base::ByteView b) { p->heard.push_back({from, k, std::string(base::as_text(b))}); });
    n->signal->on_grant([p = n.get()](RelayGrant g) { p->grants.push_back(std::move(g)); });
    return n;
  }

  std::unique_ptr<base::Stream> socket_to(const Node& n) { return base::connect_tcp(*loop_, n.address, 2s).value(); }

  bool run_until(const std::function<bool()>& done, base::Duration within = 2s) {
    bool ok = false;
    auto deadline = loop_->timer([&] { loop_->stop(); });
    deadline->arm(within);
    std::unique_ptr<base::Timer> poll = loop_->timer([&] {
      if ((ok = done())) return loop_->stop();
      poll->arm(2ms);
    });
    poll->arm(base::Duration{0});
    loop_->run();
    return ok;
  }
  void run_for(base::Duration d) { run_until([] { return false; }, d); }

  static bool knows_relay(const Node& n) { return !n.signal->relays().empty() && n.signal->relays()[0].connected; }
  void use_relay(Node& n, const Node& relay) {
    n.signal->set_relays({{relay.name, relay.address}});
    ASSERT_TRUE(run_until([&] { return knows_relay(n); }));
  }
  uint64_t frames(const char* event) {
    return metrics_.counter("edgemeshd_signal_frames_total", "", {{"event", event}}).value();
  }

  std::unique_ptr<base::Loop> loop_ = base::make_libevent_loop();
  base::SystemRng rng_;
  base::Metrics metrics_;
  base::TestCa ca_;
  std::set<std::string> denied_;
  SignalTiming timing_;
  uint16_t fallback_port_ = 0;
  std::optional<IpPort> proxy_;
};

TEST_F(SignalTest, FramesPassThroughARelayBothWays) {
  auto relay = node("relay-1", true), a = node("a", false), b = node("b", false);
  EXPECT_FALSE(a->signal->has_route("b"));
  use_relay(*a, *relay);
  use_relay(*b, *relay);
  EXPECT_TRUE(a->signal->has_route("b"));
  a->signal->send("b", SignalKind::handshake, base::as_bytes("hello b"));
  ASSERT_TRUE(run_until([&] { return b->heard.size() == 1; }));
  EXPECT_EQ(b->heard[0].from, "a");
  EXPECT_EQ(b->heard[0].kind, SignalKind::handshake);
  EXPECT_EQ(b->heard[0].payload, "hello b");
  std::string big(base::limits::kSignalMessageBytesMax, 'x');
  b->signal->send("a", SignalKind::call, base::as_bytes(big));
  ASSERT_TRUE(run_until([&] { return a->heard.size() == 1; }));
  EXPECT_EQ(a->heard[0].payload, big);
  EXPECT_EQ(a->signal->relays()[0].udp_address.str(), "127.0.0.1:4444");
  EXPECT_GT(a->signal->relays()[0].rtt.count(), 0);
  EXPECT_EQ(frames("forwarded"), 2u);
}

TEST_F(SignalTest, PeersAreDialledDirectlyAndWhatWaitsArrives) {
  auto a = node("a", false), b = node("b", false);
  a->signal->set_addresses({{"b", {b->address}}});
  EXPECT_TRUE(a->signal->has_route("b"));
  a->signal->send("b", SignalKind::call, base::as_bytes("1"));
  a->signal->send("b", SignalKind::handshake, base::as_bytes("2"));
  ASSERT_TRUE(run_until([&] { return b->heard.size() == 2; }));
  EXPECT_EQ(b->heard[0].payload, "1");
  EXPECT_TRUE(b->signal->has_route("a")) << "the connection serves both ways";
  b->signal->send("a", SignalKind::hint, base::as_bytes("3"));
  ASSERT_TRUE(run_until([&] { return a->heard.size() == 1; }));
}

TEST_F(SignalTest, ForeignExpiredAndDeniedCertificatesAreRefused) {
  auto relay = node("relay-1", true);
  base::TestCa foreign;
  auto stranger = node_with("a", false, tls_of(foreign.node("a")));
  stranger->signal->set_relays({{"relay-1", relay->address}});
  denied_.insert("d");
  auto denied = node("d", false);
  denied->signal->set_relays({{"relay-1", relay->address}});
  run_for(300ms);
  EXPECT_FALSE(knows_relay(*stranger));
  EXPECT_FALSE(knows_relay(*denied));
  EXPECT_EQ(relay->signal->connections(), 0u);
  base::TestCa::Spec expired;
  expired.to = {base::TestCa::kNow.unix_seconds - 10};
  auto p = ca_.node("e", expired);
  auto t = TlsIdentity::make({p.cert_chain, p.key, p.ca}, [] { return base::TestCa::kNow; }, nullptr);
  ASSERT_FALSE(t);
  EXPECT_NE(t.error().what.find("--renew"), std::string::npos) << t.error().what;
}

// The same CA may sign for several meshes; each refuses the nodes of the others.
TEST_F(SignalTest, ANodeOfAnotherTrustDomainIsRefused) {
  auto relay = node("relay-1", true);
  auto leaf = ca_.node_ca().issue({.san = "URI:spiffe://other.test/node/a", .not_before = base::TestCa::kFrom, .not_after = base::TestCa::kTo});
  auto other = node_with("a", false, tls_of({leaf.certificate_pem + ca_.node_ca().pem(), leaf.key_pem, ca_.ca_pem()}));
  other->signal->set_relays({{"relay-1", relay->address}});
  run_for(200ms);
  EXPECT_EQ(relay->signal->connections(), 0u);
  EXPECT_FALSE(knows_relay(*other));
}

TEST_F(SignalTest, ANodeDeniedLaterLosesItsConnection) {
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  ASSERT_TRUE(run_until([&] { return relay->signal->connections() == 1; }));
  denied_.insert("a");
  relay->signal->recheck();
  EXPECT_TRUE(run_until([&] { return relay->signal->connections() == 0; }));
}

TEST_F(SignalTest, TheWrongNodeAtAnAddressIsNotBelieved) {
  auto c = node("c", false), a = node("a", false);
  a->signal->set_addresses({{"b", {c->address}}});
  a->signal->send("b", SignalKind::call, base::as_bytes("for b only"));
  a->signal->set_relays({{"", c->address}});
  run_for(300ms);
  EXPECT_TRUE(c->heard.empty());
  EXPECT_FALSE(knows_relay(*a)) << "c has no relay role";
}

// A client that holds a valid certificate but writes another name into its frames.
TEST_F(SignalTest, AFrameInAnotherNameClosesTheConnection) {
  auto relay = node("relay-1", true), b = node("b", false);
  use_relay(*b, *relay);
  auto tls = tls_of(ca_.node("mallory"));
  Message hello, forged;
  hello.mutable_hello()->set_node("mallory");
  forged.mutable_frame()->set_from("a");
  forged.mutable_frame()->set_to("b");
  forged.mutable_frame()->set_kind(1);
  std::string why;
  std::unique_ptr<SignalConn> conn;
  conn = std::make_unique<SignalConn>(*loop_, rng_, base::TlsRole::client, socket_to(*relay), *tls, hello, timing_,
                                      SignalConn::Events{[&] { conn->send(forged); }, [](auto&) {}, [&](auto& w) { why = w; }});
  EXPECT_TRUE(run_until([&] { return !why.empty(); }));
  EXPECT_TRUE(b->heard.empty());
  EXPECT_EQ(frames("refused"), 1u);
  EXPECT_EQ(relay->signal->connections(), 1u) << "b is still there";
}

TEST_F(SignalTest, AHelloThatContradictsTheCertificateIsRefused) {
  auto relay = node("relay-1", true);
  Message hello;
  hello.mutable_hello()->set_node("a");
  std::string why;
  auto tls = tls_of(ca_.node("mallory"));
  SignalConn conn(*loop_, rng_, base::TlsRole::client, socket_to(*relay), *tls, hello, timing_, {[] {}, [](auto&) {}, [&](auto& w) { why = w; }});
  EXPECT_TRUE(run_until([&] { return !why.empty(); }));
  EXPECT_EQ(relay->signal->connections(), 0u);
}

TEST_F(SignalTest, ANodeWithoutTheRoleDoesNotRelay) {
  auto c = node("c", false), a = node("a", false), b = node("b", false);
  a->signal->set_addresses({{"c", {c->address}}});
  b->signal->set_addresses({{"c", {c->address}}});
  a->signal->send("c", SignalKind::hint, base::as_bytes("x"));
  b->signal->send("c", SignalKind::hint, base::as_bytes("x"));
  ASSERT_TRUE(run_until([&] { return c->heard.size() == 2; }));
  EXPECT_FALSE(a->signal->has_route("b"));
}

TEST_F(SignalTest, ReconnectsWhenTheRelayComesBack) {
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  int changes = 0;
  a->signal->on_routes_changed([&] { changes++; });
  IpPort at = relay->address;
  auto tls = relay->tls;
  relay.reset();
  ASSERT_TRUE(run_until([&] { return !knows_relay(*a); }));
  EXPECT_FALSE(a->signal->has_route("b"));
  EXPECT_GE(changes, 1);
  run_for(120ms);
  relay = node_with("relay-1", true, tls, at);
  EXPECT_TRUE(run_until([&] { return knows_relay(*a); }));
}

TEST_F(SignalTest, AnAbsentPeerIsNoRouteForAWhile) {
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  a->signal->send("nobody", SignalKind::call, base::as_bytes("x"));
  EXPECT_TRUE(run_until([&] { return !a->signal->has_route("nobody"); }));
  EXPECT_TRUE(a->signal->has_route("b"));
}

TEST_F(SignalTest, BothEndsGetTheGrantTheyAskedFor) {
  auto relay = node("relay-1", true), a = node("a", false), b = node("b", false);
  relay->signal->set_granter([](const std::string& x, const std::string& y) {
    RelayGrant g{"relay-1", {{}, 4444}, y, 7, 1, {1, 2}, base::ByteVec(32, 9), 3600s};
    RelayGrant h = g;
    h.peer = x;
    return std::pair{g, h};
  });
  use_relay(*a, *relay);
  use_relay(*b, *relay);
  a->signal->request_grant("b", "");
  ASSERT_TRUE(run_until([&] { return a->grants.size() == 1 && b->grants.size() == 1; }));
  EXPECT_EQ(a->grants[0].peer, "b");
  EXPECT_EQ(b->grants[0].peer, "a");
  EXPECT_EQ(a->grants[0].relay_address.str(), "127.0.0.1:4444") << "an unspecified address is the one dialled";
  EXPECT_EQ(b->grants[0].bind_key, base::ByteVec(32, 9));
  relay->signal->request_grant("a", "");
  ASSERT_TRUE(run_until([&] { return relay->grants.size() == 1 && a->grants.size() == 2; }));
}

// A receiver that does not read: what the relay holds for it is bounded, and others are served.
TEST_F(SignalTest, APeerThatDoesNotReadCostsABoundedQueue) {
  auto relay = node("relay-1", true), a = node("a", false), c = node("c", false);
  use_relay(*a, *relay);
  use_relay(*c, *relay);
  Message hello;
  hello.mutable_hello()->set_node("b");
  auto tls = tls_of(ca_.node("b"));
  auto socket = socket_to(*relay);
  base::Stream* raw = socket.get();
  bool ready = false;
  SignalConn b(*loop_, rng_, base::TlsRole::client, std::move(socket), *tls, hello, timing_, {[&] { ready = true; }, [](auto&) {}, [](auto&) {}});
  ASSERT_TRUE(run_until([&] { return ready; }));
  raw->pause();
  std::string block(60 << 10, 'x');
  for (int i = 0; i < 400; i++) {  // 24 MB
    a->signal->send("b", SignalKind::hint, base::as_bytes(block));
    if (i % 4 == 3) run_for(5ms);
  }
  EXPECT_GT(frames("dropped"), 0u);
  uint64_t through = frames("forwarded") * block.size();
  EXPECT_LT(through, 12u << 20) << "the kernel's socket buffers and our bounds";
  a->signal->send("c", SignalKind::hint, base::as_bytes("still here"));
  EXPECT_TRUE(run_until([&] { return c->heard.size() == 1; }));
}

// What UDP does not carry goes to the relay and back over a connection of its own, apart from frames.
TEST_F(SignalTest, RecordsGoToTheRelayAndBack) {
  auto relay = node("relay-1", true), a = node("a", false), b = node("b", false);
  relay->signal->set_record_taker([&](uint64_t id, const std::string& from, base::ByteView r) {
    EXPECT_EQ(from, "a");
    relay->signal->send_record(id, base::as_bytes("back " + std::string(base::as_text(r))));
  });
  std::vector<std::string> got;
  a->signal->on_record([&](const std::string& from, base::ByteView r) { got.push_back(from + ": " + std::string(base::as_text(r))); });
  use_relay(*a, *relay);
  use_relay(*b, *relay);
  EXPECT_TRUE(a->signal->relays()[0].takes_records);
  EXPECT_EQ(a->signal->records_to("relay-1").id, 0u);
  a->signal->want_records("relay-1", true);
  ASSERT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id != 0; }));
  a->signal->records_to("relay-1").send(base::as_bytes("one"));
  a->signal->records_to("relay-1").send(base::as_bytes("two"));
  ASSERT_TRUE(run_until([&] { return got.size() == 2; }));
  EXPECT_EQ(got[0], "relay-1: back one");
  EXPECT_EQ(got[1], "relay-1: back two");

  b->signal->send("a", SignalKind::call, base::as_bytes("a frame"));  // not by the connection for records, though it is a's newest
  ASSERT_TRUE(run_until([&] { return a->heard.size() == 1; }));
  a->signal->want_records("relay-1", false);
  EXPECT_EQ(a->signal->records_to("relay-1").id, 0u);
  EXPECT_TRUE(run_until([&] { return relay->signal->connections() == 2; }));
}

TEST_F(SignalTest, TheConnectionForRecordsComesBackAsAnother) {
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  a->signal->want_records("relay-1", true);
  ASSERT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id != 0; }));
  uint64_t before = a->signal->records_to("relay-1").id;
  auto stale = a->signal->records_to("relay-1").send;
  IpPort at = relay->address;
  auto tls = relay->tls;
  relay.reset();
  ASSERT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id == 0; }));
  stale(base::as_bytes("into nothing"));
  relay = node_with("relay-1", true, tls, at);
  EXPECT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id > before; }));
}

TEST_F(SignalTest, ARelayThatIsTakenOffTheListLosesBothConnections) {
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  a->signal->want_records("relay-1", true);
  ASSERT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id != 0; }));
  a->signal->set_relays({{"relay-1", relay->address}});
  EXPECT_NE(a->signal->records_to("relay-1").id, 0u);
  a->signal->set_relays({});
  EXPECT_TRUE(run_until([&] { return relay->signal->connections() == 0; }));
  a->signal->want_records("relay-1", true);
  run_for(100ms);
  EXPECT_EQ(relay->signal->connections(), 0u);
}

TEST_F(SignalTest, OnlyARelayTakesRecords) {
  auto c = node("c", false);
  Message hello;
  hello.mutable_hello()->set_node("b");
  hello.mutable_hello()->set_is_for_records(true);
  std::string why;
  auto tls = tls_of(ca_.node("b"));
  SignalConn b(*loop_, rng_, base::TlsRole::client, socket_to(*c), *tls, hello, timing_, {[] {}, [](auto&) {}, [&](auto& w) { why = w; }});
  EXPECT_TRUE(run_until([&] { return !why.empty(); }));
}

// A node that does not read its records: the oldest are dropped, what waits is bounded, and soon it would be stale.
TEST_F(SignalTest, RecordsThatNobodyReadsAreDropped) {
  auto relay = node("relay-1", true);
  uint64_t id = 0;
  relay->signal->set_record_taker([&](uint64_t c, const std::string&, base::ByteView) { id = c; });
  Message hello, record;
  hello.mutable_hello()->set_node("b");
  hello.mutable_hello()->set_is_for_records(true);
  record.set_record("here");
  auto tls = tls_of(ca_.node("b"));
  auto socket = socket_to(*relay);
  base::Stream* raw = socket.get();
  std::unique_ptr<SignalConn> b;
  b = std::make_unique<SignalConn>(*loop_, rng_, base::TlsRole::client, std::move(socket), *tls, hello, timing_,
                                   SignalConn::Events{[&] { b->send(record); }, [](auto&) {}, [](auto&) {}});
  ASSERT_TRUE(run_until([&] { return id != 0; }));
  raw->pause();
  std::string datagram(1400, 'x');
  for (int i = 0; i < 20000; i++) {  // 28 MB
    relay->signal->send_record(id, base::as_bytes(datagram));
    if (i % 200 == 199) run_for(2ms);
  }
  run_for(300ms);
  auto records = [&](const char* event) { return metrics_.counter("edgemeshd_signal_records_total", "", {{"event", event}}).value(); };
  EXPECT_GT(records("dropped"), 5000u);
  EXPECT_EQ(records("dropped") + records("sent"), 20000u) << "none waits any longer";
}

// The relay's own port is closed to this node: it is found at the one that firewalls leave open, at once.
TEST_F(SignalTest, ARelayIsFoundAtItsOtherPort) {
  auto relay = node("relay-1", true);
  auto extra = base::tcp_listen(*IpPort::parse("127.0.0.1:0")), closed = base::tcp_listen(*IpPort::parse("127.0.0.1:0"));
  ASSERT_TRUE(extra && closed);
  fallback_port_ = base::local_address(extra->get())->port;
  IpPort refused = *base::local_address(closed->get());
  closed->reset();
  relay->signal->listen(std::move(*extra));
  auto a = node("a", false);
  a->signal->set_relays({{"relay-1", refused}});
  EXPECT_TRUE(run_until([&] { return knows_relay(*a); }));
  a->signal->want_records("relay-1", true);
  EXPECT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id != 0; }));
}

// An HTTP proxy that connects to everybody, or refuses everybody.
class TestProxy {
 public:
  TestProxy(base::Loop& loop, std::string answer) : loop_(loop), answer_(std::move(answer)) {
    auto fd = base::tcp_listen(*IpPort::parse("127.0.0.1:0"));
    at = *base::local_address(fd->get());
    listener_ = std::make_unique<base::Listener>(loop, std::move(*fd), [this](base::UniqueFd c) { serve(base::make_stream(loop_, std::move(c))); });
  }
  IpPort at;
  std::vector<std::string> asked;

 private:
  struct Pair {
    std::unique_ptr<base::Stream> client, server;
  };
  void serve(std::unique_ptr<base::Stream> s) {
    auto p = std::make_shared<Pair>();
    p->client = std::move(s);
    pairs_.push_back(p);
    p->client->start({.on_data = [this, p = p.get()](base::Buffer& in) { on_client(*p, in); }});
  }
  void on_client(Pair& p, base::Buffer& in) {
    if (!p.server) {
      size_t end = in.text().find("\r\n\r\n");
      if (end == std::string_view::npos) return;
      std::string head(in.text().substr(0, end));
      in.consume(end + 4);
      asked.push_back(head.substr(0, head.find("\r\n")));
      p.client->write(answer_);
      if (!answer_.starts_with("HTTP/1.1 200")) return;
      std::string target = head.substr(8, head.find(' ', 8) - 8);
      p.server = base::connect_tcp(loop_, *IpPort::parse(target), 2s).value();
      p.server->start({.on_data = [&p](base::Buffer& back) { p.client->write(back.view()), back.clear(); }});
    }
    p.server->write(in.view());
    in.clear();
  }
  base::Loop& loop_;
  std::string answer_;
  std::unique_ptr<base::Listener> listener_;
  std::vector<std::shared_ptr<Pair>> pairs_;
};

TEST_F(SignalTest, RelaysAreReachedThroughAProxy) {
  TestProxy proxy(*loop_, "HTTP/1.1 200 OK\r\nVia: test\r\n\r\n");
  auto relay = node("relay-1", true), b = node("b", false);
  use_relay(*b, *relay);
  proxy_ = proxy.at;
  auto a = node("a", false);
  use_relay(*a, *relay);
  a->signal->send("b", SignalKind::call, base::as_bytes("hello"));
  ASSERT_TRUE(run_until([&] { return b->heard.size() == 1; }));
  a->signal->want_records("relay-1", true);
  EXPECT_TRUE(run_until([&] { return a->signal->records_to("relay-1").id != 0; }));
  ASSERT_EQ(proxy.asked.size(), 2u) << "signalling and records";
  EXPECT_EQ(proxy.asked[1], "CONNECT " + relay->address.str() + " HTTP/1.1");
  EXPECT_EQ(a->signal->relays()[0].udp_address.str(), "127.0.0.1:4444") << "UDP goes straight";
}

TEST_F(SignalTest, AProxyThatRefusesIsNamed) {
  TestProxy proxy(*loop_, "HTTP/1.1 403 Forbidden\r\n\r\n");
  auto relay = node("relay-1", true);
  proxy_ = proxy.at;
  auto a = node("a", false);
  a->signal->set_relays({{"relay-1", relay->address}});
  ASSERT_TRUE(run_until([&] { return !a->signal->trouble("relay-1").empty(); }));
  EXPECT_NE(a->signal->trouble("relay-1").find("proxy " + proxy.at.str() + " does not connect to " + relay->address.str() + ": 403 Forbidden"), std::string::npos)
      << a->signal->trouble("relay-1");
  EXPECT_EQ(relay->signal->connections(), 0u);
}

TEST_F(SignalTest, SilenceIsNoticed) {
  timing_.ping_every = 20ms;
  timing_.silence = 60ms;
  auto relay = node("relay-1", true), a = node("a", false);
  use_relay(*a, *relay);
  run_for(200ms);
  EXPECT_TRUE(knows_relay(*a)) << "pings keep an idle connection";
  Message hello;
  hello.mutable_hello()->set_node("b");
  auto tls = tls_of(ca_.node("b"));
  auto socket = socket_to(*relay);
  base::Stream* raw = socket.get();
  SignalTiming slow;
  SignalConn b(*loop_, rng_, base::TlsRole::client, std::move(socket), *tls, hello, slow, {[] {}, [](auto&) {}, [](auto&) {}});
  ASSERT_TRUE(run_until([&] { return relay->signal->connections() == 2; }));
  raw->pause();  // answers no ping
  EXPECT_TRUE(run_until([&] { return relay->signal->connections() == 1; }, 2s));
}

TEST(Backoff, DoublesToItsBoundWithJitter) {
  base::SeededRng rng(1);
  Backoff b(1s, 30s);
  base::Duration want = 1s;
  for (int i = 0; i < 10; i++) {
    auto d = b.step(rng);
    EXPECT_GE(d, want / 2);
    EXPECT_LE(d, want);
    want = std::min<base::Duration>(want * 2, 30s);
  }
  b.reset();
  EXPECT_LE(b.step(rng), 1s);
}

}  // namespace
}  // namespace tunnel
