#include "daemon/admin/admin.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/http/query.h"
#include "base/net/socket.h"
#include "daemon/admin/answers.h"

namespace edgemeshd {

using base::Request;
using base::Response;
using base::Result;
using Json = nlohmann::ordered_json;

static std::vector<std::string> texts(const std::vector<base::IpAddr>& ips) {
  std::vector<std::string> out;
  for (const auto& ip : ips) out.push_back(ip.str());
  return out;
}

static Json to_json(const StatusView& s) {
  return {{"node", s.node},         {"version", s.version},     {"ready", s.ready},     {"modules", s.modules},   {"overlayIPs", texts(s.overlay_ips)},
          {"services", s.services}, {"frontends", s.frontends}, {"exports", s.exports}, {"uptimeSeconds", s.uptime_s}, {"pid", s.pid}, {"problems", s.problems}};
}

static Json to_json(const base::kube::Service& s) {
  Json ports = Json::array();
  for (const auto& p : s.ports) {
    size_t ready = 0;
    for (const auto& e : p.endpoints) ready += e.ready;
    ports.push_back({{"name", p.name}, {"port", p.port}, {"protocol", to_string(p.proto)}, {"endpoints", p.endpoints.size()}, {"ready", ready}});
  }
  static const char* const kinds[] = {"ClusterIP", "Headless", "ExternalName"};
  return {{"namespace", s.id.ns}, {"name", s.id.name}, {"kind", kinds[int(s.kind)]}, {"clusterIPs", texts(s.cluster_ips)}, {"ports", ports}, {"rule", s.rule.source}};
}

static Json to_json(const edgemesh::Explanation& x) {
  Json rows = Json::array();
  for (const auto& r : x.rows)
    rows.push_back({{"frontend", r.frontend}, {"endpoint", r.endpoint}, {"node", r.node}, {"pod", r.pod}, {"tier", r.tier}, {"dial", r.dial}, {"health", r.health},
                    {"why", r.why}});
  return {{"service", x.service}, {"policy", x.policy}, {"note", x.note}, {"endpoints", rows}};
}

static Json to_json(const std::vector<tunnel::AttemptView>& list) {
  Json out = Json::array();
  for (const auto& a : list) out.push_back({{"rung", a.rung}, {"direct", a.ok}, {"milliseconds", a.ms}});
  return out;
}

static Json to_json(const tunnel::PeerView& p) {
  return {{"name", p.name},
          {"state", p.state},
          {"direct", p.direct},
          {"resumed", p.resumed},
          {"path", p.path},
          {"relay", p.relay},
          {"rttMicroseconds", p.rtt_us}, {"mtu", p.mtu},
          {"overlayIPs", texts(p.overlay_ips)},
          {"network", p.network},
          {"sinceSeconds", p.since_s},
          {"bytes", {{"sentDirect", p.tx_direct}, {"sentRelay", p.tx_relay}, {"receivedDirect", p.rx_direct}, {"receivedRelay", p.rx_relay}}},
          {"nat", p.nat},
          {"rung", p.rung},
          {"directAfterMilliseconds", p.direct_after_ms},
          {"attempts", to_json(p.attempts)},
          {"lastError", p.last_error}};
}

static Json to_json(const tunnel::PathView& p) {
  return {{"peer", p.peer}, {"address", p.address}, {"kind", p.kind}, {"state", p.state}, {"active", p.active}, {"resumed", p.resumed}, {"rttMicroseconds", p.rtt_us}, {"mtu", p.mtu}};
}

static Json to_json(const tunnel::PortMappingView& m) {
  return {{"enabled", m.enabled},          {"router", m.router},  {"outside", m.outside}, {"protocol", m.protocol}, {"public", m.is_public},
          {"secondsLeft", m.seconds_left}, {"trouble", m.trouble}};
}

static Json to_json(const tunnel::NatView& n) {
  Json relays = Json::array();
  for (const auto& r : n.relays)
    relays.push_back({{"name", r.name}, {"address", r.address}, {"connected", r.connected}, {"trouble", r.trouble}});
  return {{"nat", n.mapping},
          {"outside", n.outside},
          {"hosts", n.hosts},
          {"servers", n.servers},
          {"relaysByTcp", n.relays_by_tcp},
          {"directEnabled", n.direct},
          {"peers", {{"direct", n.peers_direct}, {"relayed", n.peers_relayed}}},
          {"portMapping", to_json(n.port_mapping)},
          {"hairpin", n.hairpin},
          {"ipv6", n.ipv6},
          {"linkMtu", n.link_mtu},
          {"relays", relays}};
}

static Json to_json(const tunnel::LanView& v) {
  Json nodes = Json::array();
  for (const auto& n : v.nodes)
    nodes.push_back({{"name", n.name},
                     {"interface", n.interface},
                     {"addresses", n.addresses},
                     {"signalPort", n.signal_port},
                     {"secondsLeft", n.seconds_left}});
  return {{"enabled", v.enabled}, {"interfaces", v.interfaces}, {"nodes", nodes}, {"strangers", v.strangers}};
}

Response json_answer(const Json& j) { return Response::json(j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"); }

Response problem(int status, const std::string& what) {
  Response r = json_answer({{"error", what}});
  r.status = status;
  return r;
}

Result<std::unique_ptr<Admin>> Admin::start(const base::IpPort& tcp, const std::string& unix_path, AdminHooks hooks, base::Loop& loop,
                                            base::SocketStore& store, base::Metrics& metrics) {
  std::unique_ptr<Admin> a(new Admin(std::move(hooks), metrics));
  EM_TRY_ASSIGN(base::UniqueFd tcp_fd, store.acquire("admin-tcp", [&] { return base::tcp_listen(tcp); }));
  EM_TRY_ASSIGN(base::UniqueFd unix_fd, store.acquire("admin-unix", [&] { return base::unix_listen(unix_path, 0600); }));
  Admin* self = a.get();
  a->tcp_ = base::HttpServer::make(loop, std::move(tcp_fd),
                                   [self](const Request& q, const base::HttpPeer&, base::HttpServer::Respond r) { self->serve_public(q, std::move(r)); });
  a->unix_ = base::HttpServer::make(
      loop, std::move(unix_fd), [self](const Request& q, const base::HttpPeer& p, base::HttpServer::Respond r) { self->serve_private(q, p, std::move(r)); });
  return a;
}

void Admin::drain() {
  tcp_->drain();
  unix_->drain();
}

void Admin::serve_public(const Request& q, base::HttpServer::Respond respond) {
  if (q.method != "GET" && q.method != "HEAD") return respond(Response::text(405, "GET only\n"));
  if (q.path() == "/healthz") return respond(Response::text(200, "ok\n"));
  if (q.path() == "/metrics") {
    Response r = Response::text(200, metrics_.render());
    r.headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return respond(std::move(r));
  }
  if (q.path() == "/readyz") {
    StatusView s = hooks_.status();
    std::string text = s.ready ? "ready\n" : "not ready\n";
    for (const auto& p : s.problems) text += p + "\n";
    return respond(Response::text(s.ready ? 200 : 503, text));
  }
  respond(Response::text(404, "here are /healthz, /readyz and /metrics; the rest is on the unix socket (edgemeshctl)\n"));
}

void Admin::serve_private(const Request& q, const base::HttpPeer& peer, base::HttpServer::Respond respond) {
  if (!peer.credentials || (peer.credentials->uid != 0 && peer.credentials->uid != ::geteuid()))
    return respond(problem(403, "the admin socket serves root and the daemon's own user"));
  std::string_view path = q.path();
  if (q.method == "POST") {
    if (path == "/v1/ping") return ping(base::query_parameter(q.query(), "node"), std::move(respond));
    if (path == "/v1/reload") {
      auto r = hooks_.reload();
      return respond(r ? json_answer({{"reloaded", true}}) : problem(422, r.error().what));
    }
    if (path == "/v1/handover") {
      auto r = hooks_.handover();
      return respond(r ? json_answer({{"started", true}}) : problem(422, r.error().what));
    }
  } else if (q.method == "GET") {
    if (path == "/v1/status") return respond(json_answer(to_json(hooks_.status())));
    if (path == "/v1/services") {
      Json list = Json::array();
      hooks_.table()->each([&](const base::kube::ServicePtr& s) { list.push_back(to_json(*s)); });
      return respond(json_answer({{"services", list}}));
    }
    if (path == "/v1/explain") {
      std::string name = base::query_parameter(q.query(), "service");
      size_t slash = name.find('/');
      if (slash == std::string::npos) return respond(problem(400, "service: give it as namespace/name"));
      return respond(json_answer(to_json(hooks_.explain({name.substr(0, slash), name.substr(slash + 1)}))));
    }
    if (path.starts_with("/v1/dns/")) return serve_dns(q, std::move(respond));
    if (path == "/v1/nat") {
      auto nat = hooks_.nat();
      return respond(nat ? json_answer(to_json(*nat)) : problem(422, "the tunnel is off: set tunnel.enabled"));
    }
    if (path == "/v1/lan") {
      auto lan = hooks_.lan();
      return respond(lan ? json_answer(to_json(*lan)) : problem(422, "the tunnel is off: set tunnel.enabled"));
    }
    if (path == "/v1/peers" || path == "/v1/paths") {
      Json list = Json::array();
      if (path == "/v1/peers")
        for (const auto& p : hooks_.peers()) list.push_back(to_json(p));
      else
        for (const auto& p : hooks_.paths()) list.push_back(to_json(p));
      return respond(json_answer({{std::string(path.substr(4)), list}}));
    }
  } else {
    return respond(problem(405, "GET or POST"));
  }
  serve_public(q, std::move(respond));
}

void Admin::ping(const std::string& node, base::HttpServer::Respond respond) {
  if (node.empty()) return respond(problem(400, "node: name the node to ping"));
  hooks_.ping(node, [respond, node](Result<std::chrono::nanoseconds> rtt, std::string path) {
    if (!rtt) return respond(problem(504, rtt.error().what));
    respond(json_answer({{"node", node}, {"rttMicroseconds", rtt->count() / 1000}, {"path", path}}));
  });
}

}  // namespace edgemeshd
