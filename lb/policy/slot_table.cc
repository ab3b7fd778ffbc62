#include "lb/policy/slot_table.h"

#include <numeric>

#include "base/core/limits.h"
#include "lb/policy/maglev.h"

namespace lb {
namespace {

// Smooth weighted rotation: every slot goes to the candidate that is furthest behind its share.
std::vector<uint16_t> rotate(std::span<const Candidate> c, const std::vector<uint16_t>& usable, uint32_t modulus) {
  std::vector<int64_t> behind(usable.size(), 0);
  int64_t total = 0;
  for (uint16_t i : usable) total += c[i].weight;
  std::vector<uint16_t> out;
  out.reserve(modulus);
  while (out.size() < modulus) {
    size_t best = 0;
    for (size_t k = 0; k < usable.size(); ++k) {
      behind[k] += c[usable[k]].weight;
      if (behind[k] > behind[best]) best = k;
    }
    behind[best] -= total;
    out.push_back(usable[best]);
  }
  return out;
}

// A modulus that gives each candidate exactly its share: the one in use, the least for the first time; the large one where none does.
uint32_t modulus_for(std::span<const Candidate> c, const std::vector<uint16_t>& usable, uint32_t have) {
  uint64_t common = 0, sum = 0;
  for (uint16_t i : usable) common = std::gcd(common, uint64_t(c[i].weight)), sum += c[i].weight;
  const uint64_t parts = sum / common;
  if (have > 1 && have <= kSmallModulus && have % parts == 0) return have;
  if (have == 0 && kTinyModulus % parts == 0) return uint32_t(parts);
  for (uint32_t modulus : {kTinyModulus, kSmallModulus})
    if (modulus % parts == 0) return modulus;
  return kLargeModulus;
}

}  // namespace

SlotTable assign_slots(std::span<const Candidate> c, SlotUse use, uint32_t have) {
  SlotTable t;
  if (c.size() > base::limits::kEndpointsPerPortMax) {
    t.left_out = c.size() - base::limits::kEndpointsPerPortMax;
    c = c.first(base::limits::kEndpointsPerPortMax);
  }
  std::vector<uint16_t> usable;
  for (size_t i = 0; i < c.size(); ++i)
    if (c[i].weight) usable.push_back(uint16_t(i));
  if (usable.empty()) return t;
  if (usable.size() == 1) {
    t.modulus = 1, t.slots = {usable[0]};
  } else if (use == SlotUse::hash) {
    t.modulus = kLargeModulus, t.slots = maglev_table(c, kLargeModulus);
  } else {
    t.modulus = modulus_for(c, usable, have);
    t.slots = rotate(c, usable, t.modulus);
  }
  return t;
}

}  // namespace lb
