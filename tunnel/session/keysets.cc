#include "tunnel/session/keysets.h"

#include <utility>

namespace tunnel {

uint32_t IndexPool::take(base::Instant now) {
  std::erase_if(used_, [&](const auto& e) { return e.second && *e.second <= now; });
  for (;;) {
    uint32_t i = rng_.u32();
    if (i != 0 && used_.try_emplace(i, std::nullopt).second) return i;
  }
}

void IndexPool::give_back(uint32_t index, base::Instant now) { used_[index] = now + kIndexRest; }

std::optional<uint32_t> KeySets::add_next(DataKeysPtr keys, base::Instant now) {
  auto given_up = drop_next();
  next_.emplace(KeySet{.keys = std::move(keys), .made = now});
  return given_up;
}

std::optional<uint32_t> KeySets::drop_next() {
  if (!next_) return std::nullopt;
  uint32_t index = next_->keys->local_index();
  next_.reset();
  return index;
}

bool KeySets::promote(uint32_t local_index, base::Instant now) {
  if (!next_ || next_->keys->local_index() != local_index) return false;
  // A third generation within 30 s ends the oldest: it stays in previous_ only until expire() has named its index.
  std::optional<KeySet> older = std::move(previous_);
  previous_ = std::move(current_);
  current_ = std::move(next_);
  next_.reset();
  previous_until_ = now + kPreviousKeysLife;
  if (older) over_.push_back(older->keys->local_index());
  return true;
}

void KeySets::retire(base::Instant now) {
  if (!current_) return;
  if (previous_) over_.push_back(previous_->keys->local_index());
  previous_ = std::exchange(current_, std::nullopt);
  previous_until_ = now + kPreviousKeysLife;
}

std::vector<uint32_t> KeySets::expire(base::Instant now) {
  auto out = std::exchange(over_, {});
  if (previous_ && now >= previous_until_) {
    out.push_back(previous_->keys->local_index());
    previous_.reset();
  }
  return out;
}

std::vector<uint32_t> KeySets::clear() {
  auto out = std::exchange(over_, {});
  for (auto* s : {&next_, &current_, &previous_}) {
    if (*s) out.push_back((*s)->keys->local_index());
    s->reset();
  }
  return out;
}

bool KeySets::should_rekey(base::Instant now, uint64_t data_packets_sent) const {
  return current_ && !next_ && (now - current_->made >= limits_.after || current_->counter.sent() + data_packets_sent >= limits_.packets);
}

base::ByteVec KeySets::seal(PacketType type, base::ByteView plain) {
  if (!current_ || current_->counter.sent() >= kPacketsMax) return {};
  base::ByteVec out(kHeaderBytes + plain.size() + kTagBytes);
  std::copy(plain.begin(), plain.end(), out.begin() + kHeaderBytes);
  out.resize(current_->keys->seal(type, 0, current_->counter.next(), out.data(), plain.size()));
  return out;
}

std::optional<KeySets::Opened> KeySets::open(base::ByteView packet) {
  auto header = read_header(packet);
  if (!header || header->lane() != kControlLane || header->type == PacketType::data) return std::nullopt;
  KeySet* set = by_index(header->index);
  if (!set || !set->window.is_fresh(header->sequence())) return std::nullopt;
  base::ByteVec copy(packet.begin(), packet.end());
  auto plain = set->keys->open(copy);
  if (!plain) return std::nullopt;
  set->window.commit(header->sequence());
  return Opened{*header, {plain->begin(), plain->end()}};
}

KeySet* KeySets::by_index(uint32_t local_index) {
  for (auto* s : {&current_, &next_, &previous_})
    if (*s && (*s)->keys->local_index() == local_index) return &**s;
  return nullptr;
}

}  // namespace tunnel
