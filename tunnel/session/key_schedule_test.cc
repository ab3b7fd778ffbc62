#include "tunnel/session/key_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tunnel {
namespace {

struct Vector {
  const char *cluster, *client, *server, *leaf_client, *leaf_server;
  uint32_t index_client, index_server, aead;
  const char *psk, *psk_id, *secret, *context, *key_c, *iv_c, *mac_c, *key_s, *iv_s, *mac_s;
};
const Vector kVectors[] = {
#include "tunnel/session/key_schedule_vectors.inc"
};

Digest digest(const char* hex) {
  Digest d{};
  auto b = base::from_hex(hex);
  std::copy_n(b->begin(), d.size(), d.begin());
  return d;
}

ScheduleInput input(const Vector& v) {
  return {v.cluster, v.client, v.server, digest(v.leaf_client), digest(v.leaf_server), v.index_client, v.index_server, AeadId(v.aead),
          *base::from_hex(v.psk_id)};
}

TEST(KeySchedule, MatchesTheIndependentScript) {
  for (const Vector& v : kVectors) {
    auto psk = *base::from_hex(v.psk);
    if (!psk.empty()) EXPECT_EQ(base::to_hex(psk_id_of(psk)), v.psk_id);
    Digest ctx = exporter_context(input(v));
    EXPECT_EQ(base::to_hex(ctx), v.context);
    auto s = derive_secrets(digest(v.secret), psk, ctx, AeadId(v.aead));
    EXPECT_EQ(base::to_hex(s.client.key), v.key_c);
    EXPECT_EQ(base::to_hex(s.client.iv), v.iv_c);
    EXPECT_EQ(base::to_hex(s.client_mac), v.mac_c);
    EXPECT_EQ(base::to_hex(s.server.key), v.key_s);
    EXPECT_EQ(base::to_hex(s.server.iv), v.iv_s);
    EXPECT_EQ(base::to_hex(s.server_mac), v.mac_s);
  }
}

TEST(KeySchedule, EveryFieldOfTheContextCounts) {
  const ScheduleInput a = input(kVectors[1]);
  std::vector<Digest> seen{exporter_context(a)};
  auto with = [&](auto change) {
    ScheduleInput b = a;
    change(b);
    seen.push_back(exporter_context(b));
  };
  with([](auto& b) { b.cluster += "x"; });
  with([](auto& b) { b.client_name += "x"; });
  with([](auto& b) { b.server_name = "edge-c"; });
  with([](auto& b) { b.client_leaf[0] ^= 1; });
  with([](auto& b) { b.server_leaf[31] ^= 1; });
  with([](auto& b) { b.client_index++; });
  with([](auto& b) { b.server_index++; });
  with([](auto& b) { b.aead = AeadId::aes_128_gcm; });
  with([](auto& b) { b.psk_id.clear(); });
  with([](auto& b) { std::swap(b.client_name, b.server_name); });
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(KeySchedule, AnotherPskGivesOtherKeys) {
  Digest secret = digest(kVectors[0].secret), ctx = digest(kVectors[0].context);
  const uint8_t psk[32] = {1};
  auto a = derive_secrets(secret, {}, ctx, AeadId::aes_128_gcm), b = derive_secrets(secret, psk, ctx, AeadId::aes_128_gcm);
  EXPECT_NE(a.client.key, b.client.key);
  EXPECT_NE(a.client_mac, b.client_mac);
  EXPECT_NE(a.client.key, a.server.key);
}

}  // namespace
}  // namespace tunnel
