#include <gtest/gtest.h>

#include <cstdlib>

#include "dns/wire/scan.h"
#include "dns/zone/memory_table.h"
#include "dns/zone/zone_builder.h"
#include "dns/zone/zone_index.h"

// Allocations are counted so that the answer path can be held to none.
static thread_local size_t g_allocations = 0;
void* operator new(size_t n) {
  g_allocations++;
  if (void* p = std::malloc(n ? n : 1)) return p;
  std::abort();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace dns {
namespace {

using namespace dns::testing;
using base::kube::ObjectName;

struct Zone {
  ZoneConfig config;
  EndpointAddresses map;
  std::shared_ptr<MemoryTable> table = std::make_shared<MemoryTable>();
  std::unique_ptr<ZoneBuilder> builder;
  std::unique_ptr<ZoneIndex> index;
  bool can_forward = false;
  std::string client, searching;  // the namespace of a client with a search path

  void build(PodExists pods = {}) {
    builder = std::make_unique<ZoneBuilder>(config, map);
    index = std::make_unique<ZoneIndex>(config, 42, std::move(pods));
    index->apply(builder->whole(table));
  }
  void change(std::vector<ObjectName> changed, std::vector<ObjectName> removed = {}) {
    table->gen++;
    base::kube::ServiceDiff d;
    d.changed = std::move(changed);
    d.removed = std::move(removed);
    index->apply(builder->apply(table, d));
  }
  std::string search(const std::string& name, const char* ns, uint16_t t) {
    client = searching.empty() ? ns : searching;
    std::string r = ask((name + "." + ns + ".svc.cluster.local").c_str(), t);
    client.clear();
    return r;
  }
  // "NOERROR-ish code, then answers as text", e.g. "0 web.shop.svc.cluster.local. A 10.96.0.1"
  std::string ask(const char* name, uint16_t qtype) {
    base::ByteVec q(600), out(65535);
    q.resize(write_query(*Name::from_text(name), qtype, 1, 1232, false, false, q));
    Query query;
    EXPECT_EQ(parse_query(q, query), Parsed::ok);
    ZoneIndex::Result r;
    ZoneIndex::How how{.limit = 65535, .can_forward = can_forward};
    client.empty() ? index->respond(query, how, out, r) : index->respond_search(query, client, how, out, r);
    if (r.kind == ZoneIndex::Result::Kind::not_ours) return "upstream";
    if (r.kind == ZoneIndex::Result::Kind::alias) return "alias " + r.alias->text();
    out.resize(r.size);
    Scan s;
    EXPECT_TRUE(scan_answer(out, s));
    std::string text = std::to_string(int(s.rcode));
    if (s.authority) text += " soa" + std::to_string(s.negative_ttl);
    each_answer(out, [&](const Record& rec) { return text += show(out, rec), true; });
    if (s.additional) text += " +" + std::to_string(s.additional);
    return text;
  }
  static std::string show(base::ByteView m, const Record& r) {
    size_t at = r.data_at + (r.type == type::SRV ? 6 : 0);
    Name target;
    if (r.type == type::A) return " " + base::IpAddr::v4(&m[r.data_at]).str();
    if (r.type == type::AAAA) return " " + base::IpAddr::v6(&m[r.data_at]).str();
    if (r.type == type::TXT) return " " + std::string(base::as_text(m.subspan(at + 1, r.data_size - 1)));
    std::string s = r.type == type::SRV ? fmt::format(" {}:{}", base::load_be16(&m[at - 4]), base::load_be16(&m[at - 2])) : "";
    return read_name(m, at, target) ? s + " " + target.text() : " ?";
  }
};

Zone shop() {
  Zone z;
  auto web = cluster_service("shop", "web", {"10.96.1.10", "fd00:96::10"}, {{"http", 80}, {"", 81}});
  web.ports[0].endpoints = {endpoint("172.20.1.11", 8080, "web-a"), endpoint("172.20.1.13", 8080, "", false)};
  z.table->put(web);
  z.table->put(cluster_service("shop", "v4", {"10.96.1.11"}, {{"http", 80}}));
  auto db = cluster_service("shop", "db", {}, {{"pg", 5432}});
  db.ports[0].endpoints = {endpoint("172.20.2.1", 5432, "db-0"), endpoint("172.20.2.2", 5432), endpoint("fd00:20::", 5432), endpoint("172.20.2.9", 5432, "db-9", false)};
  z.table->put(db);
  auto dead = cluster_service("shop", "dead", {}, {{"http", 80}});
  dead.ports[0].endpoints = {endpoint("172.20.4.9", 80, "d-0", false)};
  z.table->put(dead);
  auto ext = cluster_service("shop", "ext", {}, {});
  ext.kind = base::kube::Service::Kind::external_name;
  ext.external_name = "www.example.com.";
  z.table->put(ext);
  ext.id.name = "in";
  ext.external_name = "WEB.shop.svc.cluster.local";
  z.table->put(ext);
  ext.id.name = "self";
  ext.external_name = "self.shop.svc.cluster.local";
  z.table->put(ext);
  z.table->namespaces.insert("bare");
  return z;
}

#define D ".svc.cluster.local"

TEST(Zone, SctpPortsAreTold) {
  Zone z;
  auto call = cluster_service("shop", "call", {"10.96.1.7"}, {});
  call.sctp_ports = {{.name = "diameter", .port = 3868}};
  z.table->put(call);
  auto peers = cluster_service("shop", "peers", {}, {});
  peers.sctp_ports = {{.name = "m3ua", .port = 2905}};
  peers.sctp_ports[0].endpoints = {endpoint("172.20.1.1", 2906, "p-0")};
  z.table->put(peers);
  z.build();
  EXPECT_EQ(z.ask("call.shop.svc.cluster.local", type::A), "0 10.96.1.7");
  EXPECT_EQ(z.ask("_diameter._sctp.call.shop.svc.cluster.local", type::SRV), "0 100:3868 call.shop.svc.cluster.local. +1");
  EXPECT_EQ(z.ask("peers.shop.svc.cluster.local", type::A), "0 172.20.1.1");
  EXPECT_EQ(z.ask("_m3ua._sctp.peers.shop.svc.cluster.local", type::SRV), "0 100:2906 p-0.peers.shop.svc.cluster.local. +1");
  EXPECT_TRUE(z.ask("_m3ua._tcp.peers.shop.svc.cluster.local", type::SRV).starts_with("3"));
}

TEST(Zone, ClusterIpServices) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.ask("web.shop" D, type::A), "0 10.96.1.10");
  EXPECT_EQ(z.ask("WEB.Shop" D, type::AAAA), "0 fd00:96::10");
  EXPECT_EQ(z.ask("v4.shop" D, type::AAAA), "0 soa5") << "NODATA, never NXDOMAIN: resolvers would give up on A as well";
  EXPECT_EQ(z.ask("_http._tcp.web.shop" D, type::SRV), "0 100:80 web.shop" D ". +2");
  EXPECT_EQ(z.ask("web.shop" D, type::SRV), "0 50:80 web.shop" D ". 50:81 web.shop" D ". +2");
  EXPECT_EQ(z.ask("_http._udp.web.shop" D, type::SRV), "3 soa5");
  EXPECT_EQ(z.ask("web-a.web.shop" D, type::A), "0 172.20.1.11");
  EXPECT_EQ(z.ask("172-20-1-13.web.shop" D, type::A), "3 soa5") << "not ready";
  EXPECT_EQ(z.ask("web.shop" D, 65), "0 soa5");
  EXPECT_EQ(z.ask("web.shop" D, type::AXFR), "5");
}

TEST(Zone, HeadlessServices) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.ask("db.shop" D, type::A), "0 172.20.2.1 172.20.2.2");
  EXPECT_EQ(z.ask("db.shop" D, type::AAAA), "0 fd00:20::");
  EXPECT_EQ(z.ask("db-0.db.shop" D, type::A), "0 172.20.2.1");
  EXPECT_EQ(z.ask("172-20-2-2.db.shop" D, type::A), "0 172.20.2.2");
  EXPECT_EQ(z.ask("fd00-20--0.db.shop" D, type::AAAA), "0 fd00:20::");
  EXPECT_EQ(z.ask("db-9.db.shop" D, type::A), "3 soa5");
  EXPECT_EQ(z.ask("_pg._tcp.db.shop" D, type::SRV), "0 33:5432 db-0.db.shop" D ". 33:5432 172-20-2-2.db.shop" D ". 33:5432 fd00-20--0.db.shop" D ". +3");
  EXPECT_EQ(z.ask("dead.shop" D, type::A), "3 soa5") << "headless without a ready endpoint does not exist";
}

TEST(Zone, ReverseNames) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.ask("10.1.96.10.in-addr.arpa", type::PTR), "0 web.shop" D ".");
  EXPECT_EQ(z.ask(reverse_name(ip("fd00:96::10").bytes()).text().c_str(), type::PTR), "0 web.shop" D ".");
  EXPECT_EQ(z.ask("1.2.20.172.in-addr.arpa", type::PTR), "0 db-0.db.shop" D ".");
  EXPECT_EQ(z.ask("9.2.20.172.in-addr.arpa", type::PTR), "upstream");
  z.config.reverse_fallthrough = false;
  z.build();
  EXPECT_EQ(z.ask("9.2.20.172.in-addr.arpa", type::PTR), "3 soa5");
}

TEST(Zone, AnAddressOfSeveralServicesHasOnePtrEach) {
  Zone z = shop();
  for (const char* name : {"one", "two"}) {
    auto s = cluster_service("shop", name, {}, {{"a", 1}, {"b", 2}});
    for (auto& p : s.ports) p.endpoints = {endpoint("172.20.7.7", p.port)};
    z.table->put(s);
  }
  z.build();
  std::string both = z.ask("7.7.20.172.in-addr.arpa", type::PTR);
  EXPECT_TRUE(both == "0 172-20-7-7.one.shop" D ". 172-20-7-7.two.shop" D "." || both == "0 172-20-7-7.two.shop" D ". 172-20-7-7.one.shop" D ".") << both;
  EXPECT_EQ(z.ask("7.7.20.172.in-addr.arpa", type::A), "0 soa5");
  EXPECT_EQ(z.ask("07.7.20.172.in-addr.arpa", type::PTR), "upstream") << "not how that address is written";
  EXPECT_EQ(z.ask("7.7.20.172.ip6.arpa", type::PTR), "upstream");
  z.table->put(cluster_service("shop", "vip", {"172.20.7.7"}, {{"a", 1}}));
  z.change({{"shop", "vip"}});
  EXPECT_EQ(z.ask("7.7.20.172.in-addr.arpa", type::PTR), "0 vip.shop" D ".") << "a cluster IP wins";
}

TEST(Zone, ThousandsOfEndpointsBehindOneName) {
  Zone z = shop();
  auto s = cluster_service("shop", "big", {}, {{"a", 1}});
  for (int i = 0; i < 5000; i++) s.ports[0].endpoints.push_back(endpoint(fmt::format("172.21.{}.{}", i / 256, i % 256).c_str(), 1));
  z.table->put(s);
  z.build();
  EXPECT_EQ(z.ask("172-21-19-135.big.shop" D, type::A), "0 172.21.19.135");
  EXPECT_EQ(z.ask("135.19.21.172.in-addr.arpa", type::PTR), "0 172-21-19-135.big.shop" D ".");
  z.change({}, {{"shop", "web"}});
  EXPECT_EQ(z.ask("172-21-0-0.big.shop" D, type::A), "0 172.21.0.0");
}

TEST(Zone, SearchPathsEndInOneRoundTrip) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.search("web.shop", "bare", type::A), "0 web.shop" D ". 10.96.1.10") << "CNAME, then the address";
  EXPECT_EQ(z.search("v4.shop", "bare", type::AAAA), "0 soa5 v4.shop" D ".") << "A and AAAA agree that the name is there";
  EXPECT_EQ(z.search("web.shop" D, "bare", type::A), "0 web.shop" D ". 10.96.1.10") << "the whole name, below ndots";
  EXPECT_EQ(z.search("www.example.com", "bare", type::A), "upstream") << "nobody to ask";
  z.can_forward = true;
  EXPECT_EQ(z.search("www.example.com", "bare", type::A), "alias www.example.com.");
  EXPECT_EQ(z.search("nope.shop" D, "bare", type::A), "upstream") << "denied by us already";
  EXPECT_EQ(z.search("ext.shop", "bare", type::A), "upstream") << "the client's next query gets an ExternalName";
  z.searching = "other";
  EXPECT_EQ(z.search("www.example.com", "bare", type::A), "upstream") << "another namespace's path";
}

TEST(Zone, AliasesToInsideAndOutside) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.ask("ext.shop" D, type::CNAME), "0 www.example.com.");
  EXPECT_EQ(z.ask("ext.shop" D, type::A), "0 www.example.com.") << "nowhere to ask: the alias alone";
  EXPECT_EQ(z.ask("in.shop" D, type::A), "0 web.shop" D ". 10.96.1.10");
  EXPECT_EQ(z.ask("self.shop" D, type::A), "0 soa5");
  EXPECT_EQ(z.ask("ext.shop" D, type::SRV), "0 soa5");
  z.can_forward = true;
  EXPECT_EQ(z.ask("ext.shop" D, type::A), "alias www.example.com.");
}

TEST(Zone, WhatExistsWithoutRecordsIsNodataAndTheRestIsNot) {
  Zone z = shop();
  z.build();
  for (const char* there : {"svc.cluster.local", "pod.cluster.local", "shop" D, "bare" D, "shop.pod.cluster.local", "_tcp.web.shop" D, "cluster.local"}) EXPECT_EQ(z.ask(there, type::A), "0 soa5") << there;
  for (const char* not_there : {"nope.shop" D, "nope" D, "web.nope" D, "x.cluster.local", "a.b.web.shop" D, "www.example.com.shop" D, "*.shop" D}) EXPECT_EQ(z.ask(not_there, type::A), "3 soa5") << not_there;
  EXPECT_EQ(z.ask("www.example.com", type::A), "upstream");
  EXPECT_EQ(z.ask("dns-version.cluster.local", type::TXT), "0 1.1.0");
  EXPECT_EQ(z.ask("cluster.local", type::NS), "0 ns.dns.cluster.local.");
}

TEST(Zone, PodNames) {
  Zone z = shop();
  z.build();
  EXPECT_EQ(z.ask("172-20-9-1.shop.pod.cluster.local", type::A), "0 172.20.9.1");
  EXPECT_EQ(z.ask("172-20-9-1.shop.pod.cluster.local", type::AAAA), "0 soa5");
  EXPECT_EQ(z.ask("fd00--1.shop.pod.cluster.local", type::AAAA), "0 fd00::1");
  for (const char* bad : {"999-1-2-3.shop.pod.cluster.local", "10-1-2-3.nope.pod.cluster.local", "x.shop.pod.cluster.local"}) EXPECT_EQ(z.ask(bad, type::A), "3 soa5") << bad;
  z.config.pods = PodNames::verified;
  z.build([](std::string_view ns, const base::IpAddr& a) { return ns == "shop" && a == ip("172.20.9.1"); });
  EXPECT_EQ(z.ask("172-20-9-1.shop.pod.cluster.local", type::A), "0 172.20.9.1");
  EXPECT_EQ(z.ask("172-20-9-2.shop.pod.cluster.local", type::A), "3 soa5");
  z.config.pods = PodNames::disabled;
  z.build();
  EXPECT_EQ(z.ask("172-20-9-1.shop.pod.cluster.local", type::A), "3 soa5");
}

TEST(Zone, NothingIsDeniedBeforeTheFirstList) {
  Zone z = shop();
  z.table->is_synced = false;
  z.build();
  EXPECT_EQ(z.ask("nope.shop" D, type::A), "2 soa5");
  EXPECT_EQ(z.ask("web.shop" D, type::A), "0 10.96.1.10");
}

TEST(Zone, ChangesReplaceExactlyTheirNames) {
  Zone z = shop();
  z.build();
  auto next = std::make_shared<MemoryTable>(*z.table);
  auto db = *next->find({"shop", "db"});
  db.ports[0].endpoints = {endpoint("172.20.2.7", 5432, "db-7")};
  next->put(db);
  next->services.erase({"shop", "v4"});
  z.table = next;
  z.change({{"shop", "db"}}, {{"shop", "v4"}});
  EXPECT_EQ(z.ask("db.shop" D, type::A), "0 172.20.2.7");
  EXPECT_EQ(z.ask("db-0.db.shop" D, type::A), "3 soa5");
  EXPECT_EQ(z.ask("1.2.20.172.in-addr.arpa", type::PTR), "upstream");
  EXPECT_EQ(z.ask("7.2.20.172.in-addr.arpa", type::PTR), "0 db-7.db.shop" D ".");
  EXPECT_EQ(z.ask("v4.shop" D, type::A), "3 soa5");
  EXPECT_EQ(z.ask("11.1.96.10.in-addr.arpa", type::PTR), "upstream");
  EXPECT_EQ(z.ask("web.shop" D, type::A), "0 10.96.1.10");
  size_t before = z.index->names();
  z.change({{"shop", "db"}});
  EXPECT_EQ(z.index->names(), before) << "an update that changes nothing must not grow the zone";
}

TEST(Zone, SyntheticAddressesOfRemoteEndpoints) {
  Zone z = shop();
  auto remote = ip("100.64.0.5");
  z.map = [&remote](const base::kube::Service&, const base::kube::Endpoint& e) { return std::vector{e.hostname == "db-0" ? remote : e.ip}; };
  z.build();
  EXPECT_EQ(z.ask("db-0.db.shop" D, type::A), "0 100.64.0.5");
  remote = ip("100.64.0.6");
  z.index->apply(z.builder->again({{"shop", "db"}}));
  EXPECT_EQ(z.ask("db-0.db.shop" D, type::A), "0 100.64.0.6");
  EXPECT_EQ(z.ask("6.0.64.100.in-addr.arpa", type::PTR), "0 db-0.db.shop" D ".");
  EXPECT_EQ(z.ask("5.0.64.100.in-addr.arpa", type::PTR), "upstream");
}

TEST(Zone, OtherDomainsAndTtls) {
  Zone z = shop();
  z.config.cluster_domain = "Edge.Example";
  z.config.ttl = 60;
  z.build();
  EXPECT_EQ(z.ask("web.shop.svc.edge.example", type::A), "0 10.96.1.10");
  EXPECT_EQ(z.ask("nope.shop.svc.edge.example", type::A), "3 soa60");
  EXPECT_EQ(z.ask("web.shop" D, type::A), "upstream");
}

TEST(Zone, AnsweringAllocatesNothing) {
  Zone z = shop();
  z.build();
  base::ByteVec out(4096), q(600);
  for (const char* name : {"web.shop" D, "nope.shop" D, "www.example.com.shop" D, "a-namespace-longer-than-sso-text" D, "172-20-9-1.shop.pod.cluster.local", "10.1.96.10.in-addr.arpa"}) {
    q.assign(600, 0);
    q.resize(write_query(*Name::from_text(name), type::A, 1, 1232, false, false, q));
    size_t before = g_allocations;
    Query query;
    ZoneIndex::Result r;
    ASSERT_EQ(parse_query(q, query), Parsed::ok);
    z.index->respond(query, {.limit = 1232}, out, r);
    EXPECT_EQ(g_allocations, before) << name;
    EXPECT_GT(r.size, 12u);
  }
}

}  // namespace
}  // namespace dns
