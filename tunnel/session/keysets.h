// The at most three KeySets of a session: next (receives only, until the peer is seen to have it), current (sends), previous
// (receives only, for 30 s). Control packets (CHECK, CHECK-ACK, CONTROL) are sealed here on lane 0 and opened here against lane
// 0's replay window; DATA lanes belong to the data plane's workers, which get the same DataKeys.
// IndexPool: receive indices, random, unique on this node, not used again for 120 s.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/session/replay_window.h"
#include "tunnel/session/data_keys.h"

namespace tunnel {

inline constexpr base::Duration kPreviousKeysLife = std::chrono::seconds(30);
inline constexpr base::Duration kRekeyAfter = std::chrono::minutes(60);
inline constexpr uint64_t kRekeyPackets = uint64_t(1) << 27;  // begin to rekey; the hard limit is twice that
inline constexpr uint64_t kPacketsMax = uint64_t(1) << 28;
inline constexpr base::Duration kIndexRest = std::chrono::seconds(120);

class IndexPool {
 public:
  explicit IndexPool(base::Rng& rng) : rng_(rng) {}
  uint32_t take(base::Instant now);  // never 0
  void give_back(uint32_t index, base::Instant now);

 private:
  base::Rng& rng_;
  std::map<uint32_t, std::optional<base::Instant>> used_;  // until when it rests; nullopt: in use
};

struct RekeyLimits {
  base::Duration after = kRekeyAfter;
  uint64_t packets = kRekeyPackets;  // sealed under one KeySet
};

struct KeySet {
  DataKeysPtr keys;
  base::Instant made{};
  LaneCounter counter{kControlLane};
  ReplayWindow window;
};

class KeySets {
 public:
  explicit KeySets(RekeyLimits limits = {}) : limits_(limits) {}
  struct Opened {
    PacketHeader header;
    base::ByteVec plain;
  };

  // A finished handshake: receives at once, sends after promote(). An unconfirmed older next is given up; its index is returned.
  std::optional<uint32_t> add_next(DataKeysPtr, base::Instant now);
  // The peer has these keys (a packet under them, or its confirm). True: they are current now and were not before.
  bool promote(uint32_t local_index, base::Instant now);
  // Under the current keys, so far: what the data plane has sealed.
  bool should_rekey(base::Instant now, uint64_t data_packets_sent) const;
  // Indices whose keys are over: the caller takes them out of the data plane and gives them back.
  std::vector<uint32_t> expire(base::Instant now);
  std::vector<uint32_t> clear();
  void retire(base::Instant now);  // nothing is sealed any more; the current keys receive as long as previous ones do
  std::optional<uint32_t> drop_next();

  bool has_current() const { return current_.has_value(); }
  DataKeysPtr current() const { return current_ ? current_->keys : nullptr; }
  const ReplayWindow* control_window() const { return current_ ? &current_->window : nullptr; }

  // A sealed control packet under the current keys; empty when there are none or they are used up.
  base::ByteVec seal(PacketType, base::ByteView plain);
  // Opens and accepts each packet once. Empty: forged, repeated, too old, unknown keys, or not of the control lane.
  std::optional<Opened> open(base::ByteView packet);

 private:
  KeySet* by_index(uint32_t local_index);
  RekeyLimits limits_;
  std::optional<KeySet> next_, current_, previous_;
  base::Instant previous_until_{};
  std::vector<uint32_t> over_;  // pushed out of previous_ before its time
};

}  // namespace tunnel
