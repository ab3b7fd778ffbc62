// Multicast DNS from anybody on the link: services that parse and are written again say the same; what was heard never makes the
// state machine keep more than its bounds.
#include "base/core/assert.h"
#include "base/core/metrics.h"
#include "tunnel/lan/lan_discovery.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tunnel;
  auto m = read_lan({data, size});
  if (m) {
    for (const LanService& s : m->services) {
      auto again = read_lan(make_lan_response({s}));
      EM_ASSERT(again && again->services.size() == 1 && again->services[0] == s);
    }
    EM_ASSERT(read_lan(make_lan_query(m->known)));
  }
  base::SeededRng rng(1);
  base::Metrics metrics;
  LanDiscovery d({{1}, 20006, 20006},
                 {[](int, base::ByteView b) { EM_ASSERT(b.size() <= kLanMessageBytesMax); }, [](LanTag) { return false; }, [](LanTag) {}},
                 rng, metrics);
  base::Instant now{};
  const base::IpAddr own = *base::IpAddr::parse("192.168.1.1");
  d.set_links({{1, "eth0", {own}, {own}, {*base::Cidr::parse("192.168.1.0/24")}}}, now);
  for (int i = 0; i < 8; i++) {
    d.on_datagram(1, {*base::IpAddr::parse("192.168.1.2"), 5353}, {data, size}, now);
    now += std::chrono::milliseconds(300);
    d.tick(now);
  }
  EM_ASSERT(d.found().size() <= kLanFoundMax);
  return 0;
}
