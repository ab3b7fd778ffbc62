#include "base/loop/timer_queue.h"

#include <utility>

namespace base {

// A binary heap in which every entry knows its place, so that cancelling is O(log n).
struct TimerQueue::Heap {
  const Instant* now;
  uint64_t armed_ever = 0;
  std::vector<Entry*> v;

  static bool before(const Entry* a, const Entry* b) {
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->order < b->order;
  }
  void place(size_t i, Entry* e) {
    v[i] = e;
    e->at = i;
  }
  void up(size_t i) {
    Entry* e = v[i];
    for (; i > 0 && before(e, v[(i - 1) / 2]); i = (i - 1) / 2) place(i, v[(i - 1) / 2]);
    place(i, e);
  }
  void down(size_t i) {
    Entry* e = v[i];
    for (size_t c; (c = 2 * i + 1) < v.size(); i = c) {
      if (c + 1 < v.size() && before(v[c + 1], v[c])) ++c;
      if (!before(v[c], e)) break;
      place(i, v[c]);
    }
    place(i, e);
  }
  void add(std::shared_ptr<Entry> e, Instant deadline) {
    e->deadline = deadline;
    e->order = ++armed_ever;
    e->armed = true;
    v.push_back(e.get());
    e->at = v.size() - 1;
    up(e->at);
    Entry* raw = e.get();
    raw->keep = std::move(e);
  }
  std::shared_ptr<Entry> remove(Entry* e) {
    size_t i = e->at;
    Entry* last = v.back();
    v.pop_back();
    if (last != e) {
      place(i, last);
      up(i);
      down(last->at);
    }
    e->armed = false;
    return std::move(e->keep);
  }
};

class TimerQueue::Handle final : public Timer {
 public:
  Handle(std::shared_ptr<Heap> heap, std::function<void()> fn) : heap_(std::move(heap)), entry_(std::make_shared<Entry>()) {
    entry_->fn = std::move(fn);
  }
  ~Handle() override { cancel(); }
  void arm(Duration after) override {
    cancel();
    if (heap_->now) heap_->add(entry_, *heap_->now + std::max(after, Duration{0}));
  }
  void cancel() override {
    if (entry_->armed) heap_->remove(entry_.get());
  }
  bool armed() const override { return entry_->armed; }

 private:
  std::shared_ptr<Heap> heap_;
  std::shared_ptr<Entry> entry_;
};

TimerQueue::TimerQueue(const Instant& now) : heap_(std::make_shared<Heap>()) { heap_->now = &now; }

TimerQueue::~TimerQueue() {
  heap_->now = nullptr;
  while (!heap_->v.empty()) heap_->remove(heap_->v.back());
}

std::unique_ptr<Timer> TimerQueue::make(std::function<void()> fn) { return std::make_unique<Handle>(heap_, std::move(fn)); }

std::optional<Instant> TimerQueue::next() const {
  if (heap_->v.empty()) return std::nullopt;
  return heap_->v.front()->deadline;
}

size_t TimerQueue::run_due() {
  size_t fired = 0;
  std::shared_ptr<Heap> heap = heap_;
  for (uint64_t last = heap->armed_ever; !heap->v.empty(); ++fired) {
    Entry* first = heap->v.front();
    if (first->deadline > *heap->now || first->order > last) break;
    std::shared_ptr<Entry> alive = heap->remove(first);
    alive->fn();
  }
  return fired;
}

}  // namespace base
