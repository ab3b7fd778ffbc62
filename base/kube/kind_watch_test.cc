#include "base/kube/kind_watch.h"

#include <gtest/gtest.h>

#include "base/core/limits.h"
#include "base/kube/api_testing.h"
#include "base/sim/sim_loop.h"

namespace base::kube {
namespace {

const std::string kList = "/api/v1/services?limit=500", kWatch = "/api/v1/services?watch=true";

struct KindWatchTest : testing::Test {
  SimLoop loop;
  SeededRng rng{7};
  FakeApi api;
  KeptObjects kept;
  Counter lists, events, failures, bad, bytes;
  Gauge watching;
  int absent = 0;
  std::unique_ptr<KindWatch> w;

  void follow(KindWatch::Config c = {.kind = Kind::service, .paths = {"/api/v1/services"}}) {
    const Kind k = c.kind;
    KindWatch::Hooks h{.on_list = [this, k](std::vector<PackedObject> all) { kept.replace(k, std::move(all)); },
                       .on_upsert = [this](PackedObject o) { kept.upsert(std::move(o)); },
                       .on_remove = [this, k](const ObjectName& id) { kept.remove(k, id); },
                       .on_absent = [this] { ++absent; },
                       .on_error = [this](const std::string& line) { kept.error(line); },
                       .on_answer = [] {}};
    w = std::make_unique<KindWatch>(loop, rng, api, std::move(c), std::move(h), KindWatch::Counters{lists, events, failures, bad, bytes, watching});
    loop.run_for(1ms);
  }
  FakeApi::AskedPtr must(const std::string& prefix, Duration within = 1ms) {
    loop.run_until([&] { for (auto& a : api.asked) if (a->live && a->target.starts_with(prefix)) return true; return false; }, within);
    auto a = api.take(prefix);
    if (!a) ADD_FAILURE() << "nobody asked for " << prefix;
    return a ? a : std::make_shared<FakeApi::Asked>(FakeApi::Asked{"", {}, false});
  }
  // Up to a running watch from version 10 over services a and b.
  FakeApi::AskedPtr watched() {
    follow();
    must(kList)->answer(200, list_json("Service", "10", {service_json("b", "9"), service_json("a", "8")}));
    auto watch = must(kWatch);
    watch->head(200);
    return watch;
  }
};

TEST_F(KindWatchTest, ListsInPagesAndThenWatchesFromThere) {
  follow();
  must(kList)->answer(200, list_json("Service", "10", {service_json("b", "9")}, "p/2="));
  EXPECT_TRUE(kept.all.empty()) << "half a list was told";
  must("/api/v1/services?limit=500&continue=p%2F2%3D")->answer(200, list_json("Service", "10", {service_json("a", "8")}));
  EXPECT_EQ(kept.log, std::vector<std::string>{"Service*2"});
  auto watch = must(kWatch);
  EXPECT_NE(watch->target.find("&allowWatchBookmarks=true&timeoutSeconds="), std::string::npos);
  EXPECT_TRUE(watch->target.ends_with("&resourceVersion=10"));
  EXPECT_EQ(watching.value(), 1);
  EXPECT_EQ(lists.value(), 1u);
}

TEST_F(KindWatchTest, EventsArriveInAnyPortions) {
  auto watch = watched();
  const std::string text = event_json("ADDED", service_json("c", "11")) + "\n" + event_json("MODIFIED", service_json("a", "12", "10.96.0.9")) +
                           event_json("DELETED", service_json("b", "13"));
  for (char c : text) watch->body(std::string_view(&c, 1));
  EXPECT_EQ(kept.log, (std::vector<std::string>{"Service*2", "+Service n/c", "+Service n/a", "-Service n/b"}));
  EXPECT_EQ(std::get<ServiceObject>(kept.all["Service n/a"].unpack().body).cluster_ips[0].str(), "10.96.0.9");
  EXPECT_EQ(events.value(), 3u);
}

TEST_F(KindWatchTest, GoesOnWhereItEndedAlsoAfterHalfALine) {
  auto watch = watched();
  watch->body(event_json("ADDED", service_json("c", "11")) + R"({"type":"DELETED","obj)");
  watch->drop();
  EXPECT_EQ(watching.value(), 0);
  EXPECT_EQ(kept.all.size(), 3u);
  EXPECT_TRUE(kept.said("closed"));
  watch = must(kWatch, 1s);
  EXPECT_TRUE(watch->target.ends_with("&resourceVersion=11")) << watch->target;
  watch->head(200);
  EXPECT_TRUE(w->problems().empty());
  watch->body(R"({"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"90"}}})" "\n");
  watch->end();
  EXPECT_TRUE(must(kWatch, 1s)->target.ends_with("&resourceVersion=90"));
  EXPECT_EQ(lists.value(), 1u);
}

TEST_F(KindWatchTest, TooOldAVersionListsAnew) {
  auto watch = watched();
  loop.run_for(10s);
  watch->body(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})" "\n");
  EXPECT_FALSE(watch->live);
  must(kList, 1s)->answer(200, list_json("Service", "50", {service_json("a", "8")}));
  EXPECT_EQ(kept.all.size(), 1u);
  watch = must(kWatch);
  loop.run_for(10s);
  watch->answer(410, R"({"kind":"Status","code":410})");
  must(kList, 1s);
  EXPECT_TRUE(kept.lines.empty()) << kept.lines[0];  // this is everyday life
}

TEST_F(KindWatchTest, AServerRestoredFromABackupIsListedAnew) {
  auto watch = watched();
  watch->body(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}})" "\n");
  EXPECT_FALSE(watch->live);
  EXPECT_TRUE(kept.said("went back in time"));
  must(kList, 1s)->answer(200, list_json("Service", "9", {}));
  must(kWatch)->answer(504, R"({"kind":"Status","code":504,"reason":"Timeout","message":"Too large resource version"})");
  must(kList, 1s);
}

TEST_F(KindWatchTest, AServerThatAlwaysSaysTooOldIsNotAskedInALoop) {
  follow();
  int asked = 0;
  for (int i = 0; i < 12; ++i) {
    auto list = must(kList, 60s);
    list->answer(200, list_json("Service", "1", {}));
    must(kWatch)->answer(410, "{}");
    ++asked;
  }
  EXPECT_EQ(asked, 12);
  EXPECT_GT(loop.now() - Instant{1000s}, 60s);
}

TEST_F(KindWatchTest, AnExpiredPageTokenListsAllAtOnce) {
  follow();
  must(kList)->answer(200, list_json("Service", "10", {service_json("a", "8")}, "p2"));
  must(kList + "&continue=p2")->answer(410, "{}");
  auto whole = must("/api/v1/services", 1s);
  EXPECT_EQ(whole->target, "/api/v1/services");
  whole->answer(200, list_json("Service", "11", {service_json("a", "8"), service_json("b", "8")}));
  EXPECT_EQ(kept.log, std::vector<std::string>{"Service*2"});
}

TEST_F(KindWatchTest, BackOffDoublesWithJitterUpToHalfAMinute) {
  follow();
  Duration longest{0}, shortest = 1h;
  Instant before = loop.now();
  for (int i = 0; i < 14; ++i) {
    must(kList, 60s)->answer(503, "down");
    const Duration waited = loop.now() - before;
    if (i == 1) {
      EXPECT_GE(waited, 100ms);
      EXPECT_LE(waited, 210ms);
    }
    if (i > 9) longest = std::max(longest, waited), shortest = std::min(shortest, waited);
    before = loop.now();
  }
  EXPECT_LE(longest, 30s);
  EXPECT_GE(shortest, 15s);
  EXPECT_NE(longest, shortest);
  EXPECT_EQ(kept.lines, std::vector<std::string>{"https://api/api/v1/services: 503 Service Unavailable: down"});  // once
  EXPECT_EQ(failures.value(), 14u);
  before = loop.now();
  must(kList, 60s)->answer(429, "{}", {{"Retry-After", "120"}});
  before = loop.now();
  must(kList, 200s);
  EXPECT_GE(loop.now() - before, 120s);
}

TEST_F(KindWatchTest, RefusalsNameTheMend) {
  follow();
  must(kList)->answer(403, R"({"kind":"Status","code":403,"message":"services is forbidden"})");
  EXPECT_EQ(kept.lines[0], "https://api/api/v1/services: 403 Forbidden: services is forbidden; grant list and watch (docs/guide/kubernetes.md)");
  must(kList, 1s)->answer(401, "{}");
  EXPECT_NE(kept.lines[1].find("renew the credentials"), std::string::npos);
  must(kList, 2s)->answer(404, "404 page not found\n");
  EXPECT_NE(kept.lines[2].find("404 Not Found: 404 page not found"), std::string::npos) << kept.lines[2];
  EXPECT_EQ(w->problems(), std::vector<std::string>{kept.lines[2]});
  must(kList, 3s)->answer(200, list_json("Service", "1", {}));
  EXPECT_TRUE(w->problems().empty());
}

TEST_F(KindWatchTest, ABadObjectIsOneLineAndTheRestIsServed) {
  follow();
  const std::string broken = R"({"metadata":{"name":"bad","namespace":"n"},"spec":{"clusterIP":7}})";
  must(kList)->answer(200, list_json("Service", "10", {service_json("a", "8"), broken, service_json("c", "8")}));
  EXPECT_EQ(kept.all.size(), 2u);
  EXPECT_EQ(kept.lines, std::vector<std::string>{"https://api/api/v1/services: Service n/bad: spec.clusterIP: needs a string, not an integer"});
  EXPECT_EQ(w->problems(), kept.lines);
  auto watch = must(kWatch);
  watch->head(200);
  watch->body(event_json("MODIFIED", R"({"metadata":{"name":"a","namespace":"n","resourceVersion":"11"},"spec":[]})"));
  EXPECT_EQ(kept.all.count("Service n/a"), 1u) << "its last good state stays";
  EXPECT_EQ(w->problems().size(), 2u);
  watch->body(event_json("MODIFIED", service_json("a", "12")));
  watch->body(event_json("DELETED", broken));
  EXPECT_TRUE(w->problems().empty());
  EXPECT_EQ(bad.value(), 2u);
}

TEST_F(KindWatchTest, ALineThatIsNoEventListsAnew) {
  auto watch = watched();
  loop.run_for(10s);
  watch->body("{\"type\":\"ADDED\",\"object\":{\"meta\n");
  EXPECT_FALSE(watch->live);
  EXPECT_TRUE(kept.said("not JSON"));
  must(kList, 1s);
}

TEST_F(KindWatchTest, EndlessLinesAndGigabytesAreBounded) {
  auto watch = watched();
  const std::string mebibyte(1 << 20, 'x');
  int taken = 0;
  while (watch->live && taken < 100) watch->body(mebibyte), ++taken;
  EXPECT_EQ(taken, 9);
  EXPECT_TRUE(kept.said("a watch event of more than 8388608 bytes"));
  auto list = must(kList, 2s);
  list->head(200);
  list->body(R"({"kind":"ServiceList","items":[{"metadata":{"name":")");
  for (taken = 0; list->live && taken < 1024; ++taken) list->body(mebibyte);  // one endless object, dropped after 8 MiB
  EXPECT_EQ(taken, 256);
  EXPECT_TRUE(kept.said("a list of more than"));
  list = must(kList, 2s);
  list->head(200);
  list->body(R"({"kind":"ServiceList","items":[)");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += service_json("s", "1") + ",";
  for (taken = 0; list->live && taken < 1000; ++taken) list->body(many);
  EXPECT_EQ(taken, 101);
  EXPECT_TRUE(kept.said("more than 100000 objects"));
  EXPECT_EQ(kept.all.size(), 2u) << "what was good before stays";
}

TEST_F(KindWatchTest, SilenceIsNoticed) {
  follow();
  auto list = must(kList);
  loop.run_for(29s);
  EXPECT_TRUE(list->live);
  list->head(200);
  list->body(R"({"kind":)");
  loop.run_for(31s);
  EXPECT_FALSE(list->live);
  EXPECT_TRUE(kept.said("no answer within 30 s"));
  must(kList, 1s)->answer(200, list_json("Service", "5", {}));
  auto watch = must(kWatch);
  watch->head(200);
  loop.run_for(700s);  // the server does not end it in time
  EXPECT_FALSE(watch->live);
  EXPECT_TRUE(w->problems().empty());
}

TEST_F(KindWatchTest, VersionsAreTriedAndAbsenceIsFine) {
  follow({.kind = Kind::destination_rule, .paths = {"/v1/rules", "/v1beta1/rules"}, .may_be_absent = true});
  must("/v1/rules")->answer(404, "404 page not found");
  must("/v1beta1/rules")->answer(404, "404 page not found");
  EXPECT_EQ(absent, 1);
  EXPECT_TRUE(kept.lines.empty());
  loop.run_for(59s);
  EXPECT_EQ(api.take("/v1"), nullptr);
  must("/v1/rules", 10s)->answer(404, "");
  must("/v1beta1/rules")->answer(200, list_json("DestinationRule", "3", {R"({"metadata":{"name":"r","namespace":"n"},"spec":{"host":"a"}})"}));
  EXPECT_EQ(kept.all.size(), 1u);
  EXPECT_TRUE(must("/v1beta1/rules?watch=true")->target.ends_with("resourceVersion=3"));
}

TEST_F(KindWatchTest, AMetaServersEmptyListIsHeldBackForHalfAMinute) {
  KindWatch::Config c{.kind = Kind::service, .paths = {"/api/v1/services"}, .meta_server = true, .hold_empty = 30s, .never_empty = true};
  follow(c);
  must(kList)->answer(200, list_json("Service", "1", {}));
  EXPECT_TRUE(kept.log.empty()) << "an empty first list was believed";
  EXPECT_TRUE(kept.said("is the MetaServer connected"));
  must(kList, 6s)->answer(200, list_json("Service", "1", {service_json("a", "1")}));
  EXPECT_EQ(kept.log, std::vector<std::string>{"Service*1"});
  auto watch = must(kWatch);
  watch->head(200);
  loop.run_for(100s);
  watch->end();
  const Instant since = loop.now();
  while (kept.log.size() == 1 && loop.now() - since < 60s) must(kList, 10s)->answer(200, list_json("Service", "2", {}));
  EXPECT_EQ(kept.log.back(), "Service*0");
  EXPECT_GE(loop.now() - since, 30s);
  EXPECT_LE(loop.now() - since, 45s);
}

TEST_F(KindWatchTest, AMetaServersWatchIsFollowedByAList) {
  follow({.kind = Kind::service, .paths = {"/api/v1/services"}, .meta_server = true, .hold_empty = 30s});
  must(kList)->answer(200, list_json("Service", "", {service_json("a", "1")}));
  auto watch = must(kWatch);
  EXPECT_EQ(watch->target.find("resourceVersion"), std::string::npos);
  watch->head(200);
  loop.run_for(160s);
  EXPECT_FALSE(watch->live);
  must(kList, 1s);
}

TEST_F(KindWatchTest, DroppedAtAnyPointNothingIsLeft) {
  watched();
  w.reset();
  EXPECT_EQ(watching.value(), 0);
  EXPECT_TRUE(loop.run_until_idle());
  follow();
  auto list = must(kList);
  w.reset();
  EXPECT_FALSE(list->live);
  EXPECT_TRUE(loop.run_until_idle());
}

}  // namespace
}  // namespace base::kube
