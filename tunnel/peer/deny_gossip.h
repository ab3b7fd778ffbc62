// DenyGossip: brings the deny list of this node to one peer and takes the peer's, in parts that fit CONTROL datagrams, one after
// the other. Every answer carries the number the other side holds, so nothing is sent that is known there. What arrives is only
// handed on: who signed it is the owner's to judge. Owned by the peer's Record; time is given.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/core/time.h"
#include "tunnel/session/control_channel.h"

namespace tunnel {

class DenyGossip {
 public:
  struct Held {  // shared by all peers of a node
    uint64_t number = 0;
    std::string text;
  };
  using HeldPtr = std::shared_ptr<const Held>;
  struct Hooks {
    std::function<void(ControlBody, ControlChannel::Answer)> request;
    std::function<void(const std::string& text)> on_list;  // complete and said to be newer; not yet verified
  };
  explicit DenyGossip(Hooks h) : hooks_(std::move(h)) {}

  void hold(HeldPtr held) { held_ = std::move(held); }
  void offer();  // a session is up, or hold() changed: begins from the front
  ControlBody on_part(const DenyPart&, base::Instant now);

 private:
  uint64_t number() const { return held_ ? held_->number : 0; }
  void send_part(HeldPtr list, size_t offset);

  Hooks hooks_;
  HeldPtr held_, sending_;
  uint64_t coming_ = 0;      // number of the list that is being received
  std::string received_;
  base::Instant judged_{};   // the last list handed on: at most one a second, a signature costs time
};

}  // namespace tunnel
