#include "daemon/ctl/admin_views.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/http/client.h"
#include "base/http/query.h"
#include "daemon/ctl/text_table.h"

namespace edgemeshd {

using base::Result;
using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

static Result<std::string> ask(const AdminCall& call, const char* method, const std::string& target) {
  EM_TRY_ASSIGN(const auto loop, base::open_libevent_loop());
  base::Request q;
  q.method = method;
  q.target = target;
  q.headers.add("Host", "edgemeshd");
  std::optional<Result<base::Response>> answer;
  auto pending = base::http_call(*loop, base::UnixPath{call.socket}, q, 15s, [&](Result<base::Response> r) {
    answer = std::move(r);
    loop->stop();
  });
  loop->run();
  if (!*answer) return tl::unexpected(answer->error());
  base::Response& r = **answer;
  if (r.status == 200) return r.body;
  Json j = Json::parse(r.body, nullptr, false);
  return base::fail(base::Code::io, "{}", j.is_object() && j.contains("error") ? j["error"].get<std::string>() : fmt::format("the daemon answered {}", r.status));
}

Result<std::string> ask_admin(const AdminCall& call, const std::string& target) { return ask(call, "GET", target); }

// The answer as it came with -o json, else what view makes of it.
template <class View>
static Result<std::string> show(const AdminCall& call, const char* method, const std::string& target, View view) {
  EM_TRY_ASSIGN(std::string body, ask(call, method, target));
  if (call.json) return body;
  Json j = Json::parse(body, nullptr, false);
  if (!j.is_object()) return base::fail(base::Code::io, "the daemon's answer cannot be read: edgemeshctl and edgemeshd are of different versions");
  try {
    return view(j);
  } catch (const Json::exception& e) {
    return base::fail(base::Code::io, "the daemon's answer lacks a field: {}", e.what());
  }
}

static std::string text(const Json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); }
static std::string joined(const Json& list) {
  std::string s;
  for (const auto& x : list) s += (s.empty() ? "" : ",") + text(x);
  return s.empty() ? "-" : s;
}
static std::string or_dash(std::string s) { return s.empty() ? "-" : s; }
static std::string milliseconds(int64_t us) { return us ? fmt::format("{:.2f} ms", double(us) / 1000) : "-"; }
static std::string bytes(uint64_t n) {
  static const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double v = double(n);
  int u = 0;
  for (; v >= 1024 && u < 4; u++) v /= 1024;
  return u ? fmt::format("{:.1f} {}", v, units[u]) : fmt::format("{} B", n);
}

Result<std::string> show_status(const AdminCall& call) {
  return show(call, "GET", "/v1/status", [](const Json& j) {
    std::string s = fmt::format("node      {}\nversion   {}\nready     {}\nmodules   {}\noverlay   {}\nservices  {} ({} addresses and ports in the kernel)\nexports   {}\nuptime    {} s\n",
                                text(j["node"]), text(j["version"]), j["ready"].get<bool>() ? "yes" : "no", joined(j["modules"]), joined(j["overlayIPs"]),
                                text(j["services"]), text(j["frontends"]), text(j["exports"]), text(j["uptimeSeconds"]));
    for (const auto& p : j["problems"]) s += "problem   " + text(p) + "\n";
    return s;
  });
}

Result<std::string> show_services(const AdminCall& call) {
  return show(call, "GET", "/v1/services", [](const Json& j) {
    std::vector<TextRow> rows;
    for (const auto& s : j["services"]) {
      std::string ports;
      for (const auto& p : s["ports"])
        ports += fmt::format("{}{}/{} ({} of {} ready)", ports.empty() ? "" : ", ", text(p["port"]), text(p["protocol"]), text(p["ready"]), text(p["endpoints"]));
      rows.push_back({text(s["namespace"]), text(s["name"]), text(s["kind"]), joined(s["clusterIPs"]), or_dash(ports), or_dash(text(s["rule"]))});
    }
    return text_table({"NAMESPACE", "NAME", "KIND", "ADDRESSES", "PORTS", "RULE"}, rows);
  });
}

Result<std::string> show_explain(const AdminCall& call, const std::string& service) {
  return show(call, "GET", "/v1/explain?service=" + base::percent_encode(service), [](const Json& j) {
    std::string s = text(j["service"]) + "\n";
    if (!text(j["policy"]).empty()) s += "policy: " + text(j["policy"]) + "\n";
    if (!text(j["note"]).empty()) s += "note: " + text(j["note"]) + "\n";
    std::vector<TextRow> rows;
    for (const auto& r : j["endpoints"])
      rows.push_back({or_dash(text(r["frontend"])), text(r["endpoint"]), or_dash(text(r["node"])), or_dash(text(r["pod"])), text(r["tier"]), or_dash(text(r["dial"])), or_dash(text(r["health"])),
                      text(r["why"])});
    if (!rows.empty()) s += text_table({"FRONTEND", "ENDPOINT", "NODE", "POD", "TIER", "DIALLED AT", "HEALTH", "WHY"}, rows);
    return s;
  });
}

static std::string mtu(const Json& p) {
  int n = p.value("mtu", 0);
  return n ? std::to_string(n) : "-";
}

Result<std::string> show_peers(const AdminCall& call) {
  return show(call, "GET", "/v1/peers", [](const Json& j) {
    std::vector<TextRow> rows;
    for (const auto& p : j["peers"]) {
      const Json& b = p["bytes"];
      std::string via = text(p["state"]) != "up" ? "-" : p["direct"].get<bool>() ? (p.value("resumed", false) ? "direct, resumed over last path" : "direct") : "relay " + text(p["relay"]);
      rows.push_back({text(p["name"]), text(p["state"]), via, or_dash(text(p["path"])), milliseconds(p["rttMicroseconds"].get<int64_t>()), mtu(p), joined(p["overlayIPs"]),
                      bytes(b["sentDirect"].get<uint64_t>() + b["receivedDirect"].get<uint64_t>()),
                      bytes(b["sentRelay"].get<uint64_t>() + b["receivedRelay"].get<uint64_t>()), or_dash(text(p["lastError"]))});
    }
    return text_table({"NODE", "STATE", "VIA", "PATH", "RTT", "MTU", "OVERLAY", "DIRECT", "RELAYED", "LAST ERROR"}, rows);
  });
}

Result<std::string> show_paths(const AdminCall& call) {
  return show(call, "GET", "/v1/paths", [](const Json& j) {
    std::vector<TextRow> rows;
    for (const auto& p : j["paths"])
      rows.push_back({text(p["peer"]), p["active"].get<bool>() ? "*" : "", text(p["kind"]), text(p["address"]), text(p["state"]) + (p.value("resumed", false) ? ", resumed over last path" : ""), milliseconds(p["rttMicroseconds"].get<int64_t>()), mtu(p)});
    return text_table({"NODE", "USED", "KIND", "ADDRESS", "STATE", "RTT", "MTU"}, rows);
  });
}

static std::string records(const Json& list, const std::string& heading) {
  std::string s;
  for (const auto& r : list) s += fmt::format("{}  {}  {}  {}\n", text(r["name"]), text(r["ttl"]), text(r["type"]), text(r["data"]));
  return s.empty() || heading.empty() ? s : heading + ":\n" + s;
}

Result<std::string> show_dns_lookup(const AdminCall& call, const std::string& name, const std::string& type) {
  return show(call, "GET", "/v1/dns/lookup?name=" + base::percent_encode(name) + "&type=" + base::percent_encode(type), [](const Json& j) {
    std::string s = fmt::format("{} {}: {}, from {}", text(j["name"]), text(j["type"]), text(j["status"]), j["from"] == "cluster" ? "the cluster's services" : text(j["from"]));
    if (j["from"] == "upstream") s += " in " + milliseconds(j["microseconds"].get<int64_t>());
    if (!j["extendedError"].is_null()) s += ", extended error " + text(j["extendedError"]);
    return s + "\n" + records(j["answer"], "") + records(j["authority"], "authority") + records(j["additional"], "additional");
  });
}

static std::string lifetime(const Json& e) {
  const int64_t fresh = e["freshSeconds"].get<int64_t>();
  return fresh > 0 ? fmt::format("{} s", fresh) : fmt::format("old, {} s more", text(e["usableSeconds"]));
}

Result<std::string> show_dns_cache(const AdminCall& call, const std::string& under) {
  return show(call, "GET", "/v1/dns/cache?under=" + base::percent_encode(under), [](const Json& j) {
    std::vector<TextRow> rows;
    for (const auto& e : j["list"]) rows.push_back({text(e["name"]), text(e["type"]), text(e["status"]), text(e["records"]), lifetime(e)});
    return fmt::format("{} answers, {} of {}\n", text(j["entries"]), bytes(j["bytes"].get<uint64_t>()), bytes(j["bytesMax"].get<uint64_t>())) +
           (rows.empty() ? "" : text_table({"NAME", "TYPE", "STATUS", "RECORDS", "FRESH FOR"}, rows));
  });
}

Result<std::string> show_dns_upstreams(const AdminCall& call) {
  return show(call, "GET", "/v1/dns/upstreams", [](const Json& j) {
    std::vector<TextRow> rows;
    for (const auto& s : j["servers"])
      rows.push_back({text(s["number"]), text(s["zone"]), text(s["address"]), text(s["state"]), text(s["queries"]), text(s["silentInARow"]),
                      milliseconds(s["usualMicroseconds"].get<int64_t>()), milliseconds(s["p95Microseconds"].get<int64_t>())});
    return text_table({"NUMBER", "ZONE", "SERVER", "STATE", "QUERIES", "SILENT", "USUAL", "P95"}, rows) +
           fmt::format("{} questions under way\n", text(j["inFlight"]));
  });
}

Result<std::string> show_dns_top(const AdminCall& call) {
  return show(call, "GET", "/v1/dns/top?limit=20", [](const Json& j) {
    std::vector<TextRow> names, clients;
    for (const auto& r : j["names"]) names.push_back({text(r["queries"]), text(r["name"])});
    for (const auto& r : j["clients"]) clients.push_back({text(r["queries"]), text(r["client"])});
    return fmt::format("{} queries in {:.0f} s\n", text(j["queries"]), j["seconds"].get<double>()) + text_table({"QUERIES", "CLIENT"}, clients) +
           text_table({"QUERIES", "NAME"}, names);
  });
}

Result<std::string> do_ping(const AdminCall& call, const std::string& node) {
  return show(call, "POST", "/v1/ping?node=" + base::percent_encode(node), [](const Json& j) {
    return fmt::format("{} answered in {} by {}\n", text(j["node"]), milliseconds(j["rttMicroseconds"].get<int64_t>()), text(j["path"]));
  });
}

Result<std::string> do_handover(const AdminCall& call) {
  return show(call, "POST", "/v1/handover", [](const Json&) { return std::string("a successor is starting; edgemeshctl status shows its pid when it serves\n"); });
}

Result<std::string> do_reload(const AdminCall& call) {
  return show(call, "POST", "/v1/reload", [](const Json&) { return std::string("configuration reloaded\n"); });
}

}  // namespace edgemeshd
