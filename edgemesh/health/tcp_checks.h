// TcpChecks: asks endpoints themselves whether they take connections. A bounded number of TCP connects at a time, each closed as
// soon as it stands; the sockets carry the daemon's mark, so they go to the endpoint that was meant. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/net/socket.h"

namespace edgemesh {

class TcpChecks {
 public:
  using Done = std::function<void(const base::IpPort&, base::ConnectOutcome)>;
  TcpChecks(base::Loop&, uint32_t socket_mark, base::Duration timeout, Done);
  size_t free() const;                    // how many more may be started now
  void start(const base::IpPort&);        // not one under way already; done is called in a later turn

 private:
  struct Check {
    base::UniqueFd fd;
    std::unique_ptr<base::FdWatch> watch;
    std::unique_ptr<base::Timer> timer;
  };
  void finish(base::IpPort, base::ConnectOutcome);

  base::Loop& loop_;
  uint32_t mark_;
  base::Duration timeout_;
  Done done_;
  std::map<base::IpPort, Check> checks_;
};

}  // namespace edgemesh
