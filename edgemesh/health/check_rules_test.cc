#include "edgemesh/health/check_rules.h"

#include <gtest/gtest.h>

namespace edgemesh {
namespace {

using base::kube::Service;
using base::kube::ServicePort;

struct Rules : ::testing::Test {
  Service web{.id = {"shop", "web"}, .labels = {{"app", "web"}, {"tier", "front"}}};
  ServicePort http{.name = "http", .port = 80}, admin{.name = "admin", .port = 9000};

  static CheckRule rule(std::string ns, std::string name, std::string path = "/") {
    CheckRule r;
    r.services = {{std::move(ns), std::move(name)}};
    r.spec.path = std::move(path);
    return r;
  }
  static std::string path(const std::shared_ptr<const ProbeSpec>& s) { return s ? s->path : "none"; }
  std::string found(CheckRule r) { return path(CheckRules({std::move(r)}).spec_for(web, http)); }
};

TEST_F(Rules, AreByNameNamespaceOrEverything) {
  EXPECT_EQ(found(rule("shop", "web", "/a")), "/a");
  EXPECT_EQ(found(rule("shop", "*", "/a")), "/a");
  EXPECT_EQ(found(rule("*", "*", "/a")), "/a");
  EXPECT_EQ(found(rule("*", "web", "/a")), "/a");
  EXPECT_EQ(found(rule("shop", "we")), "none");
  EXPECT_EQ(found(rule("sho", "*")), "none");
}

TEST_F(Rules, AskForAllTheLabels) {
  CheckRule r = rule("*", "*", "/a");
  r.labels = {{"app", "web"}, {"tier", "front"}};
  EXPECT_EQ(found(r), "/a");
  r.labels.push_back({"zone", ""});
  EXPECT_EQ(found(r), "none");
}

TEST_F(Rules, AreForPortsByNameOrNumber) {
  for (auto* port : {"http", "80"}) {
    CheckRule r = rule("*", "*", "/a");
    r.ports = {port};
    EXPECT_EQ(path(CheckRules({r}).spec_for(web, http)), "/a") << port;
    EXPECT_EQ(path(CheckRules({r}).spec_for(web, admin)), "none") << port;
  }
}

TEST_F(Rules, TheFirstThatFitsCounts) {
  CheckRules rules({rule("other", "*", "/a"), rule("shop", "*", "/b"), rule("shop", "web", "/c")});
  EXPECT_EQ(path(rules.spec_for(web, http)), "/b");
}

TEST_F(Rules, OnlyPortsOfTcpAndServicesWithAnAddressAreChecked) {
  CheckRules all({rule("*", "*")});
  ServicePort dns{.name = "dns", .proto = base::Proto::udp, .port = 53};
  EXPECT_FALSE(all.spec_for(web, dns));
  web.kind = Service::Kind::headless;
  EXPECT_FALSE(all.spec_for(web, http));
}

TEST_F(Rules, TheHostIsTheServicesNameUnlessOneIsGiven) {
  CheckRule r = rule("*", "*");
  EXPECT_EQ(CheckRules({r}).spec_for(web, http)->host, "web.shop");
  r.spec.host = "example.org";
  EXPECT_EQ(CheckRules({r}).spec_for(web, http)->host, "example.org");
}

}  // namespace
}  // namespace edgemesh
