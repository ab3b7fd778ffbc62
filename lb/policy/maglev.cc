#include "lb/policy/maglev.h"

#include <algorithm>

namespace lb {
namespace {

uint64_t hash_of(const base::IpPort& a, uint64_t salt) {
  uint64_t h = 0xcbf29ce484222325u ^ salt;
  auto eat = [&h](uint8_t byte) { h = (h ^ byte) * 0x100000001b3u; };
  for (uint8_t byte : a.ip.bytes()) eat(byte);
  eat(uint8_t(a.port >> 8));
  eat(uint8_t(a.port));
  h ^= h >> 32, h *= 0x9e3779b97f4a7c15u, h ^= h >> 29;  // spread: neighbours differ in the last bits only
  return h;
}

struct Turn {  // one candidate's walk through its permutation
  uint16_t index;
  base::IpPort addr;
  uint64_t at, skip, weight, credit = 0;
};

}  // namespace

std::vector<uint16_t> maglev_table(std::span<const Candidate> candidates, uint32_t modulus) {
  std::vector<Turn> turns;
  uint64_t heaviest = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    if (!c.weight) continue;
    turns.push_back({uint16_t(i), c.addr, hash_of(c.addr, 1) % modulus, hash_of(c.addr, 2) % (modulus - 1) + 1, c.weight});
    heaviest = std::max<uint64_t>(heaviest, c.weight);
  }
  if (turns.empty()) return {};
  std::ranges::sort(turns, {}, &Turn::addr);
  constexpr uint16_t kFree = 0xffff;
  std::vector<uint16_t> table(modulus, kFree);
  for (uint32_t filled = 0; filled < modulus;)
    for (Turn& t : turns) {
      t.credit += t.weight;
      if (t.credit < heaviest) continue;  // a lighter candidate sits some rounds out
      t.credit -= heaviest;
      while (table[t.at] != kFree) t.at = (t.at + t.skip) % modulus;
      table[t.at] = t.index;
      if (++filled == modulus) break;
    }
  return table;
}

}  // namespace lb
