#include "tunnel/peer/handshake_driver.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kGiveUp = 5s, kRepeat = 250ms, kRetryMax = 30s, kForcedPause = 1s;
constexpr base::Duration kNudgeAfter = 500ms;
constexpr int kCallAtRepeat = 2;
constexpr uint8_t kFromClient = 1, kEnded = 2, kUnknown = 4;
constexpr uint8_t kFrameVersion = 1;
constexpr size_t kFrameBytesMax = 1100;  // with its header and a door's it fits every path
constexpr size_t kAheadMax = 32, kFrameBytesTaken = 32 << 10;
}  // namespace

struct HandshakeDriver::Frame {
  uint8_t flags = 0;
  uint64_t attempt = 0;
  uint32_t offset = 0, received = 0;
  base::ByteView bytes;
  static std::optional<Frame> decode(base::ByteView b) {
    base::Reader r(b);
    if (r.u8() != kFrameVersion) return std::nullopt;
    Frame f;
    f.flags = r.u8();
    f.attempt = r.u64();
    f.offset = r.u32();
    f.received = r.u32();
    f.bytes = r.rest();
    if (!r.ok() || f.bytes.size() > kFrameBytesTaken) return std::nullopt;
    return f;
  }
  base::ByteVec encode() const {
    base::ByteVec out;
    base::Writer w(out);
    w.u8(kFrameVersion);
    w.u8(flags);
    w.u64(attempt);
    w.u32(offset);
    w.u32(received);
    w.put(bytes);
    return out;
  }
};

HandshakeDriver::HandshakeDriver(std::string own, std::string peer, NodeContext& node, Hooks hooks)
    : peer_(std::move(peer)), node_(node), hooks_(std::move(hooks)), first_(goes_first(own, peer_)) {}

void HandshakeDriver::want(base::Instant not_before) {
  if (is_busy()) return;
  if (!next_try_ || not_before < *next_try_) next_try_ = not_before;
}

void HandshakeDriver::hurry(base::Instant now) {
  wait_ = kFirstRetry;
  if (!is_busy()) return want(now);
  attempt_->repeat_at = now;
  attempt_->repeat_wait = kRepeat;
}

void HandshakeDriver::try_once(base::Instant now) {
  if (is_wanted()) return;
  try_now(now);
  success();  // of the schedule: this was no first failure
}

void HandshakeDriver::try_now(base::Instant now) {
  next_try_ = now + base::Duration(int64_t(double(wait_.count()) * (0.8 + 0.4 * node_.rng.unit())));
  wait_ = std::min<base::Duration>(wait_ * 2, kRetryMax);
  begin(node_.rng.u64(), true, now);
  progress(attempt_->handshake->start(), now);
}

void HandshakeDriver::call() {
  base::ByteVec call;
  base::Writer w(call);
  w.u8(kFrameVersion);
  w.u64(node_.instance);
  hooks_.signal(SignalKind::call, call);
}

void HandshakeDriver::begin(uint64_t id, bool client, base::Instant now) {
  end_attempt();
  attempt_ = std::make_unique<Attempt>();
  attempt_->id = id;
  attempt_->client = client;
  attempt_->began = now;
  attempt_->repeat_wait = kRepeat;
  attempt_->repeat_at = now + kRepeat;
  attempt_->handshake = hooks_.make(client);
  if (!client) node_.half_open++;
}

void HandshakeDriver::end_attempt() {
  if (attempt_ && !attempt_->client && !attempt_->done) node_.half_open--;
  if (attempt_ && attempt_->done) {
    over_[overs_++ % over_.size()] = attempt_->id;
    over_[overs_++ % over_.size()] = std::exchange(crossed_, 0);
  }
  attempt_.reset();
}

void HandshakeDriver::on_call(base::ByteView b, base::Instant now) {
  base::Reader r(b);
  r.u8();
  r.u64();
  if (!r.ok() || (is_busy() && !is_caller())) return;
  if (is_caller()) return nudge(now);
  // It crossed our own attempt, which may be done by now: another one would end keys that packets on their way are sealed with.
  if (attempt_ && now - attempt_->began < 500ms) return;
  if (last_forced_ != base::Instant{} && now - last_forced_ < kForcedPause) return want(last_forced_ + kForcedPause);
  last_forced_ = now;
  try_now(now);
}

void HandshakeDriver::on_frame(base::ByteView b, base::Instant now) {
  auto f = Frame::decode(b);
  if (!f) return;
  bool from_client = f->flags & kFromClient;
  if (!attempt_ || attempt_->id != f->attempt) return from_client ? on_unknown(*f, now) : void();
  if (from_client == attempt_->client) return;
  if (f->flags & kUnknown) {
    if (attempt_->done) return;
    fail({base::Code::unavailable, peer_ + " was restarted during the handshake"}, now);
    return want(std::max(now, last_forced_ + kForcedPause));
  }
  attempt_->acked = std::max<size_t>(attempt_->acked, std::min<size_t>(f->received, attempt_->sent.size()));
  take_bytes(*f, now);
  if (attempt_ && (f->flags & kEnded) && !attempt_->done) fail({base::Code::denied, peer_ + " ended the handshake; its log says why"}, now);
}

void HandshakeDriver::on_unknown(const Frame& f, base::Instant now) {
  if (f.flags & (kEnded | kUnknown) || std::find(over_.begin(), over_.end(), f.attempt) != over_.end()) return;
  if (f.offset != 0 && f.received == 0) return;  // of a first flight whose beginning is lost or late: it is repeated whole
  if (f.offset != 0) return hooks_.signal(SignalKind::handshake, Frame{kUnknown, f.attempt, 0, 0, {}}.encode());
  if (f.bytes.empty()) return;
  if (first_ && is_caller()) {  // the peer will give way to ours
    crossed_ = f.attempt;
    return nudge(now);
  }
  if (node_.half_open >= base::limits::kHalfOpenHandshakesMax) return;
  begin(f.attempt, false, now);
  (void)attempt_->handshake->start();
  take_bytes(f, now);
}

// The peer is there: what it may not have got goes out again before its time.
void HandshakeDriver::nudge(base::Instant now) {
  Attempt& a = *attempt_;
  if (a.received > 0 || now - a.began < kNudgeAfter || now - (a.repeat_at - a.repeat_wait) < kRepeat) return;
  a.repeat_wait = kRepeat / 2;
  repeat(now);
}

void HandshakeDriver::take_bytes(const Frame& f, base::Instant now) {
  Attempt& a = *attempt_;
  if (f.bytes.empty()) return;
  size_t end = size_t(f.offset) + f.bytes.size();
  if (f.offset > a.received) keep_ahead(f);
  if (f.offset > a.received || end <= a.received || a.failed) return send_from(a.sent.size(), 0);  // a gap or a repeat: say what is here
  base::ByteVec fresh(f.bytes.begin() + long(a.received - f.offset), f.bytes.end());
  a.received = end;
  while (!a.ahead.empty() && a.ahead.begin()->first <= a.received) {
    auto next = a.ahead.extract(a.ahead.begin());
    size_t known = a.received - next.key();
    if (known >= next.mapped().size()) continue;
    fresh.insert(fresh.end(), next.mapped().begin() + long(known), next.mapped().end());
    a.received += next.mapped().size() - known;
  }
  progress(a.handshake->feed(fresh), now);
}

void HandshakeDriver::keep_ahead(const Frame& f) {
  auto& ahead = attempt_->ahead;
  if (ahead.size() < kAheadMax && f.offset - attempt_->received <= base::limits::kSignalMessageBytesMax) ahead.try_emplace(f.offset, f.bytes.begin(), f.bytes.end());
}

// After each step: what the channel wants to say goes out, what it found is told.
void HandshakeDriver::progress(base::Result<void> step, base::Instant now) {
  Attempt& a = *attempt_;
  base::ByteVec fresh = a.handshake->take_output();
  size_t from = a.sent.size();
  a.sent.insert(a.sent.end(), fresh.begin(), fresh.end());
  a.repeat_wait = kRepeat;
  a.repeat_at = now + kRepeat;
  send_from(from, step ? 0 : kEnded);
  if (!step) return fail(step.error(), now);
  auto packets = a.handshake->take_packets();
  tell_outcome();
  for (const auto& p : packets) hooks_.on_packet(p);
}

// What is unanswered is repeated in its time, however many packets follow.
void HandshakeDriver::carry(base::ByteView packet, base::Instant now) {
  Attempt& a = *attempt_;
  bool unanswered = a.acked < a.sent.size();
  auto due = std::pair(a.repeat_at, a.repeat_wait);
  progress(a.handshake->carry(packet), now);
  if (unanswered && attempt_) std::tie(attempt_->repeat_at, attempt_->repeat_wait) = due;
}

void HandshakeDriver::tell_outcome() {
  Attempt& a = *attempt_;
  const auto* out = a.handshake->outcome();
  if (!out || (a.told && !out->confirmed) || a.done) return;
  a.told = true;
  bool confirmed = out->confirmed;
  if (confirmed) {
    a.done = true;
    if (!a.client) node_.half_open--;
    node_.ok.add();
    next_try_.reset();
  }
  hooks_.on_outcome(*out);
}

void HandshakeDriver::fail(base::Error e, base::Instant) {
  Attempt& a = *attempt_;
  (e.code == base::Code::denied || e.code == base::Code::invalid ? node_.refused : e.code == base::Code::timeout ? node_.timed_out : node_.failed).add();
  a.failed = true;
  end_attempt();
  hooks_.on_failed(e);
}

void HandshakeDriver::send_from(size_t offset, uint8_t flags) {
  Attempt& a = *attempt_;
  offset = std::min(offset, a.sent.size());
  do {
    size_t n = std::min(a.sent.size() - offset, kFrameBytesMax);
    Frame f{uint8_t(flags | (a.client ? kFromClient : 0)), a.id, uint32_t(offset), uint32_t(a.received), base::ByteView(a.sent).subspan(offset, n)};
    hooks_.signal(SignalKind::handshake, f.encode());
    offset += n;
  } while (offset < a.sent.size());
}

void HandshakeDriver::tick(base::Instant now) {
  if (attempt_ && now - attempt_->began >= kGiveUp) {
    if (attempt_->done) end_attempt();
    else fail({base::Code::timeout, fmt::format("no answer from {} within 5 s: is it running, and does a relay or an address of it answer?", peer_)}, now);
  }
  if (attempt_ && now >= attempt_->repeat_at) repeat(now);
  if (next_try_ && now >= *next_try_) {
    if (is_busy()) next_try_ = now + 500ms;
    else try_now(now);
  }
}

void HandshakeDriver::repeat(base::Instant now) {
  Attempt& a = *attempt_;
  if (a.acked < a.sent.size()) send_from(a.received ? a.acked : 0, 0);
  if (++a.repeats == kCallAtRepeat && a.client && !first_ && a.received == 0) call();
  a.repeat_wait *= 2;
  a.repeat_at = now + a.repeat_wait;
}

std::optional<base::Instant> HandshakeDriver::next_deadline() const {
  std::optional<base::Instant> out = next_try_;
  auto earliest = [&](base::Instant t) { out = out ? std::min(*out, t) : t; };
  if (attempt_) {
    earliest(attempt_->began + kGiveUp);
    if (attempt_->acked < attempt_->sent.size()) earliest(attempt_->repeat_at);
  }
  return out;
}

}  // namespace tunnel
