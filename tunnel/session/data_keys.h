// DataKeys: the AEAD state of one KeySet, immutable and shared by threads (the AEAD contexts are constant). Counters are not
// here: a lane's counter belongs to the one thread that sends on it (LaneCounter), a lane's replay window to the one thread
// that receives it (ReplayWindow).
#pragma once
#include <atomic>
#include <memory>
#include <optional>

#include "base/core/assert.h"
#include "base/core/bytes.h"
#include "tunnel/packet/packet.h"
#include "tunnel/session/packet_aead.h"

namespace tunnel {

struct DirectionKeys {
  base::ByteVec key;  // aead_key_bytes
  uint8_t iv[kNonceBytes] = {};
};

class DataKeys {
 public:
  // local_index: what the peer puts into packets for us; peer_index: what we put into packets for it. Copies and wipes nothing
  // of the caller's; own copies are wiped on destruction.
  static std::shared_ptr<const DataKeys> make(AeadId, const DirectionKeys& send, const DirectionKeys& receive, uint32_t local_index,
                                              uint32_t peer_index);
  virtual ~DataKeys() = default;

  // buf has room for kHeaderBytes, n bytes and kTagBytes. Writes header, sealed text and tag; returns the total size. The text may
  // stand in buf already, where it will be, and else does not overlap it.
  virtual size_t seal(PacketType, uint32_t flags, uint64_t counter, const uint8_t* text, uint8_t* buf, size_t n) const = 0;
  size_t seal(PacketType t, uint32_t flags, uint64_t counter, uint8_t* buf, size_t n) const {
    return seal(t, flags, counter, buf + kHeaderBytes, buf, n);
  }
  // Opens in place; the plaintext lies inside packet. Empty optional: forged, damaged or for other keys.
  virtual std::optional<base::MutByteView> open(base::MutByteView packet) const = 0;
  virtual uint32_t local_index() const = 0;
  virtual uint32_t peer_index() const = 0;
  // True the first time it is asked for this lane, ever. Whoever starts a LaneCounter for these keys claims the lane first, so
  // that no second counter can start at 1 again: a nonce is used once.
  virtual bool claim_lane(uint8_t lane) const = 0;
};
using DataKeysPtr = std::shared_ptr<const DataKeys>;

// Lane 0 belongs to the control loop, lane 1 + w to worker w of this process.
inline constexpr uint8_t kControlLane = 0;
inline uint8_t worker_lane(size_t worker) { return uint8_t(1 + worker); }

// One lane's counter under one KeySet; owned by one thread, never copied.
class LaneCounter {
 public:
  explicit LaneCounter(uint8_t lane) : lane_(lane) {}
  LaneCounter(LaneCounter&&) = default;
  LaneCounter& operator=(LaneCounter&&) = default;
  uint64_t next() {
    uint64_t s = ++sequence_;
    EM_ASSERT(s > last_ && s < uint64_t(1) << kLaneShift);
    last_ = s;
    return make_counter(lane_, s);
  }
  uint64_t sent() const { return sequence_; }

 private:
  uint8_t lane_;
  uint64_t sequence_ = 0, last_ = 0;
};

}  // namespace tunnel
