// RateLimit: how many answers over UDP one source gets in a second. A source is an address of a private range (a pod, the host); of other
// addresses it is their network (/24, /56), because whoever forges one has them all. Beyond the limit one query of every so many gets an
// empty truncated answer: a real client comes again over TCP, which is not limited and which a forged address cannot use; the others get
// none. A source that was quiet may send a second's worth at once.
// Bounded: 4,096 sources, four in each set; the one that was quiet longest gives way. No allocation but at its making. One loop.
#pragma once
#include <array>
#include <vector>

#include "base/core/time.h"
#include "base/net/addr.h"

namespace dns {

struct RateLimitConfig {
  uint32_t per_second = 0;      // 0: no limit
  uint32_t truncate_every = 2;  // of the queries beyond it; 0: none gets an answer
  bool operator==(const RateLimitConfig&) const = default;
};

class RateLimit {
 public:
  enum class Verdict : uint8_t { answer, truncate, drop };
  // seed: what sources are hashed with, so that nobody can choose whose place to take; a random number.
  RateLimit(RateLimitConfig, uint64_t seed);
  Verdict judge(const base::IpAddr& client, base::Instant now);

 private:
  static constexpr size_t kSets = 1024, kWays = 4;
  struct Source {
    std::array<uint8_t, 17> key{};  // the network's octets, then how many
    uint32_t beyond = 0;            // queries beyond the limit, of this time
    base::Instant paid{};           // until when it has used up its share
  };
  Source& find(const base::IpAddr&);
  RateLimitConfig config_;
  uint64_t seed_;
  base::Duration each_;
  std::vector<Source> sources_;
};

}  // namespace dns
