// TrustClock: the time certificates are checked against. A node's wall clock may be anything at boot and may jump later, and who
// sends time over the network may lie; so this is the latest time known for certain: the program's build day, the start of the own
// certificate, what was kept on disk, what the CA signed, and what an API server said over a verified connection. The boot clock
// carries it on. It is never set from a relay, a peer or the wall clock, and it may be late, but not early.
//
// What a clock that was once far ahead can do is bounded: everything but an API server's word counts only up to the end of the own
// certificate, and so does what is kept; the API server's newest word replaces its older ones.
//
// The wall clock is asked for one thing, starts_by(): as long as it lies before the end of the own certificate it may let a
// certificate begin that was issued while this node was off. It can only admit what the CA has signed. Control loop only.
#pragma once
#include <functional>
#include <string>

#include "base/core/metrics.h"
#include "base/core/state_disk.h"
#include "base/core/time.h"

namespace base {

class TrustClock {
 public:
  struct Options {
    std::function<Instant()> boot;   // Loop::now
    std::function<WallTime()> wall;  // wall_now
    WallTime built;                  // build_day()
    std::string path;                // where the time is kept; empty: nowhere
    StateDisk* disk = nullptr;       // needed with a path
  };
  TrustClock(Options, Metrics&);

  WallTime now() const;
  // A certificate whose start is later (beyond the 24 h of slack) has not begun.
  WallTime starts_by() const;
  // For servers of other authorities (the API server's): now(), and the wall clock as long as there is no own certificate.
  WallTime for_servers() const;

  // The dates of the own certificate; from here on the kept time counts too. Again after a renewal.
  void own_certificate(WallTime not_before, WallTime not_after);
  void signed_by_ca(WallTime);
  void told_by_api_server(WallTime);  // over a verified connection

  // From time to time, seconds apart: says in the log when the wall clock cannot be believed, and keeps the time (hourly).
  void look();
  void keep();  // at the end

 private:
  struct Reading {
    WallTime time{INT64_MIN / 2};
    Instant at{};
  };
  enum class Wall { believed, behind, ahead };
  WallTime carried(const Reading&) const;
  void raise(WallTime);  // never beyond the end of the own certificate, once that is known
  bool wall_is_plausible() const;
  Wall judge_wall() const;
  void say(Wall) const;

  Options o_;
  Reading certain_, api_;
  WallTime own_not_after_{INT64_MAX / 2};
  bool has_own_ = false;
  WallTime kept_{0};
  Instant next_try_{};
  Wall said_ = Wall::believed;
  Gauge& doubted_;
};

}  // namespace base
