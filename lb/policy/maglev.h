// Maglev hashing (Eisenbud et al., NSDI 2016, §3.4): a table in which every candidate owns its share of the slots and the loss
// of one of n moves about 1/n of them. The table depends on the candidates' identities and weights, not on their order.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lb/policy/slot_table.h"

namespace lb {

// modulus is prime and at least the number of candidates with weight; entries are indices into candidates.
std::vector<uint16_t> maglev_table(std::span<const Candidate> candidates, uint32_t modulus);

}  // namespace lb
