// SocketStore: every long-lived file descriptor (DNS, admin, TUN queues, tunnel UDP, proxy listeners) is acquired by name:
// from a predecessor at a hot restart, from systemd (LISTEN_FDNAMES), or opened now. No module calls socket() for itself.
//   names: "dns-udp-0", "dns-tcp", "proxy-tcp4", "tunnel-udp4-0", "tun-0", "signal-tcp", "admin-unix" ...
// Owned by main; used on the control loop.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/core/result.h"
#include "base/core/unique_fd.h"

namespace base {

class SocketStore {
 public:
  // Takes what systemd or a predecessor passed in this process's environment; does nothing when there is none.
  void adopt_environment();
  void put(std::string name, UniqueFd fd) { have_[std::move(name)] = std::move(fd); }
  // The inherited descriptor of that name, else what open() gives. The caller owns the result; the store keeps a duplicate for a
  // successor, so a socket is closed for good only after keep(name, -1) or forget().
  Result<UniqueFd> acquire(const std::string& name, const std::function<Result<UniqueFd>()>& open);
  // Inherited descriptors nobody asked for by the end of start-up are closed.
  void close_unclaimed() { have_.clear(); }
  UniqueFd take(const std::string& name);             // inherited and not acquired, or none
  std::vector<std::pair<std::string, int>> held() const;  // what was acquired, for a successor
  // The duplicate under that name is of this descriptor from now on; fd -1: its owner closes it for good, none is kept.
  void keep(const std::string& name, int fd);
  void forget() { held_.clear(); }

 private:
  std::map<std::string, UniqueFd> have_, held_;
};

}  // namespace base
