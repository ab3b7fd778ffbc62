#include "base/net/tls_stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>

#include "base/sim/test_ca.h"

namespace base {
namespace {

const WallTime kNow{1'750'000'000};

struct TlsStreamTest : testing::Test {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  TestAuthority ca{"CA"}, foreign{"foreign"};
  std::string log;
  std::unique_ptr<TlsStream> c, s;
  std::unique_ptr<Stream> raw;  // the client's end without TLS
  Duration handshake_within = 10s;

  TlsConfig config(const TestAuthority& by, const char* name) {
    auto leaf = by.issue({.name = name, .san = std::string("DNS:") + name});
    return {.certificate_pem = leaf.certificate_pem, .key_pem = leaf.key_pem, .ca_pem = ca.pem()};
  }
  StreamHandler logging(std::string w) {
    return {.on_connected = [this, w] { log += w + "connected "; },
            .on_data = [this, w](Buffer& in) { log += w + std::string(in.text()) + " "; in.clear(); },
            .on_end = [this, w] { log += w + "end "; },
            .on_drained = [this, w] { log += w + "drained "; },
            .on_closed = [this, w](const Result<void>& r) { log += w + (r ? "closed " : r.error().what + " "); }};
  }
  std::unique_ptr<TlsStream> over(UniqueFd fd, TlsRole role, TlsConfig cfg, StreamLimits l = {}) {
    return make_tls_stream(*loop, make_stream(*loop, std::move(fd), l), TlsContext::make(std::move(cfg)).value(),
                           {.role = role, .verify_at = kNow, .handshake_within = handshake_within, .limits = l});
  }
  void pair(const TestAuthority& client_ca, StreamLimits l = {}) {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    c = over(UniqueFd(fds[0]), TlsRole::client, config(client_ca, "c"), l);
    s = over(UniqueFd(fds[1]), TlsRole::server, config(ca, "s"), l);
  }
  void run_for(Duration d) {
    auto end = loop->timer([this] { loop->stop(); });
    end->arm(d);
    loop->run();
  }
  // However slow the machine: false after 10 s.
  bool comes(const std::function<bool()>& true_now) {
    for (int i = 0; i < 2000 && !true_now(); ++i) run_for(5ms);
    return true_now();
  }
  bool logged(const char* text) const { return log.find(text) != log.npos; }
  bool logs(const char* text) {
    return comes([&] { return logged(text); });
  }
};

TEST_F(TlsStreamTest, ConnectsTalksAndEndsOnBothSides) {
  pair(ca);
  c->write("early ");
  c->start(logging("c:"));
  StreamHandler h = logging("s:");
  h.on_end = [this] {
    log += "s:end ";
    s->write("answer");
    s->end();
  };
  s->start(h);
  EXPECT_TRUE(logs("s:connected s:early"));
  EXPECT_TRUE(logs("c:connected"));
  c->write("late");
  c->end();
  for (const char* t : {"s:late", "s:end", "c:answer", "c:end", "c:closed", "s:closed"}) EXPECT_TRUE(logs(t)) << t << " in " << log;
  EXPECT_EQ(c->tls().export_keying_material("x", {}, 16).value(), s->tls().export_keying_material("x", {}, 16).value());
}

TEST_F(TlsStreamTest, AForeignClientIsToldAndRefused) {
  pair(foreign);
  c->start(logging("c:"));
  s->start(logging("s:"));
  EXPECT_TRUE(logs("s:unix peer: the peer's certificate (/CN=c) is refused")) << log;
  EXPECT_TRUE(logs("the peer refused us: unknown CA")) << log;
  EXPECT_FALSE(logged("s:connected"));
}

TEST_F(TlsStreamTest, ASilentPeerTimesOut) {
  handshake_within = 50ms;
  pair(ca);
  s->start(logging("s:"));
  EXPECT_TRUE(comes([&] { return !log.empty(); }));
  EXPECT_EQ(log, "s:unix peer: no TLS connection within 50 ms ");
}

TEST_F(TlsStreamTest, AnEndWithoutCloseNotifyIsATruncation) {
  pair(ca);
  c->start(logging("c:"));
  s->start(logging("s:"));
  EXPECT_TRUE(logs("c:connected") && logs("s:connected"));
  ::shutdown(c->fd(), SHUT_WR);
  EXPECT_TRUE(logs("s:unix peer: the connection ended without TLS close_notify")) << log;
}

TEST_F(TlsStreamTest, BulkGoesThroughWithBackPressure) {
  pair(ca, {.read_high = 100'000, .write_low = 50'000, .write_high = 200'000});
  size_t got = 0, sent = 0;
  const size_t kTotal = 8 << 20;
  ByteVec block(50'000, 'x');
  auto pump = [&] {
    while (sent < kTotal) {
      sent += block.size();
      if (!c->write(block)) break;
    }
  };
  c->start({.on_connected = pump, .on_drained = pump});
  s->start({.on_data = [&](Buffer& in) {
    EXPECT_LT(in.size(), 400'000u);
    got += in.size();
    in.clear();
    if (got >= kTotal) loop->stop();
  }});
  auto guard = loop->timer([&] { loop->stop(); });
  guard->arm(60s);
  loop->run();
  EXPECT_GE(got, kTotal);
  EXPECT_EQ(got, sent);
}

TEST_F(TlsStreamTest, AReaderThatDoesNotConsumeStopsTheSender) {
  pair(ca, {.read_high = 100'000});
  c->start({});
  s->start({});
  c->write(ByteVec(4'000'000, 'x'));
  EXPECT_TRUE(comes([&] { return s->input().size() >= 100'000; }));
  run_for(30ms);
  EXPECT_LT(s->input().size(), 300'000u);
  EXPECT_GT(c->unsent(), 0u);
}

TEST_F(TlsStreamTest, EveryCallbackMayDropItsStream) {
  for (int which = 0; which < 4; ++which) {
    pair(which == 3 ? foreign : ca);
    int called = 0;
    auto drop = [&](int i) {
      if (i != which) return;
      s.reset();
      ++called;
    };
    s->start({.on_connected = [&] { drop(0); },
              .on_data = [&](Buffer&) { drop(1); },
              .on_end = [&] { drop(2); },
              .on_closed = [&](const Result<void>&) { drop(3); }});
    c->start({});
    c->write("x");
    c->end();
    EXPECT_TRUE(comes([&] { return called == 1; })) << which;
    run_for(5ms);
    EXPECT_EQ(called, 1) << which;
  }
}

}  // namespace
}  // namespace base
