// Server and clients joined by a net of the test's own: every datagram is seen, counted, and may be lost, forged or moved.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tunnel/packet/packet.h"
#include "tunnel/relay/relay_client.h"
#include "tunnel/relay/relay_server.h"
#include "tunnel/stun/stun.h"

namespace tunnel {
namespace {

using State = RelayClient::State;
using base::IpPort;
using std::chrono::milliseconds;
using std::chrono::seconds;

IpPort at(const char* s) { return *IpPort::parse(s); }
const IpPort kRelay = at("198.51.100.1:3478"), kA = at("192.0.2.1:1111"), kB = at("203.0.113.7:2222"), kC = at("192.0.2.99:1111");

struct Sent {
  IpPort peer;
  base::ByteVec bytes;
};

class RelayTest : public testing::Test {
 protected:
  RelayTest() { make_server(0); }
  void make_server(uint64_t limit, size_t channels_max = 100) {
    server_ = RelayServer::make({"relay", kRelay, seconds(3600), limit, channels_max}, rng_, metrics_, [this](const IpPort& to, base::ByteView b, size_t segment) {
      segments_.push_back(segment);
      out_bytes_ += b.size();
      from_relay_.push_back({to, {b.begin(), b.end()}});
    });
  }
  void to_relay(const IpPort& from, base::ByteVec b) {
    in_bytes_ += b.size();
    server_->on_datagram(from, b, now_);
  }
  RelayClient client() {
    return RelayClient(rng_, [this](const IpPort& to, base::ByteView b) {
      EXPECT_EQ(to, kRelay);
      from_client_.push_back({b.begin(), b.end()});
    });
  }
  // Carries everything to and fro for a client at that address.
  void settle(RelayClient& c, const IpPort& where) {
    while (!from_client_.empty() || !from_relay_.empty()) {
      for (auto& b : std::exchange(from_client_, {})) to_relay(where, b);
      for (auto& s : std::exchange(from_relay_, {}))
        if (s.peer == where) c.on_datagram(kRelay, s.bytes, now_);
    }
  }
  void bind_both() {
    auto [ga, gb] = server_->grant("a", "b", now_);
    a_.on_grant(ga, now_);
    settle(a_, kA);
    b_.on_grant(gb, now_);
    settle(b_, kB);
    ASSERT_TRUE(a_.is_bound() && b_.is_bound());
  }
  base::ByteVec frame(uint32_t channel, std::string_view text = "0123456789") {
    base::ByteVec f(kRelayHeaderBytes);
    write_relay_header(f.data(), channel);
    f.insert(f.end(), text.begin(), text.end());
    return f;
  }
  std::vector<Sent> forwarded(const IpPort& from, base::ByteVec f) {
    to_relay(from, std::move(f));
    return std::exchange(from_relay_, {});
  }

  base::SeededRng rng_{1};
  base::Metrics metrics_;
  base::Instant now_{seconds(1000)};
  std::vector<base::ByteVec> from_client_;
  std::vector<Sent> from_relay_;
  size_t in_bytes_ = 0, out_bytes_ = 0;
  std::vector<size_t> segments_;  // of what the relay sent
  std::unique_ptr<RelayServer> server_;
  RelayClient a_ = client(), b_ = client();
};

TEST_F(RelayTest, BindsAndForwardsBothWays) {
  bind_both();
  EXPECT_EQ(a_.observed(), kA);
  EXPECT_FALSE(a_.is_peer_bound());
  EXPECT_TRUE(b_.is_peer_bound());
  EXPECT_EQ(a_.path().relay_channel, b_.path().relay_channel);
  uint32_t channel = a_.path().relay_channel;
  auto there = forwarded(kA, frame(channel, "there"));
  ASSERT_EQ(there.size(), 1u);
  EXPECT_EQ(there[0].peer, kB);
  EXPECT_EQ(there[0].bytes, frame(channel, "there"));
  auto back = forwarded(kB, frame(channel, "back"));
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].peer, kA);
}

// What the kernel joined leaves joined, in runs that go the same way; datagrams of other kinds among them are judged by themselves.
TEST_F(RelayTest, WhatCameJoinedLeavesJoined) {
  bind_both();
  auto [gc, gd] = server_->grant("a", "c", now_);
  RelayClient c = client(), d = client();
  c.on_grant(gc, now_);
  settle(c, kA);
  d.on_grant(gd, now_);
  settle(d, kC);
  uint32_t to_b = a_.path().relay_channel, to_c = gc.channel;
  base::ByteVec all;
  auto add = [&](const base::ByteVec& one) { all.insert(all.end(), one.begin(), one.end()); };
  for (int i = 0; i < 3; ++i) add(frame(to_b));
  add(frame(to_c));
  add(frame(0));  // nobody's
  add(base::ByteVec(14, 0xff));
  add(frame(to_b));
  add(frame(to_b, "short"));
  from_relay_.clear();
  segments_.clear();
  server_->on_datagrams(kA, all, 14, now_);
  ASSERT_EQ(from_relay_.size(), 3u);
  EXPECT_EQ(from_relay_[0].peer, kB);
  EXPECT_EQ(from_relay_[0].bytes.size(), 42u);
  EXPECT_EQ(from_relay_[1].peer, kC);
  EXPECT_EQ(from_relay_[1].bytes, frame(to_c));
  EXPECT_EQ(from_relay_[2].peer, kB);
  EXPECT_EQ(from_relay_[2].bytes.size(), 14u + 9u);
  EXPECT_EQ(segments_, (std::vector<size_t>{14, 14, 14}));
}

TEST_F(RelayTest, OfWhatCameJoinedAsMuchPassesAsTheBudgetAllows) {
  make_server(1000);  // bytes a second; 128 KiB at once
  bind_both();
  base::ByteVec one = frame(a_.path().relay_channel, std::string(996, 'x')), all;
  for (int i = 0; i < 50; ++i) all.insert(all.end(), one.begin(), one.end());
  out_bytes_ = 0;
  for (int i = 0; i < 3; ++i) server_->on_datagrams(kA, all, one.size(), now_);
  EXPECT_EQ(out_bytes_, (128 << 10) / one.size() * one.size());
}

// An end whose datagrams come over a connection is bound like any other, and a second connection is another source.
TEST_F(RelayTest, AnEndThatComesOverAConnection) {
  const IpPort stream = stream_source(7);
  EXPECT_EQ(stream_of(stream), 7u);
  EXPECT_EQ(stream_of(stream_source(0xabcdef012345)), 0xabcdef012345u);
  EXPECT_FALSE(stream_of(kA));
  bind_both();
  uint32_t channel = a_.path().relay_channel;
  a_.rebind(now_);
  settle(a_, stream);
  auto to_a = forwarded(kB, frame(channel));
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_EQ(to_a[0].peer, stream);
  EXPECT_EQ(forwarded(stream, frame(channel)).size(), 1u);
  EXPECT_EQ(forwarded(kA, frame(channel)).size(), 1u) << "what is under way by UDP arrives";
  EXPECT_TRUE(forwarded(stream_source(8), frame(channel)).empty());
}

TEST_F(RelayTest, AThirdPartyOnTheChannelGetsNothing) {
  bind_both();
  uint32_t channel = a_.path().relay_channel;
  EXPECT_TRUE(forwarded(kC, frame(channel)).empty());
  EXPECT_TRUE(forwarded({kA.ip, 999}, frame(channel)).empty());
  for (uint32_t c = 1; c < 1000; ++c)
    if (c != channel) EXPECT_TRUE(forwarded(kA, frame(c)).empty());
  EXPECT_TRUE(forwarded(kA, frame(0)).empty());
}

TEST_F(RelayTest, NothingIsForwardedToAnEndThatIsNotBound) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  settle(a_, kA);
  EXPECT_TRUE(forwarded(kA, frame(ga.channel)).empty());
}

TEST_F(RelayTest, AWrongBindKeyBindsNothing) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  ga.bind_key[0] ^= 1;
  a_.on_grant(ga, now_);
  settle(a_, kA);
  EXPECT_EQ(a_.state(), State::binding);
  EXPECT_TRUE(forwarded(kA, frame(ga.channel)).empty());
}

TEST_F(RelayTest, TheOthersTokenWithOurKeyBindsNothing) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  gb.bind_key = ga.bind_key;
  b_.on_grant(gb, now_);
  settle(b_, kB);
  EXPECT_FALSE(b_.is_bound());
}

// Whoever saw A's CONFIRM pass sends it again from where he is, or from A's own address after A moved.
TEST_F(RelayTest, AReplayedConfirmMovesNothing) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  b_.on_grant(gb, now_);
  settle(b_, kB);
  a_.on_grant(ga, now_);
  to_relay(kA, std::exchange(from_client_, {}).at(0));
  a_.on_datagram(kRelay, std::exchange(from_relay_, {}).at(0).bytes, now_);
  auto confirm = from_client_.at(0);
  settle(a_, kA);
  ASSERT_TRUE(a_.is_bound());
  to_relay(kC, confirm);
  EXPECT_TRUE(from_relay_.empty());
  EXPECT_EQ(forwarded(kB, frame(ga.channel)).at(0).peer, kA);
  IpPort moved{kA.ip, 4444};
  a_.rebind(now_);
  settle(a_, moved);
  to_relay(kA, confirm);
  from_relay_.clear();
  EXPECT_EQ(forwarded(kB, frame(ga.channel)).at(0).peer, moved);
}

TEST_F(RelayTest, AChallengeIsGoodForItsSourceOnly) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  to_relay(kA, std::exchange(from_client_, {}).at(0));
  a_.on_datagram(kRelay, std::exchange(from_relay_, {}).at(0).bytes, now_);
  to_relay(kC, std::exchange(from_client_, {}).at(0));  // the NAT moved it in between
  EXPECT_TRUE(from_relay_.empty());
}

// A node with hundreds of peers binds hundreds of channels from one address, every 12 seconds.
TEST_F(RelayTest, EveryEndOfAChannelHasABudgetOfItsOwn) {
  make_server(0, 1000);
  std::vector<std::unique_ptr<RelayClient>> ends;
  for (int i = 0; i < 500; ++i) {
    auto grants = server_->grant("hub", "peer-" + std::to_string(i), now_);
    ends.push_back(std::make_unique<RelayClient>(client()));
    ends.back()->on_grant(grants.first, now_);
    settle(*ends.back(), kA);
    ASSERT_TRUE(ends.back()->is_bound()) << i;
  }
  for (int i = 0; i < 100; ++i) {  // one that asks on and on
    ends[0]->rebind(now_);
    settle(*ends[0], {kA.ip, uint16_t(1 + i)});
  }
  EXPECT_NE(ends[0]->observed(), (IpPort{kA.ip, 100})) << "is not served beyond that";
  ends[1]->rebind(now_);
  settle(*ends[1], kB);
  EXPECT_EQ(ends[1]->observed(), kB);
}

// Under a token nobody made: a BIND draws a challenge like any other, and only who received that is told that he is refused.
TEST_F(RelayTest, AStrangerHearsNothingButTheChallenge) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  ga.token[20] ^= 1;
  a_.on_grant(ga, now_);
  auto answer = forwarded(kA, std::exchange(from_client_, {}).at(0));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(parse_relay_message(answer[0].bytes)->kind, RelayKind::challenge);
  a_.on_datagram(kRelay, answer[0].bytes, now_);
  auto confirm = std::exchange(from_client_, {}).at(0);
  EXPECT_TRUE(forwarded(kC, confirm).empty());
  auto guessed = *parse_relay_message(confirm);
  guessed.challenge[0] ^= 1;
  EXPECT_TRUE(forwarded(kA, write_relay_message(guessed)).empty());
  to_relay(kA, confirm);
  settle(a_, kA);
  EXPECT_EQ(a_.state(), State::refused);
}

TEST_F(RelayTest, AMovedEndKeepsItsOldSourceForTwoSeconds) {
  bind_both();
  IpPort moved{kA.ip, 4444};
  uint32_t channel = a_.path().relay_channel;
  a_.rebind(now_);
  settle(a_, moved);
  EXPECT_EQ(a_.observed(), moved);
  EXPECT_EQ(forwarded(kB, frame(channel)).at(0).peer, moved);
  EXPECT_EQ(forwarded(kA, frame(channel)).size(), 1u);  // still on its way
  now_ += seconds(2);
  EXPECT_TRUE(forwarded(kA, frame(channel)).empty());
  EXPECT_EQ(forwarded(moved, frame(channel)).size(), 1u);
}

TEST_F(RelayTest, LostAnswersAreAskedForAgain) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  std::vector<int64_t> pauses;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(from_client_.size(), 1u);
    from_client_.clear();
    pauses.push_back(base::to_ms(*a_.next_deadline() - now_));
    now_ = *a_.next_deadline();
    a_.tick(now_);
  }
  EXPECT_EQ(pauses, (std::vector<int64_t>{250, 500, 1000, 2000, 4000, 4000}));
  settle(a_, kA);
  EXPECT_TRUE(a_.is_bound());
}

TEST_F(RelayTest, ALostConfirmedIsSaidAgain) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  to_relay(kA, std::exchange(from_client_, {}).at(0));
  a_.on_datagram(kRelay, std::exchange(from_relay_, {}).at(0).bytes, now_);
  to_relay(kA, std::exchange(from_client_, {}).at(0));
  from_relay_.clear();
  now_ = *a_.next_deadline();
  a_.tick(now_);
  settle(a_, kA);
  EXPECT_TRUE(a_.is_bound());
}

TEST_F(RelayTest, AConfirmNobodyAnswersStartsOver) {  // the NAT gave us another port between BIND and CONFIRM
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  to_relay(kA, std::exchange(from_client_, {}).at(0));
  a_.on_datagram(kRelay, std::exchange(from_relay_, {}).at(0).bytes, now_);
  for (int i = 0; i < 5 && !a_.is_bound(); ++i) {
    settle(a_, kC);
    now_ = *a_.next_deadline();
    a_.tick(now_);
  }
  EXPECT_TRUE(a_.is_bound());
  EXPECT_EQ(a_.observed(), kC);
}

TEST_F(RelayTest, TheBindingIsRenewedEveryTwelveSeconds) {
  bind_both();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(*a_.next_deadline() - now_, seconds(12));
    now_ += seconds(12);
    a_.tick(now_);
    EXPECT_EQ(from_client_.size(), 1u);
    settle(a_, kA);
    EXPECT_TRUE(a_.is_bound());
  }
  EXPECT_TRUE(a_.is_peer_bound());
}

TEST_F(RelayTest, ASilentRelayIsNoticed) {
  bind_both();
  now_ += seconds(12);
  for (int i = 0; i < 20; ++i) {
    a_.tick(now_);
    from_client_.clear();
    EXPECT_EQ(a_.is_bound(), now_ - base::Instant(seconds(1000)) < seconds(30));
    EXPECT_EQ(a_.unanswered_since(), base::Instant(seconds(1012)));
    now_ += seconds(2);
  }
}

TEST_F(RelayTest, ARestartedRelayRefusesAndANewGrantMends) {
  bind_both();
  make_server(0);
  a_.rebind(now_);
  settle(a_, kA);
  EXPECT_EQ(a_.state(), State::refused);
  EXPECT_TRUE(a_.wants_grant(now_));
  bind_both();
}

TEST_F(RelayTest, AnExpiredGrantEndsTheChannel) {
  bind_both();
  uint32_t channel = a_.path().relay_channel;
  EXPECT_FALSE(a_.wants_grant(now_ + seconds(2600)));
  EXPECT_TRUE(a_.wants_grant(now_ + seconds(2701)));
  now_ += seconds(3600);
  EXPECT_TRUE(forwarded(kA, frame(channel)).empty());
  server_->tick(now_);
  EXPECT_EQ(server_->channels(), 0u);
  a_.tick(now_);
  EXPECT_EQ(a_.state(), State::refused);
}

TEST_F(RelayTest, ANewGrantKeepsTheChannelAndTheTraffic) {
  bind_both();
  uint32_t channel = a_.path().relay_channel;
  now_ += seconds(2700);
  auto [gb, ga] = server_->grant("b", "a", now_);  // the other one asked
  EXPECT_EQ(ga.peer, "b");
  EXPECT_EQ(gb.peer, "a");
  EXPECT_EQ(ga.channel, channel);
  a_.on_grant(ga, now_);
  EXPECT_TRUE(a_.is_bound());
  EXPECT_EQ(forwarded(kA, frame(channel)).size(), 1u);
  settle(a_, kA);
  now_ += seconds(3000);
  EXPECT_EQ(forwarded(kA, frame(channel)).size(), 1u);
}

TEST_F(RelayTest, ARevokedNodeIsGone) {
  bind_both();
  server_->grant("c", "d", now_);
  server_->revoke("b");
  EXPECT_EQ(server_->channels(), 1u);
  EXPECT_TRUE(forwarded(kA, frame(a_.path().relay_channel)).empty());
  a_.rebind(now_);
  settle(a_, kA);
  EXPECT_EQ(a_.state(), State::refused);
}

TEST_F(RelayTest, ForgedAnswersAreIgnored) {
  auto [ga, gb] = server_->grant("a", "b", now_);
  a_.on_grant(ga, now_);
  auto bind = parse_relay_message(from_client_.at(0));
  RelayMessage m;
  m.kind = RelayKind::refused;
  m.nonce = bind->nonce + 1;
  EXPECT_FALSE(a_.on_datagram(kRelay, write_relay_message(m), now_));
  m.nonce = bind->nonce;
  EXPECT_FALSE(a_.on_datagram(kC, write_relay_message(m), now_));
  m.kind = RelayKind::confirmed;
  m.channel = ga.channel;
  EXPECT_FALSE(a_.on_datagram(kRelay, write_relay_message(m), now_));
  EXPECT_EQ(a_.state(), State::binding);
}

TEST_F(RelayTest, StunIsAnsweredWithinARateAndNeverAmplified) {
  auto q = make_stun_request({1, 2, 3});
  auto answer = forwarded(kA, q);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(parse_stun(answer[0].bytes)->mapped, kA);
  base::ByteVec bare(q.begin(), q.begin() + 20);
  base::store_be16(&bare[2], 0);
  EXPECT_TRUE(forwarded(kA, bare).empty());
  size_t answered = 0;
  for (int i = 0; i < 1000; ++i) answered += forwarded({kA.ip, uint16_t(1 + i)}, q).size();
  EXPECT_LE(answered, 100u);
  EXPECT_EQ(forwarded(kB, q).size(), 1u);  // another /24 is not starved
  now_ += seconds(1);
  EXPECT_EQ(forwarded(kA, q).size(), 1u);
}

TEST_F(RelayTest, NeverMoreBytesOutThanIn) {
  bind_both();
  auto [ga, gb] = server_->grant("a", "c", now_);
  for (int i = 0; i < 20'000; ++i) {
    base::ByteVec b(rng_.below(200));
    rng_.fill(b);
    const uint8_t first[] = {0x86, 0x88, 0x00, 0x80};
    if (b.size() > 4) b[0] = first[rng_.below(4)];
    if (b.size() > 100 && b[0] == 0x86) {  // well formed as far as a stranger can
      b[1] = uint8_t(1 + rng_.below(3));
      std::copy(ga.token.begin(), ga.token.begin() + std::min<size_t>(ga.token.size(), b.size() - 20), b.begin() + 20);
    }
    size_t in = in_bytes_, out = out_bytes_;
    to_relay(rng_.below(2) ? kA : kC, b);
    ASSERT_LE(out_bytes_ - out, in_bytes_ - in);
    from_relay_.clear();
    if (i % 100 == 0) now_ += seconds(1);
  }
}

TEST_F(RelayTest, ANodeStaysWithinItsBudget) {
  make_server(100'000);
  bind_both();
  size_t through = 0;
  for (int ms = 0; ms < 10'000; ++ms, now_ += milliseconds(1)) through += forwarded(kA, frame(a_.path().relay_channel, std::string(996, 'x'))).size();
  EXPECT_NEAR(double(through), 1000 + 131, 30);  // 10 s at 100 kB/s and the first burst, of 10 MB offered
  EXPECT_EQ(forwarded(kB, frame(a_.path().relay_channel)).size(), 1u);
}

TEST_F(RelayTest, ChannelsAreBounded) {
  make_server(0, 3);
  for (int i = 0; i < 3; ++i) EXPECT_NE(server_->grant("a", "b" + std::to_string(i), now_).first.channel, 0u);
  EXPECT_EQ(server_->grant("a", "z", now_).first.channel, 0u);
  EXPECT_NE(server_->grant("a", "b1", now_).first.channel, 0u);
  EXPECT_EQ(server_->channels(), 3u);
}

}  // namespace
}  // namespace tunnel
