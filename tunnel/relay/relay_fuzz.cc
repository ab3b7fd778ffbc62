// The relay among strangers: each input is a list of datagrams (length 1, source 1, bytes) to a server with two bound ends.
// Bytes out never exceed bytes in, and nobody but the two ends gets a forwarded frame. The client reads the same bytes.
#include "base/core/assert.h"
#include "tunnel/packet/packet.h"
#include "tunnel/relay/relay_client.h"
#include "tunnel/relay/relay_server.h"

using namespace tunnel;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::SeededRng rng(1);
  base::Metrics metrics;
  base::Instant now{std::chrono::seconds(100)};
  size_t in = 0, out = 0;
  bool in_frame = false;
  base::IpPort ends[2] = {*base::IpPort::parse("192.0.2.1:1"), *base::IpPort::parse("[2001:db8::1]:2")};
  std::vector<base::ByteVec> answers;
  auto server = RelayServer::make({"r", *base::IpPort::parse("198.51.100.1:1")}, rng, metrics, [&](const base::IpPort& to, base::ByteView b, size_t) {
    out += b.size();
    EM_ASSERT(!in_frame || to == ends[0] || to == ends[1]);
    answers.emplace_back(b.begin(), b.end());
  });
  auto [ga, gb] = server->grant("a", "b", now);
  std::vector<base::ByteVec> sent;
  auto keep = [&](const base::IpPort&, base::ByteView b) { sent.emplace_back(b.begin(), b.end()); };
  RelayClient clients[2] = {{rng, keep}, {rng, keep}};
  for (int i = 0; i < 2; ++i) {
    clients[i].on_grant(i ? gb : ga, now);
    for (int step = 0; step < 2; ++step) {
      for (auto& b : std::exchange(sent, {})) server->on_datagram(ends[i], b, now);
      for (auto& b : std::exchange(answers, {})) clients[i].on_datagram(ga.relay_address, b, now);
    }
    EM_ASSERT(clients[i].is_bound());
  }
  base::Reader r({data, size});
  while (r.left() >= 2) {
    size_t n = r.u8();
    uint8_t who = r.u8();
    auto view = r.take(std::min(n, r.left()));
    base::ByteVec b(view.begin(), view.end());
    if (b.size() > 4 && b[0] == 0x88 && b[1] == 0) write_relay_header(b.data(), ga.channel);
    in = b.size(), out = 0;
    size_t segment = who >= 64 ? who - 63u : b.size();  // as the kernel joined them
    in_frame = !b.empty() && b[0] == 0x88 && segment >= b.size();
    clients[who & 1].on_datagram(ga.relay_address, b, now);
    server->on_datagrams(who < 2 || who >= 128 ? ends[who & 1] : base::IpPort{ends[0].ip, who}, b, segment, now);
    EM_ASSERT(out <= in);
    answers.clear();
    now += std::chrono::milliseconds(who);
  }
  return 0;
}
