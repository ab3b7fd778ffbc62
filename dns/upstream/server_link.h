// ServerLink: the way to one upstream server, whatever is spoken on it. It carries a query there and hands the answer back octet by
// octet; it does not retry, and what it checks is that an answer belongs to a query of its own (id, question).
#pragma once
#include <functional>
#include <memory>

#include "base/core/bytes.h"
#include "dns/upstream/server_address.h"

namespace dns {

class ServerLink {
 public:
  // An empty view: nothing came in time, or the server cannot be reached.
  using Done = std::function<void(base::ByteView answer)>;
  // Must not be called from inside a callback of its own. Queries under way are reported as unanswered.
  virtual ~ServerLink() = default;
  virtual void send(base::ByteView query, Done) = 0;  // done runs once, perhaps before send returns
  virtual size_t in_flight() const = 0;
  virtual bool is_own_socket(const base::IpPort& local) const = 0;  // one it sends from
};

// tcp_only: for answers that UDP is not believed for.
using MakeLink = std::function<std::unique_ptr<ServerLink>(const ServerAddress&, bool tcp_only)>;

}  // namespace dns
