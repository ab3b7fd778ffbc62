// Two nodes that only meet over a relay: the first second of a session, and of a restarted node.
#include <gtest/gtest.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

void two_relayed_sites(MeshSim& s) {
  for (int i : {1, 2}) {
    base::NatSpec box{.public_ip = base::IpAddr::v4(0xC6336400 + uint32_t(i)), .keep_port = true};
    s.add(i == 1 ? "a" : "b", {.nat = box, .ip = base::IpAddr::v4(0xC0A80100 + uint32_t(10 * i)), .direct = false});
  }
  s.start("a");
  s.start("b");
}

// Whenever it is asked for: before there is a session, in one that has no path yet, afterwards.
TEST(MeshStart, AnExportAskedForAtAnyMomentOfTheStartIsGrantedSoon) {
  for (int ms = 0; ms <= 1000; ms += 20) {
    MeshSim s(42);
    two_relayed_sites(s);
    s.mesh("b").connect("a");
    s.run_for(std::chrono::milliseconds(ms));
    std::optional<base::Result<ExportGrant>> answer;
    s.mesh("a").request_export("b", {"shop/web", base::Proto::tcp, *base::IpPort::parse("172.17.0.9:8080")}, [&](auto x) { answer = x; });
    s.run_for(2s);
    EXPECT_TRUE(answer && *answer) << ms << " ms after the start";
  }
}

// b was killed and has no use for a; a would go on with the old session, over a relay, until it finds out by silence.
TEST(MeshStart, ARestartedNodeCallsThoseItHadSessionsWith) {
  for (uint64_t seed = 43; seed < 48; seed++) {
    MeshSim s(seed);
    two_relayed_sites(s);
    s.mesh("a").connect("b");
    s.run_for(5s);
    auto is_up = [&] { return s.mesh("b").peers().size() == 1 && s.mesh("b").peers()[0].state == "up"; };
    ASSERT_TRUE(is_up());
    s.kill("b");
    s.run_for(100ms);
    s.start("b");
    EXPECT_FALSE(is_up());
    s.run_for(900ms);
    EXPECT_TRUE(is_up()) << seed;
  }
}

}  // namespace
}  // namespace tunnel
