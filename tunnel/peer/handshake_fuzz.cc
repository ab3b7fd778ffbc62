// A handshake among strangers. Each input is a list of steps (what 1, length 2, bytes): frames or calls for the driver of either
// role, or time that passes; frames that the two drivers exchange themselves are delivered in between when asked. Some frames
// are rewritten to belong to the attempt that runs. Half-open attempts stay bounded and are all given back.
#include "base/core/assert.h"
#include "tunnel/peer/handshake_driver.h"
#include "tunnel/session/sim_channel.h"

using namespace tunnel;
using namespace std::chrono_literals;

namespace {

NodeContext::Config config(const std::string& name) {
  NodeContext::Config c;
  c.identity.name = name;
  c.identity.trust_domain = "mesh.fuzz";
  c.leaf = sim_leaf(c.identity);
  return c;
}

struct Side {
  Side(std::string name, std::string peer, base::Rng& r)
      : context(config(name), r, metrics),
        driver(name, peer, context,
               {[this](SignalKind k, base::ByteView b) { if (out.size() < 64) out.push_back({k, {b.begin(), b.end()}}); },
                [this, name, peer, &r](bool client) {
                  Handshake::Config h{client, "mesh.fuzz", name, peer, context.config.leaf, {}, {}, {}};
                  h.hello.index = 7;
                  return std::make_unique<Handshake>(std::move(h), make_sim_channel(client, context.config.identity, r));
                },
                [](const Handshake::Outcome& o) { EM_ASSERT(o.keys); }, [](const base::Error& e) { EM_ASSERT(!e.what.empty()); }}) {}
  base::Metrics metrics;
  NodeContext context;
  std::vector<std::pair<SignalKind, base::ByteVec>> out;
  HandshakeDriver driver;
};

void deliver(Side& from, Side& to, base::Instant now) {
  for (auto& [kind, b] : std::exchange(from.out, {})) {
    if (kind == SignalKind::call) to.driver.on_call(b, now);
    else to.driver.on_frame(b, now);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::SeededRng rng(1);
  std::string names[2] = {"a", "b"};
  if (!goes_first("a", "b")) std::swap(names[0], names[1]);
  Side client(names[0], names[1], rng), server(names[1], names[0], rng);
  base::Instant now{100s};
  client.driver.want(now);
  client.driver.tick(now);
  base::ByteVec id;  // of the running attempt
  if (!client.out.empty() && client.out[0].second.size() >= 10) id.assign(client.out[0].second.begin() + 2, client.out[0].second.begin() + 10);
  base::Reader r({data, size});
  for (int steps = 0; r.left() >= 3 && steps < 64; steps++) {
    uint8_t what = r.u8();
    auto view = r.take(std::min<size_t>(r.u16(), r.left()));
    base::ByteVec b(view.begin(), view.end());
    if ((what & 0x80) && b.size() >= 10 && id.size() == 8) std::copy(id.begin(), id.end(), b.begin() + 2);
    switch (what & 7) {
      case 0: client.driver.on_frame(b, now); break;
      case 1: server.driver.on_frame(b, now); break;
      case 2: client.driver.on_call(b, now); break;
      case 3: server.driver.on_call(b, now); break;
      case 4: deliver(client, server, now); break;
      case 5: deliver(server, client, now); break;
      case 6: now += 100ms * what; break;
      default: client.driver.tick(now), server.driver.tick(now);
    }
    EM_ASSERT(server.context.half_open <= 1 && client.context.half_open <= 1);
  }
  now += 6s;
  client.driver.give_up();
  server.driver.give_up();
  client.driver.tick(now);
  server.driver.tick(now);
  EM_ASSERT(server.context.half_open + client.context.half_open == 0);
  return 0;
}
