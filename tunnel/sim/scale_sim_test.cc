// What a thousand peers cost a node, and how long the first packet to one takes.
#include <gtest/gtest.h>
#include <malloc.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::IpAddr ip(uint32_t host_order) { return base::IpAddr::v4(host_order); }

#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)))
constexpr bool kCounts = false;  // a sanitizer's allocator: the peers must come up all the same
#else
constexpr bool kCounts = true;
#endif

// Both ends of each session are in this process: the hub's half is what a node takes for them. A fifth of a thousand, for the time it
// takes.
TEST(ScaleSim, AThousandPeersFitIn64MiB) {
  constexpr size_t kPeers = kCounts ? 200 : 20;
  MeshSim s(1);
  s.sources = false;
  s.add("hub", {.ip = ip(0xc6336401), .idle = 0s});
  s.start("hub");
  std::vector<PeerHint> hints;
  for (uint32_t i = 0; i < kPeers; i++) {
    std::string name = "n" + std::to_string(i);
    s.add(name, {.ip = ip(0xc6120000 + i), .overlay = ip(0x64500000 + i), .idle = 0s});
    s.start(name);
    hints.push_back({name, {ip(0x64500000 + i)}, {}, {}, false});
  }
  s.run_for(2s);
  size_t before = ::mallinfo2().uordblks;
  s.mesh("hub").set_peers(hints);
  for (const auto& h : hints) {
    s.mesh("hub").connect(h.name);
    s.run_for(10ms);
  }
  s.run_for(5s);
  size_t up = 0;
  for (const PeerView& v : s.mesh("hub").peers()) up += v.state == "up";
  EXPECT_EQ(up, kPeers);
  size_t each = (::mallinfo2().uordblks - before) / 2 / kPeers;
  RecordProperty("bytes_per_peer", int(each));
  if (kCounts) EXPECT_LE(1000 * each, size_t(64) << 20) << each;
}

// One way 20 ms by signalling and by the relay, so 40 ms there and back. Of a and b, b goes first.
TEST(ScaleSim, TheFirstPacketOverARelay) {
  for (const char* from : {"a", "b"}) {
    MeshSim s(2);
    s.add("a", {.ip = ip(0xc6336401), .direct = false});
    s.add("b", {.ip = ip(0xc6336402), .direct = false});
    s.start("a");
    s.start("b");
    s.run_for(3s);
    const char* to = *from == 'a' ? "b" : "a";
    base::Instant began = s.loop.now();
    s.mesh(from).connect(to);
    uint64_t before = s.delivered;
    while (s.delivered == before && s.loop.now() - began < 5s) {
      if (s.delivered == before) s.send(from, to);
      s.run_for(1ms);
    }
    double trips = std::chrono::duration<double>(s.loop.now() - began).count() / 0.040;
    RecordProperty(from, std::to_string(trips));
    EXPECT_LE(trips, 3.6) << from;
  }
}

}  // namespace
}  // namespace tunnel
