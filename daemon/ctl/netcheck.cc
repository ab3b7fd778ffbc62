#include "daemon/ctl/netcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/net/stream.h"
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

static std::string mapping_text(const Json& m) {
  if (!m["enabled"].get<bool>()) return "not asked for";
  std::string outside = m["outside"], trouble = m["trouble"], router = m["router"];
  if (!outside.empty())
    return fmt::format("{} by {} from {}, {} s more", outside, m["protocol"].get<std::string>(), router, m["secondsLeft"].get<int64_t>());
  return router.empty() ? "no router to ask" : fmt::format("- ({}: {})", router, trouble.empty() ? "being asked" : trouble);
}

static std::string nat_table(const Json& nat, const Json& peers) {
  std::string s = fmt::format("nat      {}\noutside  {}\nhosts    {}\nservers  {}\nmapping  {}\nhairpin  {}\n",
                              nat["nat"].get<std::string>(), joined(nat["outside"]), joined(nat["hosts"]), joined(nat["servers"]),
                              mapping_text(nat["portMapping"]), nat["hairpin"].get<std::string>());
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

// Where UDP is let out it is one more way to know; where it is not, all depends on it.
static void say_tcp(const Json& nat, const std::vector<TcpProbe>& probes, std::vector<std::string>& out) {
  if (nat["relays"].empty())
    return out.push_back("Relays: none is known. Nodes behind NATs cannot meet without one: name one under tunnel.relays.");
  for (const auto& r : nat["relays"])
    if (!r["connected"].get<bool>()) {
      std::string trouble = r["trouble"];
      out.push_back(fmt::format("Relay {}: not connected{}.", r["name"].get<std::string>(), trouble.empty() ? "" : ": " + trouble));
    }
  using O = TcpProbe::Outcome;
  auto with = [&](O o) { return std::find_if(probes.begin(), probes.end(), [&](const TcpProbe& p) { return p.outcome == o; }); };
  if (auto p = with(O::open); p != probes.end()) {
    out.push_back(fmt::format("TCP 443: open; relay {} answers there, and carries packets when UDP does not pass.", p->relay));
  } else if (p = with(O::refused); p != probes.end()) {
    out.push_back(
        fmt::format("TCP 443: leaves this network, but relay {} refuses it there (tunnel.relay.tcpPort of the relay): nodes whose network "
                    "lets nothing else out cannot use it.",
                    p->relay));
  } else if (!probes.empty()) {
    out.push_back(
        "TCP 443: no relay answers. Where UDP stops passing, nothing is left: let TCP 443 out to the relays, or name an HTTP proxy under "
        "tunnel.proxy.");
  }
}

static void say_mapping(const Json& m, std::vector<std::string>& out) {
  if (!m["enabled"].get<bool>() || m["router"].get<std::string>().empty()) return;
  std::string outside = m["outside"], trouble = m["trouble"], router = m["router"];
  if (!outside.empty() && m["public"].get<bool>())
    return out.push_back(fmt::format(
        "Port mapping: the router {} forwards {} to this node ({}). Every peer that has UDP reaches it directly, whatever the NATs.",
        router, outside, m["protocol"].get<std::string>()));
  if (!outside.empty())
    return out.push_back(
        fmt::format("Port mapping: the router {} forwards {}, which is no public address: there is another NAT behind it (a carrier's), "
                    "and the mapping is of no use.",
                    router, outside));
  out.push_back(
      fmt::format("Port mapping: none; {} {}. Switch on PCP, NAT-PMP or UPnP there, or forward a UDP port by hand and list it under "
                  "tunnel.advertise, if direct paths fail.",
                  trouble.empty() ? "being asked:" : trouble + ":", router));
}

static void say_hairpin(const Json& nat, std::vector<std::string>& out) {
  std::string h = nat["hairpin"];
  if (h == "yes") out.push_back("Hairpin: yes; nodes behind this NAT reach each other at its outside address.");
  if (h == "no")
    out.push_back(
        "Hairpin: no; two nodes behind this NAT reach each other only inside: by multicast on one link (edgemeshctl lan), at their own "
        "addresses, or over a relay.");
}

static void say_ipv6(const Json& nat, std::vector<std::string>& out) {
  out.push_back(nat["ipv6"].get<bool>()
                    ? "IPv6: this node has an address of the internet's; peers that have one too are tried there first, past all NATs."
                    : "IPv6: none; all paths are IPv4. With IPv6 on both sides there would be no NAT between.");
}

static void say_mtu(const Json& nat, const Json& peers, std::vector<std::string>& out) {
  std::string worst;
  int least = 0;
  for (const auto& p : peers["peers"]) {
    int mtu = p["mtu"];
    if (p["state"] != "up" || mtu == 0 || (least && mtu >= least)) continue;
    least = mtu;
    worst = p["name"];
  }
  if (!least) return;
  constexpr int kHeadersMost = 84;  // IPv6, UDP, seal and a relay's header
  if (least + kHeadersMost + 8 >= nat["linkMtu"].get<int>())
    return out.push_back(fmt::format(
        "MTU: nothing on the way is narrower than this node's interfaces; packets of {} bytes pass whole to every peer.", least));
  out.push_back(
      fmt::format("MTU: the way to {} carries packets of {} bytes only (a VPN, PPPoE or tunnel lies on it). Longer ones go in pieces, and "
                  "new connections are told; nothing is lost, some speed is.",
                  worst, least));
}

static void say_lan(const Json& lan, std::vector<std::string>& out) {
  if (!lan["enabled"].get<bool>()) return;
  size_t n = lan["nodes"].size(), others = lan["strangers"];
  if (n) out.push_back(fmt::format("Link: {} peer{} heard by multicast (edgemeshctl lan).", n, n == 1 ? "" : "s"));
  else if (others)
    out.push_back(fmt::format(
        "Link: {} node{} heard by multicast, none that this node knows by name: is there a MeshNode, and is it the same authority?", others,
        others == 1 ? "" : "s"));
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

Result<std::vector<std::string>> netcheck_sentences(const std::string& nat_text, const std::string& peers_text, const std::string& lan_text,
                                                    const std::vector<TcpProbe>& probes) {
  EM_TRY_ASSIGN(auto both, parsed(nat_text, peers_text));
  const auto& [nat, peers] = both;
  Json lan = Json::parse(lan_text, nullptr, false);
  std::vector<std::string> out;
  try {
    if (!nat["directEnabled"].get<bool>()) out.push_back("Direct paths are switched off (tunnel.directEnabled): everything goes over relays.");
    say_udp(nat, out);
    say_tcp(nat, probes, out);
    if (!nat["servers"].empty()) out.push_back(of_kind(nat["nat"], nat["servers"].size()));
    say_mapping(nat["portMapping"], out);
    say_hairpin(nat, out);
    say_ipv6(nat, out);
    if (lan.is_object()) say_lan(lan, out);
    say_mtu(nat, peers, out);
    say_peers(nat, peers, out);
  } catch (const Json::exception& e) {
    return base::fail(base::Code::io, "the daemon's answer lacks a field: {}", e.what());
  }
  return out;
}

// At most three relays, at once, two seconds.
static std::vector<TcpProbe> probe_tcp(const std::string& nat_text) {
  Json nat = Json::parse(nat_text, nullptr, false);
  auto loop = base::open_libevent_loop();
  if (!loop || !nat.is_object() || !nat.contains("relays")) return {};
  std::vector<TcpProbe> out;
  for (const auto& r : nat["relays"]) {
    auto at = base::IpPort::parse(r.value("address", ""));
    if (at && out.size() < 3) out.push_back({r.value("name", ""), base::IpPort{at->ip, 443}.str(), {}});
  }
  std::vector<std::unique_ptr<base::Stream>> streams;
  size_t waiting = 0;
  auto end = [&](TcpProbe& p, TcpProbe::Outcome o) {
    p.outcome = o;
    if (--waiting == 0) (*loop)->stop();
  };
  for (TcpProbe& p : out) {
    auto stream = base::connect_tcp(**loop, *base::IpPort::parse(p.address), std::chrono::seconds(2));
    if (!stream) continue;
    waiting++;
    auto done = std::make_shared<bool>(false);
    base::StreamHandler h;
    h.on_connected = [&p, &end, done] { *done = true, end(p, TcpProbe::Outcome::open); };
    h.on_closed = [&p, &end, done](const Result<void>& why) {
      if (!std::exchange(*done, true))
        end(p, !why && why.error().what.find("refused") != std::string::npos ? TcpProbe::Outcome::refused : TcpProbe::Outcome::unanswered);
    };
    (*stream)->start(std::move(h));
    streams.push_back(std::move(*stream));
  }
  if (waiting) (*loop)->run();
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
  EM_TRY_ASSIGN(std::string lan, ask_admin(call, "/v1/lan"));
  EM_TRY_ASSIGN(auto lines, netcheck_sentences(nat, peers, lan, probe_tcp(nat)));
  if (call.json) return Json({{"findings", lines}}).dump() + "\n";
  std::string out;
  for (const auto& l : lines) out += l + "\n";
  return out;
}

}  // namespace edgemeshd
