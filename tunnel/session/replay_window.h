// ReplayWindow: which sequences of one lane were seen. 16,384 bits, so that a burst reordered by several paths still fits.
// Check before opening, commit after the packet was authenticated: a forged packet never moves the window.
// ReplayWindows: the lanes of one KeySet, each allocated when its first packet was authenticated. One thread owns them.
#pragma once
#include <array>
#include <cstdint>
#include <memory>

#include "tunnel/packet/packet.h"

namespace tunnel {

class ReplayWindow {
 public:
  static constexpr uint64_t kBits = 16384;
  static constexpr uint64_t kReach = kBits - 64;  // the word being filled is cleared whole, so up to 63 more are forgotten

  // False: seen, too old, or 0 (senders start at 1).
  bool is_fresh(uint64_t sequence) const {
    if (sequence > highest_) return true;
    if (sequence == 0 || highest_ - sequence >= kReach) return false;
    return !(word(sequence) & bit(sequence));
  }
  void commit(uint64_t sequence) {
    if (sequence > highest_) advance(sequence);
    words_[(sequence / 64) % kWords] |= bit(sequence);
    ++count_;
  }
  uint64_t highest() const { return highest_; }
  uint64_t count() const { return count_; }  // packets taken, for feedback

 private:
  static constexpr size_t kWords = kBits / 64;
  static uint64_t bit(uint64_t s) { return uint64_t(1) << (s % 64); }
  uint64_t word(uint64_t s) const { return words_[(s / 64) % kWords]; }
  void advance(uint64_t to) {
    uint64_t from_word = highest_ / 64, steps = to / 64 - from_word;
    if (steps > kWords) steps = kWords;
    for (uint64_t i = 1; i <= steps; ++i) words_[(from_word + i) % kWords] = 0;
    if (steps == kWords) words_.fill(0);
    highest_ = to;
  }
  std::array<uint64_t, kWords> words_{};
  uint64_t highest_ = 0, count_ = 0;
};

class ReplayWindows {
 public:
  bool is_fresh(uint64_t counter) const {
    PacketHeader h{.counter = counter};
    const auto& lane = lanes_[h.lane()];
    return lane ? lane->is_fresh(h.sequence()) : h.sequence() != 0;
  }
  void commit(uint64_t counter) {
    PacketHeader h{.counter = counter};
    auto& lane = lanes_[h.lane()];
    if (!lane) lane = std::make_unique<ReplayWindow>();
    lane->commit(h.sequence());
  }
  const ReplayWindow* lane(uint8_t n) const { return lanes_[n].get(); }

 private:
  std::array<std::unique_ptr<ReplayWindow>, 256> lanes_;
};

}  // namespace tunnel
