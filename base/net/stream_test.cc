#include "base/net/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace base {
namespace {

const IpPort kLo{IpAddr::v4(0x7f000001), 0};

struct StreamTest : testing::Test {
  std::unique_ptr<Loop> loop = make_libevent_loop();
  std::string log;
  std::unique_ptr<Timer> guard = loop->timer([this] { log += " STUCK"; loop->stop(); });
  StreamTest() { guard->arm(60s); }
  void run_for(Duration d) {
    auto end = loop->timer([this] { loop->stop(); });
    end->arm(d);
    loop->run();
  }
  bool comes(const std::function<bool()>& true_now) {  // however slow the machine: false after 10 s
    for (int i = 0; i < 2000 && !true_now(); ++i) run_for(5ms);
    return true_now();
  }
  // All of it and, a moment later, nothing else.
  void expect_log(const std::string& want) {
    comes([&] { return log.size() >= want.size(); });
    run_for(5ms);
    EXPECT_EQ(log, want);
  }
  std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> pair(StreamLimits l = {}) {
    int s[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
    return {make_stream(*loop, UniqueFd(s[0]), l), make_stream(*loop, UniqueFd(s[1]), l)};
  }
  // A handler that writes what happens into the log.
  StreamHandler logging(const char* who) {
    std::string w = who;
    return {.on_connected = [this, w] { log += w + "connected "; },
            .on_data = [this, w](Buffer& in) { log += w + std::string(in.text()) + " "; in.clear(); },
            .on_end = [this, w] { log += w + "end "; },
            .on_drained = [this, w] { log += w + "drained "; },
            .on_closed = [this, w](const Result<void>& r) { log += w + (r ? "closed " : r.error().what + " "); }};
  }
};

TEST(Buffer, IsAQueueOfBytes) {
  Buffer b;
  std::string want;
  size_t taken = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string piece(size_t(i * 37 % 97), char('a' + i % 26));
    want += piece;
    b.append(as_bytes(piece));
    size_t n = std::min(b.size(), size_t(i * 53 % 101));
    ASSERT_EQ(b.text().substr(0, n), std::string_view(want).substr(taken, n));
    b.consume(n);
    taken += n;
  }
  EXPECT_EQ(b.text(), std::string_view(want).substr(taken));
  EXPECT_EQ(b.append_with(10, [](uint8_t*, size_t) { return -1; }), -1);
  EXPECT_EQ(b.text(), std::string_view(want).substr(taken));
}

TEST_F(StreamTest, BytesAndHalfCloseBothWays) {
  auto [a, b] = pair();
  a->start(logging("a:"));
  StreamHandler h = logging("b:");
  h.on_end = [this, back = b.get()] {
    log += "b:end ";
    back->write("answer after your end");
    back->end();
  };
  b->start(h);
  a->write("question");
  a->end();
  EXPECT_FALSE(a->write("after end"));
  expect_log("b:question b:end b:closed a:answer after your end a:end a:closed ");
}

TEST_F(StreamTest, ConnectsOverTcpAndUnix) {
  std::vector<std::unique_ptr<Stream>> served;
  Listener l(*loop, tcp_listen(kLo).value(), [&](UniqueFd fd) {
    served.push_back(make_stream(*loop, std::move(fd)));
    served.back()->start({.on_data = [s = served.back().get()](Buffer& in) { s->write(in.view()); in.clear(); }});
  });
  auto c = connect_tcp(*loop, *l.address(), 1s);
  ASSERT_TRUE(c);
  (*c)->write("sent while connecting");
  (*c)->start(logging(""));
  expect_log("connected sent while connecting ");
}

TEST_F(StreamTest, ARefusedConnectIsAReason) {
  IpPort at = *local_address(tcp_listen(kLo)->get());
  auto c = connect_tcp(*loop, at, 1s);
  ASSERT_TRUE(c);
  (*c)->start(logging(""));
  expect_log(at.str() + ": Connection refused ");
}

TEST_F(StreamTest, AConnectHasADeadline) {
  UniqueFd l = tcp_listen(kLo, {.backlog = 0}).value();  // a full backlog answers nobody
  IpPort at = *local_address(l.get());
  UniqueFd fill[3] = {tcp_connect_start(at).value(), tcp_connect_start(at).value(), tcp_connect_start(at).value()};
  auto c = connect_tcp(*loop, at, 30ms);
  ASSERT_TRUE(c);
  (*c)->start(logging(""));
  expect_log(at.str() + ": no answer within 30 ms ");
}

TEST_F(StreamTest, AResetIsAReasonNotAnEnd) {
  UniqueFd l = tcp_listen(kLo).value();
  auto c = connect_tcp(*loop, *local_address(l.get()), 1s).value();
  c->start(logging(""));
  EXPECT_TRUE(comes([&] { return !log.empty(); }));
  UniqueFd s = accept_one(l.get()).value();
  linger now{1, 0};
  setsockopt(s.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  s.reset();
  expect_log("connected " + c->peer() + ": Connection reset by peer ");
}

TEST_F(StreamTest, AWriterIsHeldAtTheHighMarkAndFreedAtTheLow) {
  auto [a, b] = pair({.write_low = 1000, .write_high = 500'000, .write_max = 10 << 20});
  size_t got = 0, sent = 0;
  a->start({.on_drained = [&, from = a.get()] {
    log += "a:drained ";
    EXPECT_LE(from->unsent(), 1000u);
  }});
  b->start({.on_data = [&](Buffer& in) { got += in.size(); in.clear(); }});
  b->pause();
  ByteVec block(10'000, 'x');
  bool more = true;
  while (more || sent < 2'000'000) {  // goes on a little although it was told to wait
    more = a->write(block);
    sent += block.size();
  }
  EXPECT_GE(a->unsent(), 500'000u);
  run_for(5ms);
  EXPECT_EQ(log, "");
  b->resume();
  expect_log("a:drained ");
  EXPECT_TRUE(comes([&] { return got == sent; }));
}

TEST_F(StreamTest, APeerThatNeverReadsIsClosed) {
  auto [a, b] = pair({.write_max = 1 << 20});
  a->start(logging("a:"));
  ByteVec block(100'000, 'x');
  for (int i = 0; i < 30; ++i) a->write(block);
  EXPECT_EQ(log, "") << "never told from inside write()";
  EXPECT_TRUE(comes([&] { return log.find("does not read") != log.npos; })) << log;
}

TEST_F(StreamTest, AReaderThatDoesNotConsumeStopsTheSender) {
  auto [a, b] = pair({.read_high = 100'000});
  a->start({});
  b->start({});
  ByteVec block(2'000'000, 'x');
  a->write(block);
  auto filled = [&] {  // however slow the machine; then time in which more could come
    comes([&] { return b->input().size() >= 100'000; });
    run_for(20ms);
    return b->input().size();
  };
  size_t held = filled();
  EXPECT_GE(held, 100'000u);
  EXPECT_LT(held, 100'000u + (64u << 10));
  EXPECT_GT(a->unsent(), 0u);
  b->input().clear();
  b->resume();
  EXPECT_GE(filled(), 100'000u);
}

TEST_F(StreamTest, EveryCallbackMayDropItsStream) {
  for (int which = 0; which < 5; ++which) {
    auto [p, b] = pair({.write_low = 10, .write_high = 100});
    auto a = std::make_shared<std::unique_ptr<Stream>>(std::move(p));
    int called = 0;
    auto drop = [&, a](int i) {
      if (i != which) return;
      a->reset();
      ++called;
    };
    (*a)->start({.on_data = [&](Buffer&) { drop(0); },
                 .on_end = [&] { drop(1); },
                 .on_drained = [&] { drop(2); },
                 .on_closed = [&](const Result<void>&) { drop(which == 4 ? 4 : 3); }});
    b->start({});
    ByteVec big(which == 4 ? 17 << 20 : 2'000'000, 'x');  // 4: beyond write_max
    if (which >= 2) (*a)->write(big);
    if (which == 3) (*a)->end();
    b->write("hello");
    b->end();
    auto read_on = [&] {
      b->input().clear();
      b->resume();
      return called == 1;
    };
    EXPECT_TRUE(comes(read_on)) << which;
    for (int i = 0; i < 4; ++i) run_for(1ms), read_on();
    EXPECT_EQ(called, 1) << which;
  }
}

TEST_F(StreamTest, AListenerMayBeDroppedInItsCallback) {
  std::unique_ptr<Listener> l;
  l = std::make_unique<Listener>(*loop, tcp_listen(kLo).value(), [&](UniqueFd) { l.reset(); log += "one"; });
  IpPort at = *l->address();
  UniqueFd c[2] = {tcp_connect_start(at).value(), tcp_connect_start(at).value()};
  expect_log("one");
}

}  // namespace
}  // namespace base
