// The kernel's own hash of a client address: what `jhash ip saddr mod N seed S` gives in an nftables rule. Both tiers of one
// service use it, so a client meets the same endpoint in the kernel and in the proxy.
#pragma once
#include "base/net/addr.h"

namespace lb {

inline constexpr uint32_t kSourceHashSeed = 0x65646d73;

uint32_t source_hash(const base::IpAddr& client, uint32_t modulus, uint32_t seed = kSourceHashSeed);

}  // namespace lb
