#include "tunnel/session/key_schedule.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

namespace tunnel {
namespace {

void field(base::ByteVec& out, base::ByteView b) {
  base::Writer w(out);
  w.u32(uint32_t(b.size()));
  w.put(b);
}

void field_u32(base::ByteVec& out, uint32_t v) {
  uint8_t b[4];
  base::store_be32(b, v);
  field(out, b);
}

Digest extract(base::ByteView secret, base::ByteView psk) {
  static constexpr uint8_t kZeros[32] = {};
  base::ByteView salt = psk.empty() ? base::ByteView(kZeros) : psk;
  Digest prk;
  size_t n = 0;
  EM_ASSERT(HKDF_extract(prk.data(), &n, EVP_sha256(), secret.data(), secret.size(), salt.data(), salt.size()) == 1 && n == prk.size());
  return prk;
}

void expand(const Digest& prk, std::string_view info, base::MutByteView out) {
  auto i = base::as_bytes(info);
  EM_ASSERT(HKDF_expand(out.data(), out.size(), EVP_sha256(), prk.data(), prk.size(), i.data(), i.size()) == 1);
}

Digest hmac(base::ByteView key, base::ByteView data) {
  Digest out;
  unsigned n = 0;
  EM_ASSERT(HMAC(EVP_sha256(), key.data(), key.size(), data.data(), data.size(), out.data(), &n) && n == out.size());
  return out;
}

DirectionKeys direction(const Digest& prk, const std::string& role, AeadId aead) {
  DirectionKeys k;
  k.key.resize(aead_key_bytes(aead));
  expand(prk, "edgemesh " + role + " key", k.key);
  expand(prk, "edgemesh " + role + " iv", k.iv);
  return k;
}

Digest mac(const Digest& prk, const std::string& role, const Digest& context) {
  Digest key;
  expand(prk, "edgemesh " + role + " confirm", key);
  Digest out = hmac(key, context);
  base::secure_zero(key.data(), key.size());
  return out;
}

void wipe(DirectionKeys& k) {
  base::secure_zero(k.key.data(), k.key.size());
  base::secure_zero(k.iv, sizeof k.iv);
}

}  // namespace

SessionSecrets::~SessionSecrets() {
  wipe(client);
  wipe(server);
}

Digest exporter_context(const ScheduleInput& in) {
  base::ByteVec text;
  const uint8_t version[] = {kProtocolVersion}, aead[] = {uint8_t(in.aead)};
  field(text, version);
  field(text, base::as_bytes(in.cluster));
  field(text, base::as_bytes(in.client_name));
  field(text, base::as_bytes(in.server_name));
  field(text, in.client_leaf);
  field(text, in.server_leaf);
  field_u32(text, in.client_index);
  field_u32(text, in.server_index);
  field(text, aead);
  field(text, in.psk_id);
  Digest out;
  SHA256(text.data(), text.size(), out.data());
  return out;
}

SessionSecrets derive_secrets(const Digest& exported, base::ByteView psk, const Digest& context, AeadId aead) {
  Digest prk = extract(exported, psk);
  SessionSecrets s;
  s.client = direction(prk, "client", aead);
  s.server = direction(prk, "server", aead);
  s.client_mac = mac(prk, "client", context);
  s.server_mac = mac(prk, "server", context);
  base::secure_zero(prk.data(), prk.size());
  return s;
}

ResumeSecret derive_resume_secret(const Digest& exported, base::ByteView psk) {
  Digest prk = extract(exported, psk);
  ResumeSecret s;
  expand(prk, "edgemesh resume", s.bytes);
  base::secure_zero(prk.data(), prk.size());
  return s;
}

DoorKeys derive_door_keys(const ResumeSecret& secret) {
  DoorKeys k;
  uint8_t id[8];
  expand(secret.bytes, "edgemesh door id", id);
  k.id = base::load_be64(id);
  expand(secret.bytes, "edgemesh client door", k.client.bytes);
  expand(secret.bytes, "edgemesh server door", k.server.bytes);
  return k;
}

base::ByteVec psk_id_of(base::ByteView psk) {
  Digest d = hmac(psk, base::as_bytes("edgemesh psk id"));
  return {d.begin(), d.begin() + kPskIdBytes};
}

bool same_digest(const Digest& a, base::ByteView b) { return b.size() == a.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

}  // namespace tunnel
