#include "tunnel/peer/deny_gossip.h"

#include "base/net/deny_list.h"

namespace tunnel {
namespace {
constexpr size_t kPartBytes = 900;  // with its envelope below kControlMessageBytesMax
constexpr base::Duration kJudgeEvery = std::chrono::seconds(1);
}  // namespace

void DenyGossip::offer() {
  if (number() == 0) return;
  bool runs = sending_ == held_;
  sending_ = held_;
  if (!runs) send_part(held_, 0);
}

void DenyGossip::send_part(HeldPtr list, size_t offset) {
  size_t n = std::min(kPartBytes, list->text.size() - offset);
  auto bytes = base::as_bytes(std::string_view(list->text).substr(offset, n));
  DenyPart part{list->number, uint32_t(offset), uint32_t(list->text.size()), {bytes.begin(), bytes.end()}};
  hooks_.request(std::move(part), [this, list, next = offset + n](base::Result<ControlBody> r) {
    if (sending_ != list) return;  // a newer one is on its way
    auto* answer = r ? std::get_if<DenyPart>(&*r) : nullptr;
    if (!answer || answer->number >= list->number || next >= list->text.size()) return sending_.reset();
    send_part(list, next);
  });
}

ControlBody DenyGossip::on_part(const DenyPart& p, base::Instant now) {
  DenyPart answer{number(), 0, 0, {}};
  if (p.number <= number() || p.total > base::kDenyListBytesMax || p.bytes.empty()) return answer;
  if (p.offset == 0) {
    coming_ = p.number;
    received_.clear();
  }
  if (p.number != coming_ || p.offset != received_.size() || p.offset + p.bytes.size() > p.total) return answer;
  received_ += base::as_text(p.bytes);
  if (received_.size() < p.total) return answer;
  std::string whole = std::exchange(received_, {});
  coming_ = 0;
  if (judged_ != base::Instant{} && now - judged_ < kJudgeEvery) return answer;
  judged_ = now;
  hooks_.on_list(whole);
  answer.number = number();
  return answer;
}

}  // namespace tunnel
