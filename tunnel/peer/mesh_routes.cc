// Who owns which inner addresses. A certificate's claim beats a hint; two claims of one rank on one address cancel each other:
// neither is routed, and the log names both.
#include <algorithm>
#include <set>

#include "tunnel/peer/mesh_record.h"

namespace tunnel {
namespace {

struct Loss {
  std::string to;
  bool both;  // lose: else only a hint against a certificate
};

std::string reason(const std::string& name, const Loss& l) {
  if (l.both) return fmt::format("{} and {} claim the same overlay address or pod range: neither is routed; give one of them another (edgemeshctl ca issue)", name, l.to);
  return fmt::format("the MeshNode of {} names addresses that the certificate of {} gives to {}: it is not routed; correct it", name, l.to, l.to);
}

}  // namespace

struct MeshNode::Claim {
  base::Cidr prefix;
  Record* who = nullptr;  // null: this node itself
  bool certified = false;
};

std::vector<base::Cidr> MeshNode::Record::certified() const {
  std::vector<base::Cidr> out;
  if (!machine.identity()) return out;
  for (const auto& ip : machine.identity()->overlay_ips) out.push_back(base::Cidr::host(ip));
  if (mesh.config_.native)
    for (const auto& c : machine.identity()->pod_cidrs) out.push_back(c);
  return out;
}

std::vector<base::Cidr> MeshNode::Record::hinted_prefixes() const {
  std::vector<base::Cidr> out;
  for (const auto& ip : hint.overlay_ips) out.push_back(base::Cidr::host(ip));
  if (mesh.config_.native) out.insert(out.end(), hint.pod_cidrs.begin(), hint.pod_cidrs.end());
  return out;
}

std::vector<MeshNode::Claim> MeshNode::claims() const {
  std::vector<Claim> out;
  for (const auto& ip : config_.node.identity.overlay_ips) out.push_back({base::Cidr::host(ip), nullptr, true});
  for (const auto& [name, r] : peers_) {
    if (r->machine.is_denied()) continue;
    bool certified = r->machine.identity().has_value();
    for (const auto& c : certified ? r->certified() : r->hinted_prefixes()) out.push_back({c, r.get(), certified});
  }
  std::sort(out.begin(), out.end(), [](const Claim& a, const Claim& b) { return a.prefix < b.prefix; });
  return out;
}

void MeshNode::settle_routes() {
  std::vector<Claim> all = claims();
  std::map<Record*, Loss> lost;
  auto clash = [&](const Claim& a, const Claim& b) {
    if (a.who == b.who) return;
    const std::string &own = config_.node.identity.name, &an = a.who ? a.who->machine.name() : own, &bn = b.who ? b.who->machine.name() : own;
    bool both = a.certified == b.certified;
    if (a.who && (both || !a.certified)) lost.try_emplace(a.who, Loss{bn, both});
    if (b.who && (both || !b.certified)) lost.try_emplace(b.who, Loss{an, both});
  };
  // Sorted prefixes nest or are disjoint: those that contain the present one are on the stack.
  std::vector<const Claim*> around;
  for (const Claim& c : all) {
    while (!around.empty() && !around.back()->prefix.contains(c.prefix)) around.pop_back();
    for (const Claim* outer : around) clash(*outer, c);
    around.push_back(&c);
  }
  std::set<std::pair<std::string, std::string>> told;  // one line for a pair
  for (auto& [name, r] : peers_) {
    auto it = lost.find(r.get());
    bool conflict = it != lost.end();
    std::string why = conflict ? reason(name, it->second) : "";
    if (conflict && why != r->conflict_why) {
      if (told.insert(std::minmax(name, it->second.to)).second) EM_LOG(error, "tunnel", "{}", why);
      r->machine.note_error(why);
      if (std::exchange(r->told_up, false)) {
        r->exports.peer_forgot(loop_.now());
        if (hooks_.on_peer) hooks_.on_peer(name, false, r->certified());
      }
    }
    r->conflict_why = std::move(why);
    r->conflict = conflict;
    std::vector<base::Cidr> inner;
    if (!conflict && !r->machine.is_denied()) inner = r->machine.identity() ? r->certified() : r->hinted_prefixes();
    if (inner == r->inner) continue;
    r->inner = std::move(inner);
    push_route(*r);
  }
}

void MeshNode::push_route(Record& r) {
  if (!data_) return;
  PeerRoute route{r.machine.name(), r.inner, r.conflict ? nullptr : r.tx_keys, r.path, r.inner_mtu, r.stream};
  data_->set_peer(r.id, std::move(route));
}

}  // namespace tunnel
