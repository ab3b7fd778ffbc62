// Handover: one process gives way to the next without closing a socket. The old one starts the program's file anew with all its
// descriptors (names and numbers in EDGEMESHD_FDS), the lock of the run directory, the objects it serves from, and one end of a
// socket pair, over which one byte is said at a time:
//
//   new -> old  'T'   everything is read and checked; about to take the tunnel and the kernel's tables
//   old -> new  't'   has let go of them; serves DNS and proxied connections on
//   new -> old  'R'   serves everything: the old one reads no more, lets its connections end, and exits
//
// Until 'T' the old one goes on as if nothing had been, should the new one fail; afterwards it cannot, and ends with an error, so
// that a supervisor starts afresh (as after kill -9). Keys are never handed over: tunnel sessions are made anew.
#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"

namespace edgemeshd {

class Handover {  // in the old process
 public:
  struct Hooks {
    std::function<void()> on_tunnel_wanted;                  // let go of tunnel and kernel, now
    std::function<void()> on_ready;                          // the successor serves
    std::function<void(bool let_go, const std::string& why)> on_lost;
  };
  // objects: what snapshot_keeper's bytes_now() gave. lock: of the run directory.
  static base::Result<std::unique_ptr<Handover>> start(const base::SocketStore&, const std::string& objects, int lock, base::Loop&, Hooks);
  ~Handover();                                               // a successor that is not ready yet is ended

 private:
  explicit Handover(Hooks h) : hooks_(std::move(h)) {}
  void on_readable();
  void lost(const std::string& why);

  Hooks hooks_;
  base::UniqueFd channel_;
  std::unique_ptr<base::FdWatch> watch_;
  std::unique_ptr<base::Timer> deadline_;
  pid_t child_ = -1;
  bool let_go_ = false, done_ = false;
};

class Predecessor {  // in the new process
 public:
  static std::optional<Predecessor> found(base::SocketStore&);  // nothing when nobody hands over
  base::Result<void> take_tunnel();                             // blocks until the old process has let go, 3 s at most
  void ready();
  std::string objects() const;                                  // of the old process, as a snapshot; "" for none

 private:
  base::UniqueFd channel_, objects_;
};

// Tells a service manager (NOTIFY_SOCKET) that this process is the service now; nothing without one.
void tell_supervisor();
// How often it wants to hear that the loop still turns (half of WATCHDOG_USEC); 0: not at all.
base::Duration watchdog_pause();
void tell_watchdog();

}  // namespace edgemeshd
