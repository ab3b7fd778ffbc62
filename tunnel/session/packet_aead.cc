#include "tunnel/session/packet_aead.h"

#include <openssl/aead.h>

#include "base/core/assert.h"
#include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

const EVP_AEAD* algorithm(AeadId id) { return id == AeadId::aes_128_gcm ? EVP_aead_aes_128_gcm() : EVP_aead_chacha20_poly1305(); }

class BoringSslAead final : public PacketAead {
 public:
  BoringSslAead(AeadId id, base::ByteView key) {
    EM_ASSERT(EVP_AEAD_CTX_init(&ctx_, algorithm(id), key.data(), key.size(), kTagBytes, nullptr));
  }
  ~BoringSslAead() override {
    EVP_AEAD_CTX_cleanup(&ctx_);
    base::secure_zero(&ctx_, sizeof ctx_);
  }
  void seal(const uint8_t nonce[kNonceBytes], base::ByteView header, const uint8_t* from, uint8_t* text, size_t n) const override {
    size_t tag = 0;
    EM_ASSERT(EVP_AEAD_CTX_seal_scatter(&ctx_, text, text + n, &tag, kTagBytes, nonce, kNonceBytes, from, n, nullptr, 0, header.data(),
                                        header.size()));
  }
  bool open(const uint8_t nonce[kNonceBytes], base::ByteView header, uint8_t* text, size_t n) const override {
    return EVP_AEAD_CTX_open_gather(&ctx_, text, nonce, kNonceBytes, text, n, text + n, kTagBytes, header.data(), header.size());
  }

 private:
  EVP_AEAD_CTX ctx_;
};

}  // namespace

std::unique_ptr<PacketAead> make_boringssl_aead(AeadId id, base::ByteView key) { return std::make_unique<BoringSslAead>(id, key); }

std::unique_ptr<PacketAead> PacketAead::make(AeadId id, base::ByteView key) {
  EM_ASSERT(key.size() == aead_key_bytes(id));
  auto fast = make_ipsec_mb_aead(id, key);
  return fast ? std::move(fast) : make_boringssl_aead(id, key);
}

std::string packet_aead_name(AeadId id) {
  std::string fast = id == AeadId::aes_128_gcm ? ipsec_mb_version() : "";
  return fast.empty() ? "boringssl" : "ipsec-mb " + fast;
}

}  // namespace tunnel
