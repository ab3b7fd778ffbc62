#include <gtest/gtest.h>

#include "tunnel/sim/mesh_sim.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

// a and b talk; a thief has b's key, and signalling leads to him whoever asks for b.
class RivalSim : public testing::TestWithParam<uint64_t> {
 protected:
  RivalSim() : s_(GetParam()) {
    s_.add("a", {.nat = base::NatSpec{.public_ip = ip("198.51.100.1"), .keep_port = true}, .ip = ip("192.168.1.10")});
    s_.add("b", {.nat = base::NatSpec{.public_ip = ip("198.51.100.2"), .keep_port = true}, .ip = ip("192.168.1.20")});
    s_.start("a");
    s_.start("b");
    s_.talk("a", "b");
    s_.run_for(10s);
    s_.add("thief", {.ip = ip("198.51.100.66"), .certificate = "b"});
  }
  void let_in() {
    s_.signalled_at["b"] = "thief";
    s_.start("thief");
    s_.mesh("thief").connect("a");
  }
  bool meets(base::Duration within) {
    base::Instant since = s_.loop.now();
    return s_.loop.run_until([&] { return s_.met("a", "b", since); }, within);
  }
  bool is_told() { return s_.view("a", "b").last_error.find("two live processes hold the key of b") != std::string::npos; }
  MeshSim s_;
};

TEST_P(RivalSim, TheOlderKeepsItsSessionWhileItAnswers) {
  ASSERT_TRUE(s_.is_direct("a", "b"));
  let_in();
  EXPECT_TRUE(s_.loop.run_until([&] { return is_told(); }, 5s));
  for (int i = 0; i < 20; i++) {
    EXPECT_TRUE(meets(1s)) << i;
    s_.run_for(1s);
  }
  EXPECT_TRUE(s_.is_direct("a", "b"));
  for (const auto& p : s_.problems) ADD_FAILURE() << p;
  EXPECT_EQ(s_.doubled + s_.misattributed, 0u);
}

TEST_P(RivalSim, WhenTheOlderIsGoneTheNewOneIsTaken) {
  s_.kill("b");
  let_in();
  EXPECT_TRUE(s_.loop.run_until([&] { return s_.view("thief", "a").state == "up"; }, 15s));
  EXPECT_FALSE(is_told());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RivalSim, testing::Range<uint64_t>(700, 710));

}  // namespace
}  // namespace tunnel
