#include "tunnel/signal/record_queue.h"

namespace tunnel {

bool RecordQueue::push(base::ByteView record) {
  std::lock_guard lock(mu_);
  if (record.empty() || record.size() > kRecordBytesMax) return lost_++, false;
  bool was_empty = records_.empty();
  records_.push_back({std::nullopt, {record.begin(), record.end()}});
  bytes_ += record.size();
  while (bytes_ > kBytesMax) drop_front();
  return was_empty;
}

std::optional<base::ByteVec> RecordQueue::pop(base::Instant now, base::Duration age_max) {
  std::lock_guard lock(mu_);
  age(now, age_max);
  if (records_.empty()) return std::nullopt;
  base::ByteVec out = std::move(records_.front().bytes);
  bytes_ -= out.size();
  records_.pop_front();
  return out;
}

void RecordQueue::look(base::Instant now, base::Duration age_max) {
  std::lock_guard lock(mu_);
  age(now, age_max);
}

size_t RecordQueue::bytes() const {
  std::lock_guard lock(mu_);
  return bytes_;
}

void RecordQueue::age(base::Instant now, base::Duration age_max) {
  for (auto r = records_.rbegin(); r != records_.rend() && !r->seen; ++r) r->seen = now;
  while (!records_.empty() && now - *records_.front().seen > age_max) drop_front();
}

void RecordQueue::drop_front() {
  bytes_ -= records_.front().bytes.size();
  records_.pop_front();
  lost_++;
}

}  // namespace tunnel
