#include "tunnel/session/control_channel.h"

#include <utility>

#include "base/core/limits.h"

namespace tunnel {

void ControlChannel::request(ControlBody body, Answer answer, base::Instant now) {
  uint64_t id = next_id_++;
  base::ByteVec bytes = encode(ControlMessage{id, false, std::move(body)});
  if (bytes.size() > base::limits::kControlMessageBytesMax)
    return answer(base::fail(base::Code::limit, "control message of {} bytes, at most {} fit", bytes.size(), base::limits::kControlMessageBytesMax));
  if (waiting_.size() >= kControlRequestsMax) return answer(base::fail(base::Code::limit, "{} requests already wait for the peer", waiting_.size()));
  auto& w = waiting_[id] = Waiting{std::move(bytes), std::move(answer), now + kControlFirstRepeat, now + kControlGiveUp, kControlFirstRepeat};
  hooks_.send(w.bytes);
}

void ControlChannel::on_message(base::ByteView plain) {
  auto m = decode_control(plain);
  if (!m) return;
  if (!m->reply) return on_request(*m);
  auto node = waiting_.extract(m->id);
  if (node && node.mapped().answer) node.mapped().answer(std::move(m->body));
}

void ControlChannel::on_request(const ControlMessage& m) {
  auto known = answered_.find(m.id);
  if (known == answered_.end()) {
    ControlBody body = hooks_.on_request(m.body);
    known = answered_.emplace(m.id, encode(ControlMessage{m.id, true, std::move(body)})).first;
    answered_order_.push_back(m.id);
    if (answered_order_.size() > kControlAnswersKept) {
      answered_.erase(answered_order_.front());
      answered_order_.pop_front();
    }
  }
  base::ByteVec copy = known->second;
  hooks_.send(copy);
}

void ControlChannel::tick(base::Instant now) {
  std::vector<Answer> late;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Waiting& w = it->second;
    if (now >= w.give_up) {
      late.push_back(std::move(w.answer));
      it = waiting_.erase(it);
      continue;
    }
    if (now >= w.next) {
      w.wait *= 2;
      w.next = now + w.wait;
      hooks_.send(w.bytes);
    }
    ++it;
  }
  for (auto& answer : late)
    if (answer) answer(base::fail(base::Code::timeout, "the peer did not answer within 5 s"));
}

std::optional<base::Instant> ControlChannel::next_deadline() const {
  std::optional<base::Instant> out;
  for (const auto& [id, w] : waiting_) {
    base::Instant t = std::min(w.next, w.give_up);
    if (!out || t < *out) out = t;
  }
  return out;
}

void ControlChannel::reset(const base::Error& why) {
  answered_.clear();
  answered_order_.clear();
  auto waiting = std::exchange(waiting_, {});
  for (auto& [id, w] : waiting)
    if (w.answer) w.answer(tl::unexpected(why));
}

void ControlChannel::repeat_now(base::Instant now) {
  for (auto& [id, w] : waiting_) w.next = std::min(w.next, now);
  tick(now);
}

}  // namespace tunnel
