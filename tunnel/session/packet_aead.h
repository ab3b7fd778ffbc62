// PacketAead: one key of the AEAD that seals tunnel packets (RFC 5116: 12-byte nonce, 16-byte tag), on the fastest implementation
// this machine has. All of them give the same bytes. Constant after make(), so any thread may use it.
#pragma once
#include <memory>
#include <string>

#include "base/core/bytes.h"

namespace tunnel {

enum class AeadId : uint8_t { aes_128_gcm = 1, chacha20_poly1305 = 2 };
inline constexpr size_t aead_key_bytes(AeadId id) { return id == AeadId::aes_128_gcm ? 16 : 32; }
inline constexpr size_t kNonceBytes = 12;

class PacketAead {
 public:
  // key has aead_key_bytes(id); the copy kept is wiped on destruction.
  static std::unique_ptr<PacketAead> make(AeadId, base::ByteView key);
  virtual ~PacketAead() = default;

  // Seals n bytes of from into text and writes the tag behind them; header is authenticated with them. The two are the same, or do
  // not overlap.
  virtual void seal(const uint8_t nonce[kNonceBytes], base::ByteView header, const uint8_t* from, uint8_t* text, size_t n) const = 0;
  // Opens n bytes in place, whose tag stands behind them. False: forged or damaged, and the n bytes are worth nothing.
  [[nodiscard]] virtual bool open(const uint8_t nonce[kNonceBytes], base::ByteView header, uint8_t* text, size_t n) const = 0;
};

// Of this process: "ipsec-mb 1.3.0" or "boringssl".
std::string packet_aead_name(AeadId);

// What make() chooses from. Null: not for this algorithm, or this processor lacks what it needs.
std::unique_ptr<PacketAead> make_boringssl_aead(AeadId, base::ByteView key);
std::unique_ptr<PacketAead> make_ipsec_mb_aead(AeadId, base::ByteView key);  // x86-64 with AES instructions (docs/adr/0011)
std::string ipsec_mb_version();                                              // empty: not usable here

}  // namespace tunnel
