// For tests: an admin surface over hooks with fixed answers, in a folder of its own. Everything it can show is shown once.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/net/socket.h"
#include "daemon/admin/admin.h"

namespace edgemeshd::testing {

class ListOfServices final : public base::kube::ServiceTable {
 public:
  std::vector<base::kube::ServicePtr> list;
  uint64_t generation() const override { return 1; }
  bool synced() const override { return true; }
  base::kube::ServicePtr find(const base::kube::ObjectName& n) const override {
    for (auto& s : list)
      if (s->id == n) return s;
    return nullptr;
  }
  void each(const std::function<void(const base::kube::ServicePtr&)>& f) const override {
    for (auto& s : list) f(s);
  }
  size_t size() const override { return list.size(); }
  bool has_namespace(const std::string&) const override { return true; }
  const std::map<std::string, base::kube::NodeInfo>& nodes() const override { return nodes_; }
  const std::map<std::string, base::kube::MeshNodeInfo>& mesh_nodes() const override { return mesh_nodes_; }

 private:
  std::map<std::string, base::kube::NodeInfo> nodes_;
  std::map<std::string, base::kube::MeshNodeInfo> mesh_nodes_;
};

inline base::IpAddr ip(const char* s) { return *base::IpAddr::parse(s); }

inline base::kube::ServicePtr web_service() {
  auto s = std::make_shared<base::kube::Service>();
  s->id = {"shop", "web"};
  s->cluster_ips = {ip("10.96.0.7"), ip("fd00::7")};
  s->rule.source = "DestinationRule shop/web";
  base::kube::ServicePort p;
  p.name = "http";
  p.port = 80;
  p.endpoints.resize(3);
  p.endpoints[1].ready = false;
  s->ports = {p};
  return s;
}

// What the hooks answer; a test changes it before asking.
struct AdminState {
  StatusView status{.node = "node-a", .version = "1.2.3", .ready = true, .modules = {"mesh", "dns"}, .overlay_ips = {ip("100.64.0.1")},
                    .services = 2, .frontends = 5, .exports = 1, .uptime_s = 61, .problems = {}};
  std::vector<base::kube::ServicePtr> services{web_service()};
  edgemesh::Explanation explanation{"shop/web", "round robin", "", {{"10.96.0.7:80/TCP", "172.17.0.9:8080", "node-b", "web-1", "tunnel", "100.64.0.2:31000", "on node node-b"}}};
  std::vector<tunnel::PeerView> peers;
  std::vector<tunnel::PathView> paths;
  std::optional<tunnel::NatView> nat;
  std::optional<tunnel::LanView> lan =
      tunnel::LanView{true, {"eth0"}, {{"node-b", "eth0", {"192.168.1.7:20006", "[fd01::7]:20006"}, 20006, 4100}}, 2};
  base::Result<void> reload{};
  dns::LookupView lookup{"web.shop.svc.cluster.local.", "A", "cluster",
                         {"NOERROR", {"aa"}, {{"web.shop.svc.cluster.local.", "A", "10.96.0.7", 5}}, {{"cluster.local.", "SOA", "ns.dns.cluster.local. x. 1 2 3 4 5", 5}},
                          {{"x.cluster.local.", "AAAA", "fd00::7", 5}}, -1}, 0};
  dns::CacheView cache{1, 300, 8 << 20, {{"www.example.", "A", "NOERROR", 1, 300, 10, 290, 86690}}};
  DnsUpstreamsView upstreams;
  dns::TopView top{42.5, 120, {{"www.example.", 100}}, {{"172.17.0.2", 120}}};
  std::vector<std::string> looked_up;
  std::vector<std::string> pinged, explained;
  int reloads = 0, handovers = 0;

  AdminState() {
    tunnel::PeerView p;
    p.name = "node-b", p.state = "up", p.direct = true, p.path = "192.168.1.7:20006", p.relay = "hub", p.rtt_us = 1234, p.mtu = 1428;
    p.overlay_ips = {ip("100.64.0.2")};
    p.network = "site-b", p.since_s = 9;
    p.tx_direct = 1024, p.rx_direct = 512, p.tx_relay = 3 << 20, p.rx_relay = 0;
    peers = {p};
    tunnel::PathView v;
    v.peer = "node-b", v.address = "192.168.1.7:20006", v.kind = "host", v.state = "valid", v.active = true, v.rtt_us = 1234, v.mtu = 1492;
    paths = {v};
    p.nat = "endpoint-independent", p.rung = "plain", p.direct_after_ms = 40;
    p.attempts = {{"plain", true, 40}};
    peers = {p};
    dns::ServerView server;
    server.number = 1, server.zone = ".", server.address = "192.0.2.53:53", server.queries = 7, server.usual = std::chrono::milliseconds(3);
    upstreams = {{server}, 2};
    nat = tunnel::NatView{"endpoint-independent, port kept", {"203.0.113.7:20006"}, {"192.168.1.6:20006"}, {"198.51.100.1:443", "198.51.100.2:443"}, true, 1, 0};
    nat->relays = {{"hub", "127.0.0.1:20006", true, ""}};
  }
  AdminHooks hooks() {
    AdminHooks h;
    h.status = [this] { return status; };
    h.table = [this] {
      auto t = std::make_shared<ListOfServices>();
      t->list = services;
      return t;
    };
    h.explain = [this](const base::kube::ObjectName& n) {
      explained.push_back(n.str());
      return explanation;
    };
    h.peers = [this] { return peers; };
    h.paths = [this] { return paths; };
    h.nat = [this] { return nat; };
    h.lan = [this] { return lan; };
    h.ping = [this](const std::string& node, auto done) {
      pinged.push_back(node);
      if (node != "node-b") return done(base::fail(base::Code::unavailable, "node {}: no such peer", node), "");
      done(std::chrono::microseconds(2500), "direct");
    };
    h.handover = [this]() -> base::Result<void> { return handovers++, base::Result<void>(); };
    h.dns.lookup = [this](const std::string& name, const std::string& type, auto done) {
      looked_up.push_back(name + " " + type);
      if (name == "bad name") return done(base::fail(base::Code::invalid, "dns: \"bad name\" is not a domain name"));
      done(lookup);
    };
    h.dns.cache = [this](const std::string& under, size_t most) { return looked_up.push_back(under + " " + std::to_string(most)), cache; };
    h.dns.upstreams = [this] { return upstreams; };
    h.dns.top = [this](size_t) { return top; };
    h.reload = [this] { return reloads++, reload; };
    return h;
  }
};

struct AdminWorld {
  std::string dir = [] {
    std::string t = (std::filesystem::temp_directory_path() / "em-admin-XXXXXX").string();
    return std::string(::mkdtemp(t.data()));
  }();
  std::string socket = dir + "/admin.sock";
  AdminState state;
  base::Metrics metrics;
  std::unique_ptr<base::Loop> loop = base::make_libevent_loop();
  base::SocketStore store;
  std::unique_ptr<Admin> admin;

  base::IpPort tcp{ip("127.0.0.1"), 0};

  AdminWorld() {
    auto listener = base::tcp_listen(tcp);
    tcp = *base::local_address(listener->get());
    store.put("admin-tcp", std::move(*listener));
    auto a = Admin::start(tcp, socket, state.hooks(), *loop, store, metrics);
    EXPECT_TRUE(a) << (a ? "" : a.error().what);
    if (a) admin = std::move(*a);
  }
  ~AdminWorld() {
    admin.reset();
    std::filesystem::remove_all(dir);
  }
};

}  // namespace edgemeshd::testing
