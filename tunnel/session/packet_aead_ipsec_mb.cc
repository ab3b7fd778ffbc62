// AES-128-GCM by Intel's ipsec-mb, which has code for each generation of x86 processors (AES-NI, AVX2, VAES with AVX-512).
// Only its direct functions are used: no job queues, nothing shared between threads but the table of functions.
#include "tunnel/session/packet_aead.h"

#ifdef EDGEMESH_IPSEC_MB
  #include <intel-ipsec-mb.h>
  #include <openssl/mem.h>

  #include "tunnel/packet/packet.h"

namespace tunnel {
namespace {

struct Functions {
  aes_gcm_pre_t expand = nullptr;
  aes_gcm_enc_dec_t seal = nullptr, open = nullptr;
  bool usable() const { return seal; }
};

// Chosen once, by what the processor has; the manager, 200 KB of state for jobs we never submit, is given back.
const Functions& functions() {
  static const Functions chosen = [] {
    Functions f;
    IMB_MGR* m = alloc_mb_mgr(0);
    if (!m) return f;
    init_mb_mgr_auto(m, nullptr);
    constexpr uint64_t kNeeded = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ | IMB_FEATURE_SELF_TEST_PASS;
    if ((m->features & kNeeded) == kNeeded && imb_get_errno(m) == 0) f = {m->gcm128_pre, m->gcm128_enc, m->gcm128_dec};
    free_mb_mgr(m);
    return f;
  }();
  return chosen;
}

class IpsecMbAead final : public PacketAead {
 public:
  explicit IpsecMbAead(base::ByteView key) { functions().expand(key.data(), &key_); }
  ~IpsecMbAead() override { base::secure_zero(&key_, sizeof key_); }

  void seal(const uint8_t nonce[kNonceBytes], base::ByteView header, const uint8_t* from, uint8_t* text, size_t n) const override {
    alignas(64) gcm_context_data state;
    seal_(&key_, &state, text, from, n, nonce, header.data(), header.size(), text + n, kTagBytes);
  }
  bool open(const uint8_t nonce[kNonceBytes], base::ByteView header, uint8_t* text, size_t n) const override {
    alignas(64) gcm_context_data state;
    uint8_t tag[kTagBytes];
    open_(&key_, &state, text, text, n, nonce, header.data(), header.size(), tag, kTagBytes);
    return CRYPTO_memcmp(tag, text + n, kTagBytes) == 0;
  }

 private:
  alignas(64) gcm_key_data key_;  // the header says so only where LINUX is defined
  const aes_gcm_enc_dec_t seal_ = functions().seal, open_ = functions().open;
};

}  // namespace

std::unique_ptr<PacketAead> make_ipsec_mb_aead(AeadId id, base::ByteView key) {
  if (id != AeadId::aes_128_gcm || !functions().usable()) return nullptr;
  return std::make_unique<IpsecMbAead>(key);
}

std::string ipsec_mb_version() { return functions().usable() ? imb_get_version_str() : ""; }

}  // namespace tunnel

#else
namespace tunnel {
std::unique_ptr<PacketAead> make_ipsec_mb_aead(AeadId, base::ByteView) { return nullptr; }
std::string ipsec_mb_version() { return {}; }
}  // namespace tunnel
#endif
