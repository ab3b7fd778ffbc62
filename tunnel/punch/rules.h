// Which rungs of punching are allowed, and how far a birthday goes: the operator's word.
#pragma once
#include <cstddef>

namespace tunnel {

struct PunchRules {
  bool plain = true, fresh = true, predict = true, birthday = true;
  size_t birthday_sockets = 256;  // 64 behind a carrier's NAT that gives a customer few ports
};

}  // namespace tunnel
