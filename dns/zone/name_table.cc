#include "dns/zone/name_table.h"

#include <algorithm>
#include <cstring>

namespace dns {

void NameTable::clear() {
  cells_ = {};
  size_ = 0;
}

void NameTable::reserve(size_t entries) {
  size_t cells = entries + entries / 3 + 16;
  if (cells > cells_.size()) resize(cells);
}

void NameTable::resize(size_t cells) {
  std::vector<Entry> old(cells, Entry{0, kFree, 0});
  old.swap(cells_);
  for (auto& e : old)
    if (e.slot != kFree) place(e);
}

void NameTable::place(const Entry& e) {
  size_t i = home(e.hash);
  while (cells_[i].slot != kFree) i = next(i);
  cells_[i] = e;
}

void NameTable::add(const Entry& e) {
  if ((size_ + 1) * 4 > cells_.size() * 3) resize(std::max<size_t>(64, cells_.size() + cells_.size() / 2));
  place(e);
  size_++;
}

// Moves back what stands behind the gap and belongs before it.
void NameTable::remove(const Entry& e) {
  if (cells_.empty()) return;
  size_t gap = home(e.hash);
  while (cells_[gap].slot != kFree && (cells_[gap].slot != e.slot || cells_[gap].at != e.at)) gap = next(gap);
  if (cells_[gap].slot == kFree) return;
  size_--;
  size_t n = cells_.size();
  for (size_t i = next(gap); cells_[i].slot != kFree; i = next(i)) {
    size_t way = (i + n - home(cells_[i].hash)) % n, back = (i + n - gap) % n;
    if (way < back) continue;
    cells_[gap] = cells_[i];
    gap = i;
  }
  cells_[gap].slot = kFree;
}

}  // namespace dns
