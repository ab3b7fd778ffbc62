// edgemeshctl nat, lan and netcheck: what lies between this node and the others, as a table and in words with what can be done.
#pragma once
#include "daemon/ctl/admin_views.h"

namespace edgemeshd {

base::Result<std::string> show_nat(const AdminCall&);
base::Result<std::string> show_lan(const AdminCall&);
base::Result<std::string> show_netcheck(const AdminCall&);

// Pure: the sentences for what /v1/nat and /v1/peers answered, as JSON texts.
base::Result<std::vector<std::string>> netcheck_sentences(const std::string& nat, const std::string& peers);

}  // namespace edgemeshd
