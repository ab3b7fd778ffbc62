#include "daemon/ctl/netcheck.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "daemon/ctl/text_table.h"

namespace edgemeshd {

using base::Result;
using Json = nlohmann::ordered_json;

static std::string joined(const Json& list) {
  std::string s;
  for (const auto& x : list) s += (s.empty() ? "" : ", ") + x.get<std::string>();
  return s.empty() ? "-" : s;
}

static std::string attempts(const Json& list) {
  std::string s;
  for (const auto& a : list)
    s += fmt::format("{}{} {} {} ms", s.empty() ? "" : ", ", a["rung"].get<std::string>(), a["direct"].get<bool>() ? "worked" : "failed", a["milliseconds"].get<int64_t>());
  return s.empty() ? "-" : s;
}

static std::string via(const Json& p) { return p["state"] != "up" ? "-" : p["direct"].get<bool>() ? "direct" : "relay"; }

static std::string nat_table(const Json& nat, const Json& peers) {
  std::string s = fmt::format("nat      {}\noutside  {}\nhosts    {}\nservers  {}\n", nat["nat"].get<std::string>(), joined(nat["outside"]), joined(nat["hosts"]), joined(nat["servers"]));
  std::vector<TextRow> rows;
  for (const auto& p : peers["peers"]) {
    std::string rung = p["rung"], theirs = p["nat"];
    int64_t after = p["directAfterMilliseconds"];
    rows.push_back({p["name"], theirs.empty() ? "-" : theirs, via(p), rung.empty() ? "-" : rung, after < 0 ? "-" : fmt::format("{} ms", after), attempts(p["attempts"])});
  }
  return rows.empty() ? s : s + "\n" + text_table({"NODE", "ITS NAT", "VIA", "RUNG", "DIRECT AFTER", "ATTEMPTS OF THIS SIDE"}, rows);
}

static Result<std::pair<Json, Json>> parsed(const std::string& nat, const std::string& peers) {
  std::pair<Json, Json> out{Json::parse(nat, nullptr, false), Json::parse(peers, nullptr, false)};
  if (out.first.is_object() && out.second.is_object()) return out;
  return base::fail(base::Code::io, "the daemon's answer cannot be read: edgemeshctl and edgemeshd are of different versions");
}

// ---- in words

static bool begins(const std::string& s, const char* with) { return s.rfind(with, 0) == 0; }

static void say_udp(const Json& nat, std::vector<std::string>& out) {
  size_t servers = nat["servers"].size();
  if (servers == 0) {
    out.push_back("UDP: no relay answers over UDP. Either none is connected (see edgemeshctl status) or this network drops UDP to it; direct paths are only possible "
                  "to nodes on the same network. Allow outgoing UDP to the relays' port.");
  } else {
    out.push_back(fmt::format("UDP: open; {} this node at {}.", servers == 1 ? "one relay sees" : fmt::format("{} relays see", servers), joined(nat["outside"])));
  }
  if (auto by_tcp = nat.find("relaysByTcp"); by_tcp != nat.end() && !by_tcp->empty())
    out.push_back(fmt::format("TCP: no UDP comes back from {}; packets go there by TCP instead, which is slower where packets are lost. UDP is tried again on and on.", joined(*by_tcp)));
}

static std::string of_kind(const std::string& kind, size_t servers) {
  if (begins(kind, "none")) return "NAT: none. This node has the address it is seen at; if its firewall lets the tunnel's port in, list it under tunnel.advertise: it can then be a relay.";
  if (begins(kind, "endpoint-independent"))
    return "NAT: friendly (one outside port for all destinations). Direct paths to all nodes but those behind a symmetric NAT work at once; to these, after some seconds.";
  if (begins(kind, "address"))
    return kind.find("ports ") != std::string::npos
               ? "NAT: symmetric, but it counts its ports up. Direct paths work to nodes with a friendly NAT by prediction; two symmetric NATs stay on the relay."
               : "NAT: symmetric (another outside port for each destination). Direct paths to nodes with a friendly NAT take a birthday of some seconds; two symmetric NATs "
                 "stay on the relay. A forwarded UDP port under tunnel.advertise makes every path direct.";
  return servers == 1 ? "NAT: not known: it takes two addresses of relays, or a relay's UDP port 3479, to tell. Add a second one under tunnel.relays."
                      : "NAT: not known yet.";
}

static void say_peers(const Json& nat, const Json& peers, std::vector<std::string>& out) {
  size_t direct = nat["peers"]["direct"], relayed = nat["peers"]["relayed"];
  if (direct + relayed == 0) return out.push_back("Peers: no session with any node now.");
  out.push_back(fmt::format("Peers: {} direct, {} over a relay.", direct, relayed));
  for (const auto& p : peers["peers"]) {
    if (via(p) != "relay") continue;
    std::string theirs = p["nat"], mine = nat["nat"];
    bool both = begins(theirs, "address") && begins(mine, "address");
    std::string why = both ? "both NATs are symmetric: forward a port on one side, or switch on port mapping there"
                      : begins(theirs, "unknown") || theirs.empty() ? "its NAT is not known: perhaps UDP does not leave its network"
                                                                    : "tried so far: " + attempts(p["attempts"]) + "; it is tried again on and on";
    out.push_back(fmt::format("  {} ({}): {}.", p["name"].get<std::string>(), theirs.empty() ? "unknown" : theirs, why));
  }
}

Result<std::vector<std::string>> netcheck_sentences(const std::string& nat_text, const std::string& peers_text) {
  EM_TRY_ASSIGN(auto both, parsed(nat_text, peers_text));
  const auto& [nat, peers] = both;
  std::vector<std::string> out;
  try {
    if (!nat["directEnabled"].get<bool>()) out.push_back("Direct paths are switched off (tunnel.directEnabled): everything goes over relays.");
    say_udp(nat, out);
    if (!nat["servers"].empty()) out.push_back(of_kind(nat["nat"], nat["servers"].size()));
    say_peers(nat, peers, out);
  } catch (const Json::exception& e) {
    return base::fail(base::Code::io, "the daemon's answer lacks a field: {}", e.what());
  }
  return out;
}

Result<std::string> show_nat(const AdminCall& call) {
  EM_TRY_ASSIGN(std::string nat, ask_admin(call, "/v1/nat"));
  if (call.json) return nat;
  EM_TRY_ASSIGN(std::string peers, ask_admin(call, "/v1/peers"));
  EM_TRY_ASSIGN(auto both, parsed(nat, peers));
  try {
    return nat_table(both.first, both.second);
  } catch (const Json::exception& e) {
    return base::fail(base::Code::io, "the daemon's answer lacks a field: {}", e.what());
  }
}

static std::string lan_table(const Json& lan) {
  if (!lan["enabled"].get<bool>()) return "not looked for: tunnel.lanDiscovery or tunnel.directEnabled is off\n";
  std::vector<TextRow> rows;
  for (const auto& n : lan["nodes"])
    rows.push_back({n["name"], n["interface"], joined(n["addresses"]), fmt::format("{}", n["signalPort"].get<int>()),
                    fmt::format("{} s", n["secondsLeft"].get<int64_t>())});
  return fmt::format("interfaces  {}\nothers      {} of no peer of this node\n", joined(lan["interfaces"]),
                     lan["strangers"].get<size_t>()) +
         (rows.empty() ? "" : "\n" + text_table({"NODE", "INTERFACE", "ADDRESSES", "SIGNALLING", "KNOWN FOR"}, rows));
}

Result<std::string> show_lan(const AdminCall& call) {
  EM_TRY_ASSIGN(std::string text, ask_admin(call, "/v1/lan"));
  if (call.json) return text;
  Json lan = Json::parse(text, nullptr, false);
  if (!lan.is_object())
    return base::fail(base::Code::io, "the daemon's answer cannot be read: edgemeshctl and edgemeshd are of different versions");
  try {
    return lan_table(lan);
  } catch (const Json::exception& e) { return base::fail(base::Code::io, "the daemon's answer lacks a field: {}", e.what()); }
}

Result<std::string> show_netcheck(const AdminCall& call) {
  EM_TRY_ASSIGN(std::string nat, ask_admin(call, "/v1/nat"));
  EM_TRY_ASSIGN(std::string peers, ask_admin(call, "/v1/peers"));
  EM_TRY_ASSIGN(auto lines, netcheck_sentences(nat, peers));
  if (call.json) return Json({{"findings", lines}}).dump() + "\n";
  std::string out;
  for (const auto& l : lines) out += l + "\n";
  return out;
}

}  // namespace edgemeshd
