#include "base/kube/service_list.h"

#include <algorithm>

namespace base::kube {
namespace {

constexpr size_t kChunkMax = 128;

template <class Id>
auto lower_bound_in(std::vector<PackedService>& c, const Id& id) {
  return std::lower_bound(c.begin(), c.end(), id, NameOrder());
}

template <class A, class B>
bool same_name(const A& a, const B& b) { return NameOrder::key(a) == NameOrder::key(b); }

}  // namespace

template <class Id>
size_t ServiceList::chunk_of(const Id& id) const {
  const auto it = std::upper_bound(chunks_.begin(), chunks_.end(), id, [](const Id& n, const auto& c) { return NameOrder()(n, c->items.front()); });
  return it == chunks_.begin() ? 0 : size_t(it - chunks_.begin()) - 1;
}

std::vector<PackedService>& ServiceList::writable(size_t i) {
  if (chunks_[i]->edit != edit_) chunks_[i] = std::make_shared<Chunk>(Chunk{edit_, chunks_[i]->items});
  return chunks_[i]->items;
}

void ServiceList::set(PackedService s) {
  if (chunks_.empty()) {
    chunks_.push_back(std::make_shared<Chunk>(Chunk{edit_, {std::move(s)}}));
    ++size_;
    return;
  }
  const size_t i = chunk_of(s);
  auto& c = writable(i);
  const auto it = lower_bound_in(c, s);
  if (it != c.end() && same_name(*it, s)) {
    *it = std::move(s);
    return;
  }
  c.insert(it, std::move(s));
  ++size_;
  if (c.size() <= kChunkMax) return;
  auto upper = std::make_shared<Chunk>(Chunk{edit_, {c.begin() + kChunkMax / 2, c.end()}});
  c.resize(kChunkMax / 2);
  chunks_.insert(chunks_.begin() + long(i) + 1, std::move(upper));
}

void ServiceList::erase(const ObjectName& id) {
  if (!find(id)) return;
  const size_t i = chunk_of(id);
  auto& c = writable(i);
  c.erase(lower_bound_in(c, id));
  --size_;
  if (c.empty()) chunks_.erase(chunks_.begin() + long(i));
}

PackedService ServiceList::find(const ObjectName& id) const {
  if (chunks_.empty()) return {};
  auto& c = chunks_[chunk_of(id)]->items;
  const auto it = lower_bound_in(c, id);
  return it != c.end() && same_name(*it, id) ? *it : PackedService();
}

}  // namespace base::kube
