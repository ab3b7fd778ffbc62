// HandshakeDriver: carries handshake attempts with one peer over signalling or through a door (door.h), which may lose and
// reorder frames; each fits a datagram. Whoever wants a session begins and is the TLS client of that attempt. When two attempts
// cross, that of the side that goes first stands: the other gives its own up and answers.
//
// Frame (SignalKind::handshake), big-endian:
//   version 1 | flags 1 (1: from the client, 2: the sender has ended the attempt, 4: attempt not known here) | attempt 8 |
//   offset 4 | received 4 | bytes of the channel from offset on
// CALL: version 1 | instance 8: please begin yourself. Sent where one's own first flight stays unanswered, for versions that do not
// take it from the side that does not go first.
//
// Timers: repeat      unacknowledged bytes after 250 ms, doubling; from the beginning while nothing has come back
//         give up     an attempt that is not done 5 s after it began
//         call        with the second repeat of a first flight, by the side that does not go first
//         retry       while wanted: 1 s doubling up to 30 s, +-20 %, from the first again after success()
//         linger      a done attempt answers repeats until it is 5 s old
#pragma once
#include <array>
#include <functional>
#include <map>
#include <optional>

#include "tunnel/peer/node_context.h"
#include "tunnel/signal/signal.h"

namespace tunnel {

class HandshakeDriver {
 public:
  struct Hooks {
    std::function<void(SignalKind, base::ByteView)> signal;
    std::function<std::unique_ptr<Handshake>(bool client)> make;
    std::function<void(const Handshake::Outcome&)> on_outcome;  // keys exist; and again when confirmed
    // The attempt is over without keys; undo what an unconfirmed on_outcome did.
    std::function<void(const base::Error&)> on_failed;
    std::function<void(base::ByteView packet)> on_packet = [](base::ByteView) {};  // an inner one; after on_outcome
  };
  HandshakeDriver(std::string own, std::string peer, NodeContext&, Hooks);
  ~HandshakeDriver() { end_attempt(); }

  void want(base::Instant not_before);  // a session soon; repeated until success() or give_up()
  void hurry(base::Instant now);        // there is a way now: what waits for its time goes out
  void try_once(base::Instant now);     // one attempt, nothing if one is due anyway; nobody here needs the session
  void give_up() { next_try_.reset(); }
  void success() { wait_ = kFirstRetry; next_try_.reset(); }
  // The attempt whose stream takes an inner packet now; 0: none does.
  uint64_t stream() const { return attempt_ && attempt_->handshake->may_carry() ? attempt_->id : 0; }
  void carry(base::ByteView packet, base::Instant now);  // while there is one

  bool is_wanted() const { return next_try_.has_value() || (attempt_ && !attempt_->done); }
  bool is_busy() const { return attempt_ && !attempt_->done; }
  bool is_caller() const { return attempt_ && attempt_->client && !attempt_->done; }  // an attempt begun here runs

  void on_call(base::ByteView, base::Instant now);
  void on_frame(base::ByteView, base::Instant now);
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const;

 private:
  static constexpr base::Duration kFirstRetry = std::chrono::seconds(1);
  struct Attempt {
    uint64_t id = 0;
    bool client = false;
    std::unique_ptr<Handshake> handshake;
    base::ByteVec sent;        // all output so far; the peer has the first `acked` bytes
    size_t acked = 0, received = 0;
    std::map<size_t, base::ByteVec> ahead;  // came before what precedes them
    base::Instant began{}, repeat_at{};
    base::Duration repeat_wait{};
    int repeats = 0;
    bool told = false, done = false, failed = false;
  };
  struct Frame;
  void try_now(base::Instant now);
  void begin(uint64_t id, bool client, base::Instant now);
  void call();
  void repeat(base::Instant now);
  void on_unknown(const Frame&, base::Instant now);
  void take_bytes(const Frame&, base::Instant now);
  void keep_ahead(const Frame&);
  void progress(base::Result<void>, base::Instant now);
  void tell_outcome();
  void fail(base::Error, base::Instant now);
  void send_from(size_t offset, uint8_t flags);
  void end_attempt();
  void nudge(base::Instant now);

  std::string peer_;
  NodeContext& node_;
  Hooks hooks_;
  bool first_;
  std::unique_ptr<Attempt> attempt_;
  uint64_t crossed_ = 0;                 // an attempt of the peer's that gave way to ours
  std::array<uint64_t, 4> over_{};       // attempts whose frames, late or doubled, begin nothing
  size_t overs_ = 0;
  std::optional<base::Instant> next_try_;
  base::Duration wait_ = kFirstRetry;
  base::Instant last_forced_{};
};

}  // namespace tunnel
