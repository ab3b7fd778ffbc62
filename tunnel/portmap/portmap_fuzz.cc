// Answers of a router, or of whoever pretends to be one: nothing in them breaks the client or makes it keep more than one mapping.
#include "base/core/assert.h"
#include "tunnel/portmap/portmap_client.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tunnel;
  const base::IpAddr router = base::IpAddr::v4(0xc0a80101), own = base::IpAddr::v4(0xc0a8010a);
  base::SeededRng rng(1);
  base::Metrics metrics;
  base::ByteVec asked;
  PortmapClient c(20006,
                  {[&](const base::IpPort& to, base::ByteView b) {
                     EM_ASSERT(to.ip == router && to.port == kPortmapPort);
                     asked.assign(b.begin(), b.end());
                   },
                   [] {}},
                  rng, metrics);
  base::Instant now{std::chrono::seconds(1)};
  c.set_way(PortmapWay{router, own}, now);
  c.tick(now);
  // The first byte: how many of the request's bytes are written into the answer, so that nonces fit.
  base::ByteVec answer(data + (size ? 1 : 0), data + size);
  if (size && (data[0] & 1) && asked.size() >= 36 && answer.size() >= 36)
    std::copy(asked.begin() + 24, asked.begin() + 36, answer.begin() + 24);
  for (int i = 0; i < 20; i++) {
    c.on_datagram({router, kPortmapPort}, answer, now);
    if (c.outside()) EM_ASSERT(c.outside()->port != 0 && !c.outside()->ip.is_any());
    now += std::chrono::milliseconds(700);
    if (now >= c.next_deadline()) c.tick(now);
    EM_ASSERT(c.next_deadline() <= now + std::chrono::hours(25));
  }
  return 0;
}
