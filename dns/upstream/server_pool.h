// ServerPool: the servers of one zone, and which of them is asked next. The fastest comes first; one that was not heard of for a while
// is asked beside it, so that its speed is known without a client that waits for it; one that is silent comes last; one that sends our
// own questions back to us rests for a minute.
//
// How long to wait before another one is asked follows the server's own 95th percentile. Lives on one loop.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/loop/loop.h"
#include "dns/upstream/server_address.h"
#include "dns/upstream/server_link.h"
#include "dns/upstream/server_stats.h"
#include "dns/wire/name.h"

namespace dns {

struct ServerCounters {
  base::Counter *queries = nullptr, *unanswered = nullptr;
  base::Histogram* took = nullptr;
};

struct Server {
  ServerAddress address;
  ServerStats stats;
  std::unique_ptr<ServerLink> link, tcp;  // tcp: where UDP is not believed; made when needed
  base::Instant loops_until{};
  base::Instant asked{}, probed{};  // last
  uint64_t queries = 0;
  size_t number = 0;         // its place among all, from 1
  ServerCounters counters;   // of that place
  bool loops(base::Instant now) const { return now < loops_until; }
  size_t in_flight() const { return (link ? link->in_flight() : 0) + (tcp ? tcp->in_flight() : 0); }
  bool is_own_socket(const base::IpPort& p) const { return (link && link->is_own_socket(p)) || (tcp && tcp->is_own_socket(p)); }
};
using ServerPtr = std::shared_ptr<Server>;

// How often each server of a pool was asked one question.
using Tried = std::vector<uint8_t>;

class ServerPool {
 public:
  static constexpr size_t kAskedMax = 10;  // times for one question, all servers together
  static constexpr size_t kNone = SIZE_MAX;

  ServerPool(Name zone, std::vector<ServerPtr> servers) : zone_(zone), servers_(std::move(servers)) {}
  const Name& zone() const { return zone_; }  // lowered; the root: all names
  const std::vector<ServerPtr>& servers() const { return servers_; }
  size_t usable(base::Instant now) const;
  // The next one to ask: of those asked least often the best. kNone: nobody, or often enough.
  size_t next(const Tried&, base::Instant now) const;
  // One that should be asked as well, for its speed: it was not heard of lately.
  size_t to_measure(const Tried&, base::Instant now) const;
  // After which time without an answer the next one is asked, when `last` was.
  base::Duration patience(const Tried&, size_t last) const;
  size_t in_flight() const;
  bool untried(const Tried&, base::Instant now) const;  // some usable server was not asked yet

  // Bookkeeping of questions nobody answered: after some in a row, one per half second is tried, the others fail at once.
  bool resting(base::Instant now) const;
  void question_sent(base::Instant now) { last_sent_ = now; }
  void question_answered() { silent_ = 0; }
  void question_unanswered() { silent_++; }

 private:
  Name zone_;
  std::vector<ServerPtr> servers_;
  uint32_t silent_ = 0;
  base::Instant last_sent_{};
};

}  // namespace dns
