#include "base/core/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/assert.h"

namespace base {

void Histogram::observe(std::chrono::nanoseconds took) {
  const double s = double(took.count()) / 1e9;
  const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), s) - kBounds.begin();
  in_[size_t(at)].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(uint64_t(std::max<int64_t>(took.count(), 0)), std::memory_order_relaxed);
}

uint64_t Histogram::at_most(size_t bound) const {
  uint64_t n = 0;
  for (size_t i = 0; i <= bound && i < in_.size(); i++) n += in_[i].load(std::memory_order_relaxed);
  return n;
}

uint64_t Histogram::count() const { return at_most(in_.size() - 1); }

Metrics::Entry& Metrics::entry(std::string_view name, std::string_view help, Labels&& labels, Type type) {
  std::lock_guard lock(mu_);
  for (Entry& e : entries_)
    if (e.name == name && e.labels == labels) {
      EM_ASSERT(e.type == type);
      return e;
    }
  Entry& e = entries_.emplace_back();
  e.name = name;
  e.help = help;
  e.labels = std::move(labels);
  e.type = type;
  if (type == Type::histogram) e.histogram = std::make_unique<Histogram>();
  return e;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, Labels labels) {
  return entry(name, help, std::move(labels), Type::counter).counter;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, Labels labels) {
  return entry(name, help, std::move(labels), Type::gauge).gauge;
}

Histogram& Metrics::histogram(std::string_view name, std::string_view help, Labels labels) {
  return *entry(name, help, std::move(labels), Type::histogram).histogram;
}

void Metrics::gauge_fn(std::string_view name, std::string_view help, Labels labels, std::function<int64_t()> fn) {
  entry(name, help, std::move(labels), Type::gauge).fn = std::move(fn);
}

static std::string escape(std::string_view v) {
  std::string s;
  for (char c : v) {
    if (c == '\\' || c == '"') s += '\\';
    if (c == '\n') s += "\\n";
    else s += c;
  }
  return s;
}

static std::string with_labels(const Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out += fmt::format("{}{}=\"{}\"", out.empty() ? "{" : ",", key, escape(value));
  return out.empty() ? out : out + "}";
}

void Metrics::render_one(const Entry& e, std::string& out) {
  const std::string labels = with_labels(e.labels);
  if (e.type == Type::counter) out += fmt::format("{}{} {}\n", e.name, labels, e.counter.value());
  if (e.type == Type::gauge) out += fmt::format("{}{} {}\n", e.name, labels, e.fn ? e.fn() : e.gauge.value());
  if (e.type != Type::histogram) return;
  Labels more = e.labels;
  more.emplace_back("le", "+Inf");
  const Histogram& h = *e.histogram;
  const uint64_t all = h.count();  // first, and the bound of the others: what is observed meanwhile is left to the next time
  for (size_t i = 0; i < Histogram::kBounds.size(); i++) {
    more.back().second = fmt::format("{}", Histogram::kBounds[i]);
    out += fmt::format("{}_bucket{} {}\n", e.name, with_labels(more), std::min(all, h.at_most(i)));
  }
  more.back().second = "+Inf";
  out += fmt::format("{}_bucket{} {}\n{}_sum{} {}\n{}_count{} {}\n", e.name, with_labels(more), all, e.name, labels, h.sum_seconds(),
                     e.name, labels, all);
}

std::string Metrics::render() const {
  static constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
  std::lock_guard lock(mu_);
  std::vector<const Entry*> sorted;
  for (const Entry& e : entries_) sorted.push_back(&e);
  std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  std::string out;
  const Entry* previous = nullptr;
  for (const Entry* e : sorted) {
    if (!previous || previous->name != e->name)
      out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", e->name, e->help, e->name, kTypes[size_t(e->type)]);
    previous = e;
    render_one(*e, out);
  }
  return out;
}

}  // namespace base
