#include "edgemesh/discovery/discovery.h"

#include <gtest/gtest.h>

#include "base/kube/memory_table_testing.h"

namespace edgemesh {
namespace {

using base::IpAddr;
using base::IpPort;
using base::Proto;
using namespace base::kube;
using base::kube::testing::MemoryTable;
using namespace std::chrono_literals;

IpAddr ip(const char* s) { return *IpAddr::parse(s); }

// A loop whose turns are taken by hand.
class ManualLoop final : public base::Loop {
 public:
  struct T final : base::Timer {
    ManualLoop& l;
    std::function<void()> f;
    std::optional<base::Instant> at;
    T(ManualLoop& loop, std::function<void()> fn) : l(loop), f(std::move(fn)) { l.timers.push_back(this); }
    ~T() override { std::erase(l.timers, this); }
    void arm(base::Duration d) override { at = l.t + d; }
    void cancel() override { at.reset(); }
    bool armed() const override { return at.has_value(); }
  };
  base::Instant t{1h};
  std::vector<T*> timers;
  base::Instant now() const override { return t; }
  std::unique_ptr<base::Timer> timer(std::function<void()> f) override { return std::make_unique<T>(*this, std::move(f)); }
  std::unique_ptr<base::FdWatch> watch(int, base::FdEvents, std::function<void(base::FdEvents)>) override { return nullptr; }
  void post(std::function<void()> f) override { f(); }
  void run() override {}
  void stop() override {}
  void pass(base::Duration d) {
    t += d;
    for (T* x : std::vector<T*>(timers))
      if (x->at && *x->at <= t) {
        x->at.reset();
        x->f();
      }
  }
};

struct World {
  ManualLoop loop;
  base::Metrics metrics;
  std::shared_ptr<MemoryTable> table = std::make_shared<MemoryTable>();
  std::map<FrontendKey, Frontend> kernel;
  std::set<GrantedExport> granted;
  std::vector<std::pair<std::string, tunnel::ExportRequest>> asked, released;
  std::vector<std::function<void(base::Result<tunnel::ExportGrant>)>> answers;
  std::vector<FrontendKey> ready;
  bool kernel_refuses = false;
  lb::OutlierDetector health{{}};
  int batches = 0, first_pieces = 0;
  Discovery discovery;

  static TierInput tiers() { return {"a", "", false, true, [](const IpAddr&) { return true; }, [](const std::string&) { return std::vector<base::Cidr>{}; }}; }
  World()
      : discovery({tiers(), false, [](const Service& s) { return s.labels.count("skip") == 0; }, {ip("169.254.96.16")}, 15001, 3600s, &health},
                  {[this](const std::vector<FrontendChange>& c) { return apply(c); },
                   [this](auto& add, auto& remove) -> base::Result<void> {
                     for (auto& g : add) granted.insert(g);
                     for (auto& g : remove) granted.erase(g);
                     return {};
                   },
                   [this](const std::string& p, tunnel::ExportRequest r, auto done) {
                     asked.push_back({p, r});
                     answers.push_back(std::move(done));
                   },
                   [this](const std::string& p, const tunnel::ExportRequest& r) { released.push_back({p, r}); },
                   [this](const FrontendKey& k) { ready.push_back(k); }, nullptr,
                   [this](const std::function<std::vector<FrontendChange>()>& next) -> base::Result<void> {
                     std::vector<FrontendChange> all;
                     for (auto piece = next(); !piece.empty(); piece = next(), ++first_pieces) std::ranges::move(piece, std::back_inserter(all));
                     return apply(all);
                   }},
                  loop, metrics) {}

  base::Result<void> apply(const std::vector<FrontendChange>& c) {
    batches++;
    if (kernel_refuses) return base::fail(base::Code::io, "refused");
    for (auto& x : c)
      if (x.frontend) kernel[x.key] = *x.frontend;
      else kernel.erase(x.key);
    return {};
  }

  static Endpoint at(const char* address, const char* node) {
    Endpoint e;
    e.ip = ip(address);
    e.port = 8080;
    e.node = node;
    return e;
  }
  void put(const char* name, std::vector<Endpoint> endpoints, Proto proto = Proto::tcp, const char* vip = "10.96.0.7") {
    auto s = std::make_shared<Service>();
    s->id = {"shop", name};
    s->cluster_ips = {ip(vip)};
    ServicePort p;
    p.proto = proto;
    p.port = 80;
    p.endpoints = std::move(endpoints);
    s->ports = {p};
    table->services[s->id] = s;
    discovery.set_table(table, {{s->id}, {}, false, false});
    loop.pass(0s);
  }
  void drop(const char* name) {
    table->services.erase({"shop", name});
    discovery.set_table(table, {{}, {{"shop", name}}, false, false});
    loop.pass(0s);
  }
};
const FrontendKey kWeb{ip("10.96.0.7"), Proto::tcp, 80};
const IpPort kProxy{ip("169.254.96.16"), 15001};

TEST(Discovery, AHalfListedTableProgramsNothingUntilItIsCompleteOrLate) {
  World w;
  w.table->is_synced = false;
  w.put("web", {});
  EXPECT_EQ(w.batches, 0) << "its endpoints are still to come: it must not be refused in the meantime";
  w.table->is_synced = true;
  w.put("web", {World::at("172.17.0.2", "a")});
  EXPECT_EQ(w.kernel.at(kWeb).backends.size(), 1u);

  World never;
  never.table->is_synced = false;
  never.put("web", {World::at("172.17.0.2", "a")});
  never.loop.pass(9s);
  EXPECT_EQ(never.batches, 0);
  never.loop.pass(1s);
  EXPECT_EQ(never.kernel.at(kWeb).backends.size(), 1u) << "a list that never comes must not stop the others";
}

TEST(Discovery, TheFirstTableReachesTheKernelAlsoWhenItIsEmpty) {
  World w;
  w.discovery.set_table(w.table, {{}, {}, true, false});
  w.loop.pass(0s);
  EXPECT_EQ(w.batches, 1);
  w.discovery.set_table(w.table, {{}, {}, true, false});
  w.loop.pass(0s);
  EXPECT_EQ(w.batches, 1) << "and no other one after it";
}

TEST(Discovery, ARefusedBatchIsTakenBackAsAWholeAndTriedAgain) {
  World w;
  w.put("web", {World::at("172.17.0.2", "a")});
  w.kernel_refuses = true;
  w.drop("web");
  w.put("other", {World::at("172.17.0.3", "a")});
  EXPECT_EQ(w.discovery.owner(kWeb), (ObjectName{"shop", "web"})) << "the kernel still sends its connections here";
  w.kernel_refuses = false;
  w.loop.pass(1s);
  EXPECT_EQ(w.discovery.owner(kWeb), (ObjectName{"shop", "other"}));
  EXPECT_EQ(w.kernel.at(kWeb).backends[0].ip, ip("172.17.0.3"));
}

TEST(Discovery, LocalEndpointsGoStraightToTheKernelAndNobodyIsAsked) {
  World w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "")});
  ASSERT_EQ(w.kernel.at(kWeb).backends.size(), 2u);
  EXPECT_TRUE(w.asked.empty());
  w.put("web", {});
  EXPECT_TRUE(w.kernel.at(kWeb).backends.empty()) << "no endpoints: the frontend stays, to refuse at once";
  w.drop("web");
  EXPECT_TRUE(w.kernel.empty());
}

TEST(Discovery, OnAClosedHostEveryShareIsTheDaemonsUntilItIsOpenAgain) {
  World w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.2", "b")});
  w.put("names", {World::at("172.17.0.4", "b")}, Proto::udp, "10.96.0.8");
  w.put("none", {}, Proto::tcp, "10.96.0.9");
  const FrontendKey names{ip("10.96.0.8"), Proto::udp, 80}, none{ip("10.96.0.9"), Proto::tcp, 80};
  auto before = w.kernel;
  w.discovery.set_through_daemon(true);
  w.loop.pass(0s);
  const std::vector<Backend> daemon{{kProxy.ip, kProxy.port, 1}};
  EXPECT_EQ(w.kernel.at(kWeb).backends, daemon);
  EXPECT_EQ(w.kernel.at(names).backends, daemon);
  EXPECT_EQ(w.kernel.at(names).mode, Frontend::Mode::balance) << "nothing can be held where nothing is forwarded";
  EXPECT_EQ(w.ready, std::vector<FrontendKey>{names}) << "what is held already goes on";
  EXPECT_TRUE(w.kernel.at(none).backends.empty()) << "still refused at once";
  EXPECT_EQ(w.discovery.candidates({names.ip, 80}, Proto::udp, ip("172.17.0.9")).size(), 1u);
  w.discovery.set_through_daemon(false);
  w.loop.pass(0s);
  EXPECT_EQ(w.kernel, before);
}

TEST(Discovery, RemoteEndpointsKeepTheirShareThroughTheProxyUntilTheExportIsKnown) {
  World w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.2", "b"), World::at("172.17.0.3", "b")});
  auto& before = w.kernel.at(kWeb).backends;
  ASSERT_EQ(before.size(), 2u);
  EXPECT_EQ(before[1], (Backend{kProxy.ip, kProxy.port, 2, false}));
  EXPECT_TRUE(w.asked.empty()) << "not used yet: nothing is asked for";

  w.discovery.interest({"shop", "web"});
  ASSERT_EQ(w.asked.size(), 2u);
  w.answers[0](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30001}});
  w.loop.pass(0s);
  EXPECT_EQ(w.kernel.at(kWeb).backends, (std::vector<Backend>{{ip("172.17.0.2"), 8080, 1}, {ip("100.64.1.2"), 30001, 1, false}, {kProxy.ip, kProxy.port, 1, false}}));
  EXPECT_TRUE(w.granted.count({ip("100.64.1.2"), Proto::tcp, 30001}));

  w.drop("web");
  EXPECT_TRUE(w.granted.empty());
  ASSERT_EQ(w.released.size(), 1u) << "what was granted is given back";
  w.answers[1](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30002}});
  EXPECT_EQ(w.released.size(), 2u) << "an answer that comes too late is given back too";
}

TEST(Discovery, AnUnreachablePeerLosesItsShareWhileOthersAnswerAndIsAskedAgain) {
  World w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.2", "b")});
  w.discovery.interest({"shop", "web"});
  w.answers[0](base::fail(base::Code::timeout, "no answer"));
  w.loop.pass(0s);
  EXPECT_EQ(w.kernel.at(kWeb).backends, (std::vector<Backend>{{ip("172.17.0.2"), 8080, 1}}));
  w.loop.pass(1s);
  EXPECT_EQ(w.asked.size(), 2u);
}

TEST(Discovery, UdpWithOnlyRemoteEndpointsIsHeldAndThenReady) {
  World w;
  FrontendKey key{ip("10.96.0.7"), Proto::udp, 80};
  w.put("q", {World::at("172.17.0.2", "b")}, Proto::udp);
  EXPECT_EQ(w.kernel.at(key).mode, Frontend::Mode::hold);
  w.discovery.interest({"shop", "q"});
  w.answers[0](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30001}});
  w.loop.pass(0s);
  EXPECT_EQ(w.kernel.at(key).mode, Frontend::Mode::balance);
  EXPECT_EQ(w.ready, std::vector<FrontendKey>{key});
}

TEST(Discovery, AWithdrawnGrantClosesTheWayAndIsAskedForAgain) {
  World w;
  w.put("web", {World::at("172.17.0.2", "b")});
  w.discovery.interest({"shop", "web"});
  w.answers[0](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30001}});
  w.loop.pass(0s);
  w.discovery.on_grant_withdrawn("b", w.asked[0].second);
  w.loop.pass(0s);
  EXPECT_TRUE(w.granted.empty());
  EXPECT_EQ(w.kernel.at(kWeb).backends[0].ip, kProxy.ip);
  EXPECT_EQ(w.asked.size(), 2u);
}

TEST(Discovery, AFirstTableOfManyServicesGoesToTheKernelInPieces) {
  World w;
  base::kube::ServiceDiff diff;
  for (int i = 0; i < 1200; ++i) {
    auto s = std::make_shared<Service>();
    s->id = {"shop", "s" + std::to_string(i)};
    s->cluster_ips = {ip(fmt::format("10.97.{}.{}", i / 200, i % 200 + 1).c_str())};
    ServicePort p;
    p.port = 80;
    p.endpoints = {World::at("172.17.0.2", "a")};
    s->ports = {p};
    w.table->services[s->id] = s;
    diff.changed.push_back(s->id);
  }
  w.kernel_refuses = true;
  w.discovery.set_table(w.table, diff);
  w.loop.pass(0s);
  EXPECT_EQ(w.first_pieces, 3);
  EXPECT_FALSE(w.discovery.owner({ip("10.97.0.1"), Proto::tcp, 80, false}));
  w.kernel_refuses = false;
  w.loop.pass(1s);
  EXPECT_EQ(w.kernel.size(), 1200u) << "all of it is given again";
  w.put("web", {World::at("172.17.0.2", "a")});
  EXPECT_EQ(w.first_pieces, 6) << "only the first table of all";
}

TEST(Discovery, ARefusedBatchIsTriedAgainWhole) {
  World w;
  w.kernel_refuses = true;
  w.put("web", {World::at("172.17.0.2", "a")});
  EXPECT_TRUE(w.kernel.empty());
  w.kernel_refuses = false;
  w.loop.pass(1s);
  EXPECT_EQ(w.kernel.size(), 1u);
  w.kernel_refuses = true;
  w.drop("web");
  w.kernel_refuses = false;
  w.loop.pass(1s);
  EXPECT_TRUE(w.kernel.empty()) << "a removal that was refused must not be forgotten";
}

TEST(Discovery, ARemoteEndpointOfAHeadlessServiceGetsAnAddressOfThisNodesThatLeadsThere) {
  World w;
  auto s = std::make_shared<Service>();
  s->id = {"shop", "db"};
  s->kind = Service::Kind::headless;
  ServicePort p;
  p.port = 5432;
  p.endpoints = {World::at("172.17.0.2", "a"), World::at("172.17.0.2", "b")};
  s->ports = {p};
  w.table->services[s->id] = s;
  w.discovery.set_table(w.table, {{s->id}, {}, false, false});
  w.loop.pass(0s);
  EXPECT_EQ(w.discovery.addresses_for(*s, p.endpoints[0])[0], ip("172.17.0.2"));
  IpAddr far = w.discovery.addresses_for(*s, p.endpoints[1])[0];
  EXPECT_TRUE(base::Cidr::parse("240.96.0.0/16")->contains(far)) << far.str();
  EXPECT_EQ(w.kernel.at({far, Proto::tcp, 8080}).backends[0].ip, kProxy.ip);
  auto c = w.discovery.candidates({far, 8080}, Proto::tcp, ip("172.17.0.2"));
  ASSERT_EQ(c.size(), 1u) << "a synthetic address stands for one endpoint";
  EXPECT_EQ(c[0].endpoint.node, "b");
  ASSERT_EQ(w.asked.size(), 1u);
  w.answers[0](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30001}});
  w.loop.pass(0s);
  EXPECT_EQ(w.kernel.at({far, Proto::tcp, 8080}).backends[0].port, 30001);
}

TEST(Discovery, TwoServicesWithOneAddressTheFirstKeepsIt) {
  World w;
  w.put("a", {World::at("172.17.0.2", "a")});
  w.put("b", {World::at("172.17.0.9", "a")});
  EXPECT_EQ(w.kernel.at(kWeb).backends[0].ip, ip("172.17.0.2"));
  EXPECT_EQ(w.discovery.owner(kWeb)->name, "a");
}

// ---- health

struct Healthy : World {
  void die(const char* at) {
    IpPort a = *IpPort::parse(at);
    health.failed(a, lb::Sign::refused, loop.now());
    health.take_checks(loop.now(), 10);
    EXPECT_TRUE(health.checked(a, lb::Sign::refused, loop.now()));
    discovery.health_changed(a);
    loop.pass(0s);
  }
  void live(const char* at) {
    IpPort a = *IpPort::parse(at);
    loop.pass(1s);
    health.take_checks(loop.now(), 10);
    EXPECT_TRUE(health.checked(a, std::nullopt, loop.now()));
    discovery.health_changed(a);
    loop.pass(0s);
  }
  std::map<std::string, uint32_t> backends() {
    std::map<std::string, uint32_t> out;
    for (auto& b : kernel.at(kWeb).backends) out[IpPort{b.ip, b.port}.str()] = b.weight;
    return out;
  }
};
using Backends = std::map<std::string, uint32_t>;

TEST(DiscoveryHealth, AnEjectedEndpointLeavesTheKernelAndComesBackSlowly) {
  Healthy w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "a"), World::at("172.17.0.4", "a")});
  w.die("172.17.0.3:8080");
  EXPECT_EQ(w.backends(), (Backends{{"172.17.0.2:8080", 1}, {"172.17.0.4:8080", 1}}));
  auto x = w.discovery.explain({"shop", "web"});
  EXPECT_EQ(x.rows[1].health, "ejected 0 s ago: refused, confirmed by a check");
  EXPECT_EQ(x.rows[0].health, "healthy");
  w.live("172.17.0.3:8080");
  EXPECT_EQ(w.backends(), (Backends{{"172.17.0.2:8080", 4}, {"172.17.0.3:8080", 1}, {"172.17.0.4:8080", 4}}));
}

TEST(DiscoveryHealth, WhenAllAreDeadAllStay) {
  Healthy w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "a")});
  w.die("172.17.0.2:8080"), w.die("172.17.0.3:8080");
  EXPECT_EQ(w.backends(), (Backends{{"172.17.0.2:8080", 1}, {"172.17.0.3:8080", 1}}));
  EXPECT_NE(w.discovery.explain({"shop", "web"}).rows[0].health.find("keeps its share"), std::string::npos);
}

TEST(DiscoveryHealth, ARemoteEndpointIsKnownByItsExport) {
  Healthy w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.2", "b")});
  w.discovery.interest({"shop", "web"});
  ASSERT_EQ(w.answers.size(), 1u);
  w.answers[0](tunnel::ExportGrant{IpPort{ip("100.64.1.2"), 30001}});
  w.loop.pass(0s);
  EXPECT_TRUE(w.discovery.serves(*IpPort::parse("10.96.0.7:80"), *IpPort::parse("100.64.1.2:30001")));
  EXPECT_TRUE(w.discovery.serves(*IpPort::parse("10.96.0.7:80"), *IpPort::parse("172.17.0.2:8080")));
  EXPECT_FALSE(w.discovery.serves(*IpPort::parse("10.96.0.7:80"), *IpPort::parse("172.17.0.9:8080")));
  EXPECT_FALSE(w.discovery.serves(*IpPort::parse("10.96.0.8:80"), *IpPort::parse("172.17.0.2:8080"))) << "not our frontend";
  w.die("100.64.1.2:30001");
  EXPECT_EQ(w.backends(), (Backends{{"172.17.0.2:8080", 1}})) << "the double on this node stays";
  std::set<lb::Dialled> both{*IpPort::parse("100.64.1.2:30001"), *IpPort::parse("10.9.9.9:1")};
  EXPECT_EQ(w.discovery.still_dialled(both), (std::set<lb::Dialled>{*IpPort::parse("100.64.1.2:30001")}));
}

TEST(DiscoveryHealth, TheProxyTriesTheDeadLast) {
  Healthy w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "a")});
  w.die("172.17.0.2:8080");
  for (int i = 0; i < 4; i++) EXPECT_EQ(w.discovery.candidates({ip("10.96.0.7"), 80}, Proto::tcp, ip("172.17.0.9"))[0].endpoint.ip, ip("172.17.0.3"));
}

TEST(DiscoveryHealth, OneEndpointDoesNotMakeEveryServiceLookedAt) {
  Healthy w;
  for (int i = 0; i < 250; ++i) w.put(("s" + std::to_string(i)).c_str(), {World::at("172.17.9.9", "a")}, Proto::tcp, ("10.97.0." + std::to_string(i)).c_str());
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "a")});
  w.table->shown = 0;
  w.die("172.17.0.2:8080"), w.live("172.17.0.2:8080");
  EXPECT_EQ(w.backends().size(), 2u);
  EXPECT_EQ(w.discovery.still_dialled({lb::Dialled{*IpPort::parse("172.17.0.2:8080")}, lb::Dialled{*IpPort::parse("172.17.0.5:8080")}}).size(), 1u);
  EXPECT_LT(w.table->shown, 12u);
  std::set<lb::Dialled> many;
  for (uint16_t i = 0; i < 100; ++i) many.insert({{ip("172.17.0.3"), uint16_t(8000 + i)}});
  EXPECT_EQ(w.discovery.still_dialled(many).size(), 1u);
}

// The kernel masquerades what is led back to its sender; an address of another node never is.
TEST(Discovery, EndpointsOfOtherNodesAreNotTakenForOurs) {
  World w;
  auto here = [&](const char* name, const char* node) {
    w.put(name, {World::at("172.17.0.2", node)});
    const bool out = w.kernel.at(kWeb).backends.at(0).here;
    w.drop(name);
    return out;
  };
  EXPECT_TRUE(here("web", "a"));
  w.table->nodes_["a"], w.table->nodes_["b"].internal_ips = {ip("172.17.0.2")};
  w.table->mesh_nodes_["b"].network = "lan";
  EXPECT_TRUE(here("web", "a"));
  EXPECT_TRUE(here("web", ""));
  EXPECT_FALSE(here("web", "b"));
}

TEST(DiscoveryHealth, TcpAndUdpOfOneAddressAreTwoEndpoints) {
  Healthy w;
  w.put("web", {World::at("172.17.0.2", "a"), World::at("172.17.0.3", "a")}, Proto::udp);
  auto backends = [&] { return w.kernel.at({ip("10.96.0.7"), Proto::udp, 80}).backends; };
  w.die("172.17.0.2:8080");
  EXPECT_EQ(backends().size(), 2u) << "that was TCP";
  lb::Dialled udp{*IpPort::parse("172.17.0.3:8080"), Proto::udp};
  EXPECT_TRUE(w.discovery.serves(*IpPort::parse("10.96.0.7:80"), udp));
  EXPECT_FALSE(w.discovery.serves(*IpPort::parse("10.96.0.7:80"), udp.at)) << "no TCP port of the service";
  EXPECT_EQ(w.discovery.still_dialled({udp, {udp.at}}), (std::set<lb::Dialled>{udp}));
  w.health.failed(udp, lb::Sign::refused, w.loop.now());
  EXPECT_EQ(w.discovery.health_changed(udp).size(), 1u);
  w.loop.pass(0s);
  ASSERT_EQ(backends().size(), 1u);
  EXPECT_EQ(backends()[0].ip, ip("172.17.0.2"));
  EXPECT_EQ(w.discovery.explain({"shop", "web"}).rows[1].health, "ejected 0 s ago: refused, as clients saw it");
}

TEST(Tiers, AnAddressSharedByTwoNodesIsNeverTakenForRouted) {
  MemoryTable t;
  t.mesh_nodes_["b"].network = "lan";
  t.nodes_["b"].pod_cidrs = {*base::Cidr::parse("172.17.0.0/16")};
  TierInput in = World::tiers();
  in.own_network = "lan";
  EXPECT_EQ(choose_tier(World::at("172.17.0.9", "b"), t, in).tier, Tier::kernel);
  t.nodes_["c"].pod_cidrs = {*base::Cidr::parse("172.17.0.0/16")};
  EXPECT_EQ(choose_tier(World::at("172.17.0.9", "b"), t, in).tier, Tier::proxy);
  t.nodes_.erase("c");
  in.routed_off_host = [](const IpAddr&) { return false; };
  EXPECT_EQ(choose_tier(World::at("172.17.0.9", "b"), t, in).tier, Tier::proxy) << "our own docker bridge has that address too";
  in.own_network = "";
  EXPECT_EQ(choose_tier(World::at("172.17.0.9", "b"), t, in).tier, Tier::proxy);
}

}  // namespace
}  // namespace edgemesh
