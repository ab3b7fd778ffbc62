#include "tunnel/relay/relay_token.h"

#include <openssl/aead.h>
#include <openssl/sha.h>

#include "base/core/assert.h"

namespace tunnel {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kNonceBytes = 12, kTextBytes = 50, kSealTagBytes = 16;
static_assert(kNonceBytes + kTextBytes + kSealTagBytes == kRelayTokenBytes);

class Sealer final : public RelaySealer {
 public:
  explicit Sealer(base::Rng& rng) : rng_(rng) {
    uint8_t key[16];
    rng.fill(key);
    rng.fill(secret_);
    EM_ASSERT(EVP_AEAD_CTX_init(&ctx_, EVP_aead_aes_128_gcm(), key, sizeof key, kSealTagBytes, nullptr));
    base::secure_zero(key, sizeof key);
  }
  ~Sealer() override {
    EVP_AEAD_CTX_cleanup(&ctx_);
    base::secure_zero(&ctx_, sizeof ctx_);
    base::secure_zero(secret_, sizeof secret_);
  }

  std::array<uint8_t, kRelayTokenBytes> seal(const RelayToken& t) override {
    std::array<uint8_t, kRelayTokenBytes> out;
    rng_.fill(base::MutByteView(out).first(kNonceBytes));
    base::ByteVec text = write(t);
    size_t n = 0;
    EM_ASSERT(EVP_AEAD_CTX_seal(&ctx_, out.data() + kNonceBytes, &n, out.size() - kNonceBytes, out.data(), kNonceBytes, text.data(),
                                text.size(), nullptr, 0) && n == kTextBytes + kSealTagBytes);
    return out;
  }

  std::optional<RelayToken> open(const std::array<uint8_t, kRelayTokenBytes>& token) const override {
    uint8_t text[kTextBytes + kSealTagBytes];
    size_t n = 0;
    if (!EVP_AEAD_CTX_open(&ctx_, text, &n, sizeof text, token.data(), kNonceBytes, token.data() + kNonceBytes, token.size() - kNonceBytes,
                           nullptr, 0))
      return std::nullopt;
    base::Reader r({text, n});
    if (r.u8() != kVersion) return std::nullopt;
    RelayToken t;
    t.channel = r.u32();
    t.generation = r.u32();
    t.side = r.u8();
    t.expiry = base::Instant(base::Duration(int64_t(r.u64())));
    auto pair = r.take(t.pair.size());
    if (!r.at_end() || t.side > 1) return std::nullopt;
    std::copy(pair.begin(), pair.end(), t.pair.begin());
    return t;
  }

  RelayMac bind_key(const RelayToken& t) const override {
    base::ByteVec text(base::as_bytes("bind key").begin(), base::as_bytes("bind key").end());
    auto body = write(t);
    text.insert(text.end(), body.begin(), body.end());
    return hmac_sha256(secret_, text);
  }

  std::array<uint8_t, 16> challenge(const base::IpPort& source, uint64_t nonce, const std::array<uint8_t, kRelayTokenBytes>& token, uint64_t window) const override {
    base::ByteVec text;
    base::Writer w(text);
    w.put(base::as_bytes("challenge"));
    write_source(w, source);
    w.u64(nonce);
    w.u64(window);
    w.put(token);
    RelayMac mac = hmac_sha256(secret_, text);
    std::array<uint8_t, 16> out;
    std::copy_n(mac.begin(), out.size(), out.begin());
    return out;
  }

 private:
  static base::ByteVec write(const RelayToken& t) {
    base::ByteVec out;
    base::Writer w(out);
    w.u8(kVersion);
    w.u32(t.channel);
    w.u32(t.generation);
    w.u8(t.side);
    w.u64(uint64_t(t.expiry.time_since_epoch().count()));
    w.put(t.pair);
    return out;
  }
  base::Rng& rng_;
  EVP_AEAD_CTX ctx_;
  uint8_t secret_[32];
};

}  // namespace

std::unique_ptr<RelaySealer> RelaySealer::make(base::Rng& rng) { return std::make_unique<Sealer>(rng); }

std::array<uint8_t, 32> relay_pair_id(const std::string& a, const std::string& b) {
  base::ByteVec text;
  base::Writer w(text);
  for (const auto* s : {&a, &b}) {
    w.u32(uint32_t(s->size()));
    w.put(base::as_bytes(*s));
  }
  std::array<uint8_t, 32> out;
  SHA256(text.data(), text.size(), out.data());
  return out;
}

}  // namespace tunnel
