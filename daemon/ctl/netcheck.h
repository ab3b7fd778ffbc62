// edgemeshctl nat, lan and netcheck: what lies between this node and the others, as a table and in words with what can be done.
#pragma once
#include "daemon/ctl/admin_views.h"

namespace edgemeshd {

base::Result<std::string> show_nat(const AdminCall&);
base::Result<std::string> show_lan(const AdminCall&);
base::Result<std::string> show_netcheck(const AdminCall&);

// Whether TCP to 443 of a relay leaves the network: tried from here, by this program.
struct TcpProbe {
  std::string relay, address;
  enum class Outcome { open, refused, unanswered } outcome = Outcome::unanswered;
};

// Pure: the sentences for what /v1/nat, /v1/peers and /v1/lan answered, as JSON texts.
base::Result<std::vector<std::string>> netcheck_sentences(const std::string& nat, const std::string& peers, const std::string& lan,
                                                          const std::vector<TcpProbe>&);

}  // namespace edgemeshd
