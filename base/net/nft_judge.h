// One nf_tables rule against one packet, by its expressions. Internal to base/net.
#pragma once
#include <functional>
#include <string>

#include "base/net/packet_filters.h"

namespace base::detail {

enum class Judgement : uint8_t { next, accept, drop, ret, jump, go };  // next: no match, or nothing that ends the chain

struct Judged {
  Judgement what = Judgement::next;
  std::string chain;  // of jump and go
};

// A rule that matches for sure is judged by its verdict; anything uncertain is `next`.
Judged judge(const nftnl_rule*, const TriedPacket&);

// The chains it may jump or go to (verdict maps are not looked into).
void each_target(const nftnl_rule*, const std::function<void(const std::string& chain)>&);

}  // namespace base::detail
