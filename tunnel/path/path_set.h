// PathSet: the ways to one peer, judged only by the peer's authenticated answers to our own CHECKs.
//
//   WAITING --punch--> CHECKING --answer--> VALID --miss--> SUSPECT --3 misses--> DEAD (relay: probed for ever; direct: by punching)
//
// Timers of a path, one deadline each:
//   unproved relay path   50 ms doubling up to 5 s until the first answer
//   answer awaited        max(200 ms, 2 RTT) up to 600 ms, then a miss and the next CHECK
//   keepalive             after as long a silence as the way is known to bear (BindingLife), 15 s direct, 12 s relay at most
//   dead relay path       5 s
// The choice: a usable direct path before a relay, a relay by UDP before one by TCP; within a class the one in use stays unless another is
// better by more than 20 % and more than 5 ms. Sans-I/O: tick() says which paths want a CHECK now; the caller seals and sends it.
#pragma once
#include <deque>
#include <list>
#include <optional>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/path/path_addr.h"
#include "tunnel/path/path_mtu.h"
#include "tunnel/session/messages.h"

namespace tunnel {

enum class PathKind : uint8_t { host, srflx, prflx, advertised, relay };
enum class PathState : uint8_t { waiting, checking, valid, suspect, dead };
const char* to_string(PathKind);
const char* to_string(PathState);
inline PathKind path_kind(CandidateKind k) { return PathKind(uint8_t(k)); }

inline constexpr base::Duration kKeepaliveDirect = std::chrono::seconds(15);
inline constexpr base::Duration kKeepaliveRelay = std::chrono::seconds(12);
inline constexpr int kMissesDead = 3;
inline constexpr size_t kPathsMax = 40;
inline constexpr size_t kRelayPathsMax = 4;   // of them; that much is left for relays always
inline constexpr size_t kDirectProvedMax = 5; // learned ones beyond that many that work are not kept alive

// How long a silence the NATs of a way bear before they forget it, learned from the silences themselves: a keepalive that is answered
// after one proves that long, and the next silence may be twice as long; two that are lost after one have shown what is too long, and
// half of that is kept for an hour. A path that ends at a length which was proved may have other reasons, but not twice in five
// minutes. One for the direct paths of a peer, one for its relays by UDP and one for those by TCP: it is the NATs that are learned about.
class BindingLife {
 public:
  explicit BindingLife(base::Duration interval_max) : max_(interval_max) {}
  base::Duration interval(base::Instant now) const;
  void survived(base::Duration silence) { proved_ = std::max(proved_, silence); }
  void died(base::Duration silence, base::Instant now);

 private:
  base::Duration max_, proved_{0};
  std::optional<base::Duration> fatal_;
  base::Instant fatal_at_{};
  std::optional<base::Instant> doubted_at_;
};

struct Path {
  uint32_t id = 0;
  PathAddr addr;
  PathKind kind = PathKind::host;
  PathState state = PathState::waiting;
  base::Duration rtt{0};       // smoothed; 0: not measured
  base::Duration last_rtt{0};  // of the latest answer
  int misses = 0;
  int tries = 0;                         // CHECKs since it was last proved
  std::optional<base::Instant> due;      // the next CHECK
  bool is_keepalive = false;             // that is only for the NATs' sake
  base::Instant last_check{}, last_ack{};
  base::Instant last_used{};  // when a packet last crossed it that refreshed the NATs on it
  base::Duration silence{0};  // before the first of the CHECKs that are awaited
  struct Sent {
    uint64_t txid;
    base::Instant at;
  };
  std::deque<Sent> awaited;
  PathMtu mtu;
  bool is_usable() const { return state == PathState::valid || (state == PathState::suspect && misses < 2); }
};

class PathSet {
 public:
  explicit PathSet(base::Rng& rng) : rng_(rng) {}

  // The path of that address, made when new (a dead or waiting one of its class gives way when there are too many; null: none does).
  Path* add(const PathAddr&, PathKind);
  Path* find(const PathAddr&);
  void remove(const PathAddr&);
  void clear() { paths_.clear(); }
  void remove_if_relay(const base::IpPort& relay, uint32_t keep_channel);

  // Paths that want a CHECK now; the caller sends one for each and calls sent().
  std::vector<Path*> tick(base::Instant now);
  uint64_t sent(Path&, base::Instant now);  // the txid for the CHECK that is about to be sent
  // The path the answer proves, or null: not ours, or answered before.
  Path* on_ack(uint64_t txid, base::Instant now);
  void check_now(Path&, base::Instant now);         // unless an answer is awaited since less than 50 ms
  void check_all_proved(base::Instant now);
  void used(Path&, base::Instant when);             // by a packet of the peer's, or by data
  void end_round(base::Instant now);                // direct paths CHECKING in vain go back to WAITING; learned ones that failed are dropped

  // The best usable path, leaning to the one in use; null: none.
  const Path* choose(const std::optional<PathAddr>& active) const;
  bool is_any_answering() const;  // some path has answered its last CHECK
  std::optional<base::Instant> next_deadline() const;
  const std::list<Path>& all() const { return paths_; }
  std::list<Path>& all() { return paths_; }

 private:
  void on_due(Path&, base::Instant now);
  void on_miss(Path&, base::Instant now);
  bool make_room(bool for_relay);
  bool is_spare(const Path&) const;
  BindingLife& life_of(const Path& p) { return !p.addr.is_relay() ? direct_life_ : p.addr.is_carried() ? stream_life_ : relay_life_; }
  base::Rng& rng_;
  BindingLife direct_life_{kKeepaliveDirect}, relay_life_{kKeepaliveRelay}, stream_life_{kKeepaliveRelay};
  std::list<Path> paths_;  // pointers stay valid
  uint32_t last_id_ = 0;
};

}  // namespace tunnel
