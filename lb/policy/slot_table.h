// Slots: the one form in which a balancing decision is handed to the kernel. A frontend has `modulus` slots, every slot names a
// candidate; the rule draws a slot (at random, by counting, by source hash) and the map gives the endpoint.
//
//   modulus 1     a single endpoint
//   modulus 12    shares that divide 12 exactly: 2, 3, 4, 6, 12 equal endpoints, or weights that reduce to such a sum
//   modulus 60    the same of 60: 5, 10, 15, 20, 30 equal endpoints; each slot costs the kernel about 100 bytes and 2 us
//   modulus 1021  (prime) everything else, and every source hash (Maglev)
//
// A frontend that never changed has as many slots as it has equal parts, if that divides 12: thousands of services cost the kernel a
// third of the time at a start. One that changed to what its slots cannot hold gets 12, which holds its next changes.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/net/addr.h"

namespace lb {

struct Candidate {
  base::IpPort addr;
  uint32_t weight = 1;  // 0: no new connections
  auto operator<=>(const Candidate&) const = default;
};

inline constexpr uint32_t kTinyModulus = 12;
inline constexpr uint32_t kSmallModulus = 60;
inline constexpr uint32_t kLargeModulus = 1021;

struct SlotTable {
  uint32_t modulus = 0;         // 0: no candidate takes connections
  std::vector<uint16_t> slots;  // indices into the candidates
  size_t left_out = 0;          // candidates beyond base::limits::kEndpointsPerPortMax, in order
};

enum class SlotUse : uint8_t { rotate, hash };  // rotate serves round robin and random alike

// Rotating over the slots in order gives each candidate its share as evenly in time as its weight allows.
// `have` is the modulus in use: kept where it gives each candidate exactly its share; 0: none yet.
SlotTable assign_slots(std::span<const Candidate>, SlotUse, uint32_t have = kTinyModulus);

}  // namespace lb
