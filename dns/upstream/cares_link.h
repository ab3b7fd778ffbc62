// One server over UDP and, where an answer was cut or the link is told so, over TCP, by c-ares on our loop. The UDP port that queries
// leave from is another one after a while, so that who guesses it has not long to use it.
#pragma once
#include <memory>

#include "base/core/result.h"
#include "base/loop/loop.h"
#include "dns/upstream/server_link.h"

namespace dns {

struct CaresOptions {
  base::IpPort server;
  std::chrono::milliseconds within{1900};
  bool tcp_only = false;
};
std::unique_ptr<ServerLink> make_cares_link(base::Loop&, const CaresOptions&);

}  // namespace dns
