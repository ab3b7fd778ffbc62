// What H2Signal keeps of its connections and of the places it dials. Internal to tunnel/signal.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tunnel/signal/dialer.h"
#include "tunnel/signal/record_queue.h"
#include "tunnel/signal/signal_conn.h"

namespace tunnel {

// One connection and why it is there.
struct Conn {
  uint64_t id = 0;
  std::string peer;                 // "" until ready
  base::IpPort remote;                    // dialled address, or where it came from
  bool dialled = false, is_relay = false;
  std::shared_ptr<RecordQueue> records;  // a connection for records
  std::map<std::string, base::Instant> unreachable;  // relay: nodes it said it does not have
  std::unique_ptr<SignalConn> conn;
};

// A place we keep a connection to: a relay always, a peer while there is something to send.
struct Place {
  std::string name;                 // expected; "" for a relay known by address only
  std::vector<base::IpPort> addresses;
  bool is_relay = false, is_for_records = false;
  size_t next_address = 0, tries = 0;  // tries: since it was connected
  uint64_t conn = 0;                // 0: none
  base::Instant ready_since{};
  Backoff backoff;
  std::unique_ptr<base::Timer> retry;
  std::deque<std::pair<base::Instant, Message>> held;  // frames for this peer while it is dialled
  size_t held_bytes = 0;
  std::string trouble;              // address and reason of the last failure; "" once connected
  std::set<std::string> told;       // what the log has of it since it was connected last: tried again for days, one line
};

}  // namespace tunnel
