// From the secret a handshake exports to the keys of one KeySet (docs/reference/tunnel-protocol.md, keys). Pure.
//
//   ctx    = SHA-256(field* ), field = length 4 | bytes, in the order of ScheduleInput
//   secret = channel exporter(kExporterLabel, ctx, 32)
//   prk    = HKDF-Extract(salt = PSK, or 32 zero bytes, secret)
//   key    = HKDF-Expand(prk, "edgemesh client key" | "edgemesh server key", key bytes of the AEAD)
//   iv     = HKDF-Expand(prk, "edgemesh client iv"  | "edgemesh server iv", 12)
//   mac    = HMAC-SHA256(HKDF-Expand(prk, "edgemesh client confirm" | "edgemesh server confirm", 32), ctx)
// Beside them, for the door (door_packet.h), never mixed with the keys above:
//   resumption secret = HKDF-Expand(HKDF-Extract(salt = PSK, or 32 zero bytes, exporter(kResumeLabel, ctx, 32)), "edgemesh resume", 32)
//   door id           = HKDF-Expand(resumption secret, "edgemesh door id", 8)
//   door key          = HKDF-Expand(resumption secret, "edgemesh client door" | "edgemesh server door", 32)
// "client" keys seal what the TLS client sends. ctx names both leaves because the TLS 1.3 exporter does not commit to the
// client's certificate. integration/vectors/key_schedule.py computes the same independently.
#pragma once
#include <array>
#include <string>

#include "base/core/bytes.h"
#include "tunnel/session/data_keys.h"

namespace tunnel {

using Digest = std::array<uint8_t, 32>;
inline constexpr const char* kExporterLabel = "EXPORTER-edgemesh-v1";
inline constexpr const char* kResumeLabel = "EXPORTER-edgemesh-resume-v1";
inline constexpr uint8_t kProtocolVersion = 1;

struct ScheduleInput {
  std::string cluster;  // the trust domain
  std::string client_name, server_name;
  Digest client_leaf{}, server_leaf{};  // SHA-256 of the certificates
  uint32_t client_index = 0, server_index = 0;
  AeadId aead = AeadId::aes_128_gcm;
  base::ByteVec psk_id;  // empty: none
};

struct SessionSecrets {  // wiped when dropped
  DirectionKeys client, server;
  Digest client_mac{}, server_mac{};
  SessionSecrets() = default;
  SessionSecrets(SessionSecrets&&) = default;
  SessionSecrets& operator=(SessionSecrets&&) = default;
  ~SessionSecrets();
};

Digest exporter_context(const ScheduleInput&);
SessionSecrets derive_secrets(const Digest& exported, base::ByteView psk, const Digest& context, AeadId);

// What two nodes still share when both have forgotten their session: it opens the door for a handshake, nothing else.
struct ResumeSecret {
  Digest bytes{};
  ResumeSecret() = default;
  explicit ResumeSecret(const Digest& b) : bytes(b) {}
  ResumeSecret(const ResumeSecret&) = default;
  ResumeSecret& operator=(const ResumeSecret&) = default;
  ~ResumeSecret() { base::secure_zero(bytes.data(), bytes.size()); }
  bool operator==(const ResumeSecret&) const = default;
};
struct DoorKeys {
  uint64_t id = 0;
  ResumeSecret client, server;  // of what the node that goes first sends, and the other
};
ResumeSecret derive_resume_secret(const Digest& exported, base::ByteView psk);
DoorKeys derive_door_keys(const ResumeSecret&);

inline constexpr size_t kPskIdBytes = 8;
base::ByteVec psk_id_of(base::ByteView psk);  // HMAC-SHA256(psk, "edgemesh psk id"), first 8 bytes: says nothing about the key
bool same_digest(const Digest&, base::ByteView);  // constant time

}  // namespace tunnel
