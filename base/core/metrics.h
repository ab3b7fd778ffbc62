// Counters and gauges, shown as Prometheus text (exposition format 0.0.4). Names are edgemeshd_*; label values come from
// bounded sets (never addresses or names of objects). A Counter is a relaxed atomic: any thread may add.
// The registry is one object made in main and handed down; integration/checks/metrics.py holds docs/reference/metrics.md to it.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace base {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  void add(uint64_t n = 1) { v_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};

class Gauge {
 public:
  void set(int64_t v) { v_.store(v, std::memory_order_relaxed); }
  void add(int64_t n) { v_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> v_{0};
};

class Metrics {
 public:
  // The same name and labels give the same object; it lives as long as the registry. help is one sentence.
  Counter& counter(std::string_view name, std::string_view help, Labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, Labels = {});
  // A value read when asked (sizes of tables); called on the loop that renders.
  void gauge_fn(std::string_view name, std::string_view help, Labels, std::function<int64_t()>);
  std::string render() const;

 private:
  struct Entry {
    std::string name, help;
    Labels labels;
    bool is_counter = false;
    Counter counter;
    Gauge gauge;
    std::function<int64_t()> fn;
  };
  Entry& entry(std::string_view name, std::string_view help, Labels&&, bool is_counter);
  mutable std::mutex mu_;  // guards the list, not the values
  std::deque<Entry> entries_;
};

}  // namespace base
