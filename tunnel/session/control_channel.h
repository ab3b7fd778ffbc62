// CONTROL: requests and answers inside a session, over datagrams that may be lost, doubled or reordered. A request is repeated
// (250 ms, doubling) until its answer comes or 5 s have passed; the other side carries out each id once and repeats its answer.
// Plain messages only: sealing and paths are the peer's (tunnel/peer). Time is given.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <optional>

#include "base/core/result.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/session/messages.h"

namespace tunnel {

inline constexpr base::Duration kControlFirstRepeat = std::chrono::milliseconds(250);
inline constexpr base::Duration kControlGiveUp = std::chrono::seconds(5);
inline constexpr size_t kControlRequestsMax = 512;  // waiting for an answer: two exports' worth of one peer
inline constexpr size_t kControlAnswersKept = 256;

class ControlChannel {
 public:
  using Answer = std::function<void(base::Result<ControlBody>)>;
  struct Hooks {
    std::function<void(base::ByteView plain)> send;               // seal it and send it on the active path
    std::function<ControlBody(const ControlBody&)> on_request;    // what to answer; called once per id
  };
  ControlChannel(Hooks hooks, base::Rng& rng) : hooks_(std::move(hooks)), next_id_(rng.u64() >> 1) {}

  // The answer is called exactly once: with the reply, or an error. Not after reset() has called it.
  void request(ControlBody, Answer, base::Instant now);
  void on_message(base::ByteView plain);  // authenticated, each packet once
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const;
  // The peer is gone or is another instance: waiting requests fail, remembered answers are forgotten.
  void reset(const base::Error& why);
  void repeat_now(base::Instant now);  // a path came up: what waits is sent again at once

 private:
  struct Waiting {
    base::ByteVec bytes;
    Answer answer;
    base::Instant next, give_up;
    base::Duration wait;
  };
  void on_request(const ControlMessage&);
  Hooks hooks_;
  uint64_t next_id_;
  std::map<uint64_t, Waiting> waiting_;
  std::map<uint64_t, base::ByteVec> answered_;  // by the peer's id
  std::deque<uint64_t> answered_order_;
};

}  // namespace tunnel
