// What the admin socket answers, as tables for people or as it came (json).
#pragma once
#include <string>

#include "base/core/result.h"

namespace edgemeshd {

struct AdminCall {
  std::string socket;
  bool json = false;
};

// The daemon's answer to a GET, as it came.
base::Result<std::string> ask_admin(const AdminCall&, const std::string& target);

base::Result<std::string> show_status(const AdminCall&);
base::Result<std::string> show_services(const AdminCall&);
base::Result<std::string> show_explain(const AdminCall&, const std::string& service);
base::Result<std::string> show_peers(const AdminCall&);
base::Result<std::string> show_paths(const AdminCall&);
base::Result<std::string> show_dns_lookup(const AdminCall&, const std::string& name, const std::string& type);
base::Result<std::string> show_dns_cache(const AdminCall&, const std::string& under);
base::Result<std::string> show_dns_upstreams(const AdminCall&);
base::Result<std::string> show_dns_top(const AdminCall&);
base::Result<std::string> do_ping(const AdminCall&, const std::string& node);
base::Result<std::string> do_reload(const AdminCall&);
base::Result<std::string> do_handover(const AdminCall&);

}  // namespace edgemeshd
