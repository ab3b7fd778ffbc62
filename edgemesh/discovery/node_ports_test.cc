#include "edgemesh/discovery/node_ports.h"

#include <gtest/gtest.h>

#include "base/sim/sim_loop.h"

namespace edgemesh {
namespace {

using base::Code;
using namespace std::chrono_literals;
using Answer = std::function<void(base::Result<tunnel::ExportGrant>)>;

struct World {
  base::SimLoop loop;
  std::vector<std::pair<std::string, tunnel::ExportRequest>> asked, released;
  std::vector<Answer> answers;
  std::unique_ptr<NodePorts> ports = std::make_unique<NodePorts>(
      NodePorts::Hooks{[this](const std::string& peer, tunnel::ExportRequest r, Answer a) {
                         asked.push_back({peer, r});
                         answers.push_back(std::move(a));
                       },
                       [this](const std::string& peer, const tunnel::ExportRequest& r) { released.push_back({peer, r}); }},
      loop);
  std::vector<NodePorts::Open> open;
  std::vector<base::Error> errors;
  void want(const std::string& node, uint16_t port) {
    ports->open(node, port, [this](base::Result<NodePorts::Open> r) { r ? open.push_back(*r) : errors.push_back(r.error()); });
  }
  void grant(size_t i) { std::exchange(answers[i], nullptr)(tunnel::ExportGrant{*base::IpPort::parse("100.64.0.2:20022")}); }
};

TEST(NodePorts, APortIsAskedForOfItsNodeAndKeptWhileSomebodyUsesIt) {
  World w;
  w.want("b", 22);
  w.want("b", 22);
  ASSERT_EQ(w.asked.size(), 2u);
  EXPECT_EQ(w.asked[0].first, "b");
  EXPECT_EQ(w.asked[0].second.service, kNodePortService);
  EXPECT_EQ(w.asked[0].second.endpoint.port, 22);
  w.grant(0);
  w.grant(1);
  ASSERT_EQ(w.open.size(), 2u);
  EXPECT_EQ(w.open[0].at.str(), "100.64.0.2:20022");
  w.open.pop_back();
  w.loop.run_for(1h);
  EXPECT_TRUE(w.released.empty()) << "one connection still uses it";
  w.open.clear();
  w.loop.run_for(20s);
  EXPECT_TRUE(w.released.empty()) << "the next login may come soon";
  w.loop.run_for(20s);
  ASSERT_EQ(w.released.size(), 1u);
  EXPECT_EQ(w.released[0], w.asked[0]);
  EXPECT_EQ(w.ports->size(), 0u);
}

TEST(NodePorts, ANewUserWithinTheLingerKeepsIt) {
  World w;
  w.want("b", 22);
  w.grant(0);
  w.open.clear();
  w.loop.run_for(20s);
  w.want("b", 22);
  w.grant(1);
  w.loop.run_for(1h);
  EXPECT_TRUE(w.released.empty());
}

TEST(NodePorts, ARefusalIsPassedOnAndNothingIsKept) {
  World w;
  w.want("b", 80);
  std::exchange(w.answers[0], nullptr)(base::fail(Code::denied, "closed"));
  ASSERT_EQ(w.errors.size(), 1u);
  EXPECT_EQ(w.errors[0].code, Code::denied);
  EXPECT_EQ(w.ports->size(), 0u);
}

TEST(NodePorts, WhatOutlivesItDoesNoHarm) {
  World w;
  w.want("b", 22);
  w.want("c", 22);
  w.grant(0);
  w.ports.reset();
  w.open.clear();
  w.grant(1);
  EXPECT_TRUE(w.released.empty());
}

}  // namespace
}  // namespace edgemesh
