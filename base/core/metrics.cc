#include "base/core/metrics.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/assert.h"

namespace base {

Metrics::Entry& Metrics::entry(std::string_view name, std::string_view help, Labels&& labels, bool is_counter) {
  std::lock_guard lock(mu_);
  for (Entry& e : entries_)
    if (e.name == name && e.labels == labels) {
      EM_ASSERT(e.is_counter == is_counter);
      return e;
    }
  Entry& e = entries_.emplace_back();
  e.name = name;
  e.help = help;
  e.labels = std::move(labels);
  e.is_counter = is_counter;
  return e;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, Labels labels) {
  return entry(name, help, std::move(labels), true).counter;
}

Gauge& Metrics::gauge(std::string_view name, std::string_view help, Labels labels) {
  return entry(name, help, std::move(labels), false).gauge;
}

void Metrics::gauge_fn(std::string_view name, std::string_view help, Labels labels, std::function<int64_t()> fn) {
  entry(name, help, std::move(labels), false).fn = std::move(fn);
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

std::string Metrics::render() const {
  std::lock_guard lock(mu_);
  std::vector<const Entry*> sorted;
  for (const Entry& e : entries_) sorted.push_back(&e);
  std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  std::string out;
  const Entry* previous = nullptr;
  for (const Entry* e : sorted) {
    if (!previous || previous->name != e->name)
      out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", e->name, e->help, e->name, e->is_counter ? "counter" : "gauge");
    previous = e;
    out += e->name;
    for (size_t i = 0; i < e->labels.size(); i++)
      out += fmt::format("{}{}=\"{}\"", i ? "," : "{", e->labels[i].first, escape(e->labels[i].second));
    if (!e->labels.empty()) out += "}";
    if (e->is_counter) out += fmt::format(" {}\n", e->counter.value());
    else out += fmt::format(" {}\n", e->fn ? e->fn() : e->gauge.value());
  }
  return out;
}

}  // namespace base
