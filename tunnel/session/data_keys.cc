#include "tunnel/session/data_keys.h"

#include <openssl/aead.h>

namespace tunnel {
namespace {

const EVP_AEAD* algorithm(AeadId id) { return id == AeadId::aes_128_gcm ? EVP_aead_aes_128_gcm() : EVP_aead_chacha20_poly1305(); }

// One direction: context and IV, wiped when dropped.
class Direction {
 public:
  Direction(AeadId id, const DirectionKeys& k) {
    EM_ASSERT(k.key.size() == aead_key_bytes(id));
    EM_ASSERT(EVP_AEAD_CTX_init(&ctx_, algorithm(id), k.key.data(), k.key.size(), kTagBytes, nullptr));
    memcpy(iv_, k.iv, sizeof iv_);
  }
  ~Direction() {
    EVP_AEAD_CTX_cleanup(&ctx_);
    base::secure_zero(&ctx_, sizeof ctx_);
    base::secure_zero(iv_, sizeof iv_);
  }
  Direction(const Direction&) = delete;

  bool seal(uint8_t* packet, size_t n) const {
    uint8_t nonce[12];
    make_nonce(packet, nonce);
    uint8_t* text = packet + kHeaderBytes;
    size_t tag = 0;
    return EVP_AEAD_CTX_seal_scatter(&ctx_, text, text + n, &tag, kTagBytes, nonce, sizeof nonce, text, n, nullptr, 0, packet,
                                     kHeaderBytes);
  }
  bool open(base::MutByteView packet) const {
    uint8_t nonce[12];
    make_nonce(packet.data(), nonce);
    uint8_t* text = packet.data() + kHeaderBytes;
    size_t n = packet.size() - kOverheadBytes;
    return EVP_AEAD_CTX_open_gather(&ctx_, text, nonce, sizeof nonce, text, n, text + n, kTagBytes, packet.data(), kHeaderBytes);
  }

 private:
  void make_nonce(const uint8_t* packet, uint8_t nonce[12]) const {  // the counter stands in the header at 8
    memcpy(nonce, iv_, 12);
    for (int i = 0; i < 8; ++i) nonce[4 + i] ^= packet[8 + i];
  }
  EVP_AEAD_CTX ctx_;
  uint8_t iv_[12];
};

class DataKeysImpl final : public DataKeys {
 public:
  DataKeysImpl(AeadId id, const DirectionKeys& send, const DirectionKeys& receive, uint32_t local, uint32_t peer)
      : send_(id, send), receive_(id, receive), local_index_(local), peer_index_(peer) {}

  size_t seal(PacketType type, uint32_t flags, uint64_t counter, uint8_t* buf, size_t n) const override {
    write_header(buf, {type, flags, peer_index_, counter});
    EM_ASSERT(send_.seal(buf, n));
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

std::shared_ptr<const DataKeys> DataKeys::make(AeadId id, const DirectionKeys& send, const DirectionKeys& receive,
                                               uint32_t local_index, uint32_t peer_index) {
  return std::make_shared<DataKeysImpl>(id, send, receive, local_index, peer_index);
}

}  // namespace tunnel
