// Counters, gauges and histograms of times, shown as Prometheus text (exposition format 0.0.4). Names are edgemeshd_*; label values come from
// bounded sets (never addresses or names of objects). A Counter is a relaxed atomic: any thread may add.
// The registry is one object made in main and handed down; integration/checks/metrics.py holds docs/reference/metrics.md to it.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
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

// How long things took, in buckets of fixed bounds from half a millisecond to ten seconds.
class Histogram {
 public:
  static constexpr std::array<double, 14> kBounds = {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};  // seconds, each included
  void observe(std::chrono::nanoseconds);
  uint64_t count() const;
  uint64_t at_most(size_t bound) const;  // of those within kBounds[bound]
  double sum_seconds() const { return double(sum_ns_.load(std::memory_order_relaxed)) / 1e9; }

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> in_{};
  std::atomic<uint64_t> sum_ns_{0};
};

class Metrics {
 public:
  // The same name and labels give the same object; it lives as long as the registry. help is one sentence.
  Counter& counter(std::string_view name, std::string_view help, Labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, Labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, Labels = {});  // name ends in _seconds
  // A value read when asked (sizes of tables); called on the loop that renders.
  void gauge_fn(std::string_view name, std::string_view help, Labels, std::function<int64_t()>);
  std::string render() const;

 private:
  enum class Type : uint8_t { counter, gauge, histogram };
  struct Entry {
    std::string name, help;
    Labels labels;
    Type type = Type::gauge;
    Counter counter;
    Gauge gauge;
    std::unique_ptr<Histogram> histogram;
    std::function<int64_t()> fn;
  };
  Entry& entry(std::string_view name, std::string_view help, Labels&&, Type);
  static void render_one(const Entry&, std::string& out);
  mutable std::mutex mu_;  // guards the list, not the values
  std::deque<Entry> entries_;
};

}  // namespace base
