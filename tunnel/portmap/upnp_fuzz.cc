// Anything as an answer to a search, a description or a SOAP call: what is taken from it stays at the router and within its bounds.
// The first byte says which.
#include <algorithm>

#include "base/core/assert.h"
#include "tunnel/portmap/upnp_client.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tunnel;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const base::IpAddr router = base::IpAddr::v4(0xc0a80101), own = base::IpAddr::v4(0xc0a8010a);
  auto stays = [&](const UpnpPlace& p) {
    EM_ASSERT(p.server.ip == router && p.server.port != 0 && p.path.starts_with('/') && p.path.size() <= 1024);
    EM_ASSERT(std::none_of(p.path.begin(), p.path.end(), [](char c) { return uint8_t(c) <= ' ' || uint8_t(c) >= 0x7f; }));
  };
  base::SeededRng rng(1);
  base::Metrics metrics;
  std::optional<UpnpAsk> asked;
  UpnpClient c(20006, {[](const base::IpPort&, const std::string&) {}, [&](UpnpAsk a) { asked = std::move(a); }, [] {}}, rng, metrics);
  base::Instant now{std::chrono::seconds(1)};
  c.set_way(PortmapWay{router, own}, now);
  now += std::chrono::seconds(3);
  c.tick(now);
  const std::string good = "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/d.xml\r\n\r\n";
  c.on_search_answer({router, kSsdpPort}, data[0] % 3 == 0 ? text : std::string_view(good), now);
  const std::string described =
      "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/c</controlURL></service>";
  for (int i = 0; i < 12 && asked; i++) {
    stays(std::exchange(asked, std::nullopt)->at);
    c.on_answer(data[0] & 0x80 ? 500 : 200, data[0] % 3 == 2 && i == 0 ? std::string_view(described) : text, now);
    if (c.outside()) EM_ASSERT(c.outside()->port != 0 && !c.outside()->ip.is_any());
  }
  EM_ASSERT(!asked);
  return 0;
}
