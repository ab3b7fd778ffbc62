// Pump: carries bytes between two connected TCP sockets until both directions have ended. A half-close is kept: the end of
// one direction is passed on (shutdown) while the other goes on. Small exchanges are copied through one buffer shared by all
// pumps of the loop; a direction that keeps filling it is moved to splice(2) and its own pipe. Nothing is read that cannot be
// held: at most one buffer (64 KiB) or one pipe per direction waits for a slow receiver.
#pragma once
#include <functional>
#include <memory>

#include "base/core/unique_fd.h"
#include "base/loop/loop.h"

namespace edgemesh {

class Pump {
 public:
  struct Totals {
    uint64_t to_server = 0, to_client = 0;
    bool idle = false;  // ended by the idle timeout
  };
  // ended runs once, from the loop; it may destroy the pump.
  Pump(base::Loop&, base::UniqueFd client, base::UniqueFd server, base::Duration idle_timeout, std::function<void(Totals)> ended);
  ~Pump();

 private:
  struct Direction {
    int from = -1, to = -1;
    base::UniqueFd pipe_in, pipe_out;  // set once spliced
    size_t in_pipe = 0;
    std::string held;                  // copied bytes the receiver has not taken
    size_t held_at = 0;
    int full_reads = 0;
    bool readable = true, ended = false, shut = false;
    uint64_t* total = nullptr;
    bool pending() const { return in_pipe > 0 || held_at < held.size(); }
  };
  void on_event();
  bool move(Direction&);          // false: the connection is broken
  bool flush(Direction&);         // false: broken
  bool copy_some(Direction&, bool& progress);
  bool splice_some(Direction&, bool& progress);
  void start_splicing(Direction&);
  void watch();
  void on_idle();
  void end(bool idle);

  base::Loop& loop_;
  base::UniqueFd client_, server_;
  base::Duration idle_timeout_;
  std::function<void(Totals)> ended_;
  Totals totals_;
  Direction up_, down_;
  base::Instant last_progress_;
  std::unique_ptr<base::FdWatch> client_watch_, server_watch_;
  std::unique_ptr<base::Timer> idle_timer_;
};

}  // namespace edgemesh
