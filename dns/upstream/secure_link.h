// One server over TLS or HTTPS: one connection, made when there is something to ask and kept as long as the server keeps it; any number
// of queries on it at once, up to a bound. The server shows a certificate for its name (or address) by an authority we trust; else
// nothing is asked. What was under way when the server closed a connection that had worked is asked once more on a new one.
#pragma once
#include "base/loop/loop.h"
#include "base/net/tls.h"
#include "dns/upstream/server_link.h"

namespace dns {

struct SecureOptions {
  ServerAddress server;
  std::shared_ptr<const base::TlsContext> tls;
  std::function<base::WallTime()> wall;
  std::chrono::milliseconds within{1900};
};
std::unique_ptr<ServerLink> make_secure_link(base::Loop&, SecureOptions);

}  // namespace dns
