#include "tunnel/session/data_keys.h"

namespace tunnel {
namespace {

// One direction: key and IV, wiped when dropped.
class Direction {
 public:
  Direction(AeadId id, const DirectionKeys& k) : aead_(PacketAead::make(id, k.key)) { memcpy(iv_, k.iv, sizeof iv_); }
  ~Direction() { base::secure_zero(iv_, sizeof iv_); }
  Direction(const Direction&) = delete;

  void seal(const uint8_t* text, uint8_t* packet, size_t n) const {
    uint8_t nonce[16];  // the first kNonceBytes count
    make_nonce(packet, nonce);
    aead_->seal(nonce, {packet, kHeaderBytes}, text, packet + kHeaderBytes, n);
  }
  bool open(base::MutByteView packet) const {
    uint8_t nonce[16];  // the first kNonceBytes count
    make_nonce(packet.data(), nonce);
    return aead_->open(nonce, packet.first(kHeaderBytes), packet.data() + kHeaderBytes, packet.size() - kOverheadBytes);
  }

 private:
  // IV xor (4 zero bytes . counter), the counter as it stands in the header at 8.
  void make_nonce(const uint8_t* packet, uint8_t nonce[16]) const {
    uint64_t iv[2] = {}, counter[2] = {};
    memcpy(iv, iv_, kNonceBytes);
    memcpy(reinterpret_cast<uint8_t*>(counter) + 4, packet + 8, 8);
    store_pair(nonce, iv[0] ^ counter[0], iv[1] ^ counter[1]);
  }
  std::unique_ptr<PacketAead> aead_;
  uint8_t iv_[kNonceBytes];
};

class DataKeysImpl final : public DataKeys {
 public:
  DataKeysImpl(AeadId id, const DirectionKeys& send, const DirectionKeys& receive, uint32_t local, uint32_t peer)
      : send_(id, send), receive_(id, receive), local_index_(local), peer_index_(peer) {}

  size_t seal(PacketType type, uint32_t flags, uint64_t counter, const uint8_t* text, uint8_t* buf, size_t n) const override {
    write_header(buf, {type, flags, peer_index_, counter});
    send_.seal(text, buf, n);
    return n + kOverheadBytes;
  }
  std::optional<base::MutByteView> open(base::MutByteView packet) const override {
    auto h = read_header(packet);
    if (!h || h->index != local_index_ || !receive_.open(packet)) return std::nullopt;
    return packet.subspan(kHeaderBytes, packet.size() - kOverheadBytes);
  }
  uint32_t local_index() const override { return local_index_; }
  uint32_t peer_index() const override { return peer_index_; }
  bool claim_lane(uint8_t lane) const override {
    uint64_t bit = uint64_t(1) << (lane % 64);
    return !(claimed_[lane / 64].fetch_or(bit, std::memory_order_relaxed) & bit);
  }

 private:
  Direction send_, receive_;
  uint32_t local_index_, peer_index_;
  mutable std::atomic<uint64_t> claimed_[4] = {};
};

}  // namespace

std::shared_ptr<const DataKeys> DataKeys::make(AeadId id, const DirectionKeys& send, const DirectionKeys& receive, uint32_t local_index,
                                               uint32_t peer_index) {
  return std::make_shared<DataKeysImpl>(id, send, receive, local_index, peer_index);
}

}  // namespace tunnel
