#include "edgemesh/intercept/frontends.h"

#include <algorithm>

#include "edgemesh/intercept/policy_chains.h"
#include "edgemesh/intercept/skeleton.h"

namespace edgemesh::detail {

using base::ByteVec;
using base::Code;
using base::Family;
using base::IpAddr;
using base::nft::Batch;
using base::nft::Element;
using base::nft::Key;

namespace {

constexpr size_t kTimeoutsMax = 64;  // distinct affinity timeouts; more share the nearest

Family family(const FrontendKey& k) { return k.ip.family(); }

std::vector<lb::Candidate> candidates(const Frontend& f) {
  std::vector<lb::Candidate> out;
  for (const Backend& b : f.backends) out.push_back({{b.ip, b.port}, b.weight});
  std::ranges::sort(out);
  return out;
}

lb::SlotTable slots_of(const Frontend& f, const std::vector<lb::Candidate>& c, uint32_t have) {
  if (f.mode != Frontend::Mode::balance) return {};
  bool hash = f.policy == Frontend::Policy::source_hash && !f.affinity;
  return lb::assign_slots(c, hash ? lb::SlotUse::hash : lb::SlotUse::rotate, have);
}

Key dest(const FrontendKey& k) {
  Key key;
  key.addr(k.ip).proto(k.proto).port(k.port);
  return key;
}

// The key of the set that decides "ours": node ports have no address in it.
ByteVec owner_key(const FrontendKey& k) { return k.node_port ? Key().proto(k.proto).port(k.port).take() : dest(k).take(); }
std::string owner_set(const FrontendKey& k) { return fam(k.node_port ? "np" : "svc", family(k)); }
std::string none_set(const FrontendKey& k) { return fam(k.node_port ? "nonenp" : "none", family(k)); }

bool rotates(const Frontend& f, uint32_t modulus) {
  return modulus > 1 && f.policy == Frontend::Policy::round_robin && !f.affinity && f.mode == Frontend::Mode::balance;
}

bool is_plain(const Frontend& f) { return f.mode == Frontend::Mode::balance && !f.affinity; }

// A number per endpoint that is the same whatever other endpoints there are (but for hash collisions).
std::vector<uint32_t> endpoint_ids(const std::vector<lb::Candidate>& list) {
  std::vector<uint32_t> out;
  std::set<uint32_t> taken;
  for (const auto& c : list) {
    auto id = uint32_t(std::hash<base::IpPort>()(c.addr));
    while (!id || !taken.insert(id).second) ++id;
    out.push_back(id);
  }
  return out;
}

// Elements of `from` that `to` lacks. Both are short or positional (slots).
std::vector<Element> minus(const std::vector<Element>& from, const std::vector<Element>& to) {
  std::vector<Element> out;
  for (size_t i = 0; i < from.size(); ++i)
    if (i >= to.size() || from[i] != to[i]) out.push_back(from[i]);
  return out;
}

}  // namespace

struct Frontends::Shape {
  std::string chain, slot_map;
  uint32_t modulus = 0;
  size_t left_out = 0;
  bool none = false;
  std::vector<Element> owner, slots, slot_ids, endpoints;  // the last two: affinity
};


Frontends::Shape Frontends::shape(const FrontendKey& k, const Programmed& p) const {
  Shape s;
  const Frontend& f = p.frontend;
  if (f.mode == Frontend::Mode::hold) {  // a node port's packets are not rewritten: they could be another program's
    if (k.node_port) return s;
    s.chain = chain_name({family(k), false, f, 0, -1, 0});
    s.owner.push_back({.key = owner_key(k), .data = {}, .goto_chain = s.chain});
    return s;
  }
  auto c = candidates(f);
  auto table = slots_of(f, c, p.modulus);
  s.modulus = p.modulus;
  s.left_out = table.left_out;
  s.none = f.mode == Frontend::Mode::balance && !table.modulus;
  if (s.none && !p.modulus) return s;
  s.chain = chain_name({family(k), k.node_port, f, p.modulus, p.counter, p.affinity_s});
  s.owner.push_back({.key = owner_key(k), .data = {}, .goto_chain = s.chain});
  s.slot_map = slot_map(family(k), p.counter);
  for (size_t i = 0; i < table.slots.size(); ++i) {
    const auto& to = c[table.slots[i]].addr;
    s.slots.push_back({.key = dest(k).number(uint32_t(i)).take(), .data = Key().addr(to.ip).port(to.port).take(), .goto_chain = {}});
  }
  if (!f.affinity || f.mode != Frontend::Mode::balance) return s;
  auto ids = endpoint_ids(c);
  for (size_t i = 0; i < table.slots.size(); ++i)
    s.slot_ids.push_back({.key = dest(k).number(uint32_t(i)).take(), .data = Key().number(ids[table.slots[i]]).take(), .goto_chain = {}});
  for (size_t i = 0; i < c.size(); ++i)
    if (c[i].weight) s.endpoints.push_back({.key = dest(k).number(ids[i]).take(), .data = Key().addr(c[i].addr.ip).port(c[i].addr.port).take(), .goto_chain = {}});
  return s;
}

base::Result<void> Frontends::check(const FrontendKey& k, const Frontend& f) const {
  auto where = [&] { return base::IpPort{k.ip, k.port}.str() + "/" + to_string(k.proto); };
  if (!k.port) return base::fail(Code::invalid, "frontend {}: port 0", where());
  if (k.ip.is_any() != k.node_port) return base::fail(Code::invalid, "frontend {}: the any-address is for node ports, and only for them", where());
  for (const Backend& b : f.backends)
    if (b.ip.family() != k.ip.family()) return base::fail(Code::invalid, "frontend {}: backend {} is of the other family", where(), b.ip.str());
  if (f.mode == Frontend::Mode::proxy && (k.proto != base::Proto::tcp || !config_.proxy_port || !own(config_.service_ips, k.ip.family())))
    return base::fail(Code::invalid, "frontend {}: the proxy serves TCP on a service address of the same family, and there is none", where());
  return {};
}

// Decides counter and timeout; keeps what the frontend has.
Frontends::Programmed Frontends::place(const Frontend& f, const Programmed* before, Plan& plan) const {
  Programmed p{f, -1, 0};
  std::ranges::sort(p.frontend.backends);
  auto dup = std::ranges::unique(p.frontend.backends, [](auto& a, auto& b) { return a.ip == b.ip && a.port == b.port; });
  p.frontend.backends.erase(dup.begin(), dup.end());
  if (f.affinity) {
    p.affinity_s = uint32_t(std::clamp<int64_t>(f.affinity->count(), 1, 7 * 86400));
    if (plan.timeouts.size() >= kTimeoutsMax && !plan.timeouts.contains(p.affinity_s)) {
      auto it = plan.timeouts.lower_bound(p.affinity_s);
      p.affinity_s = it != plan.timeouts.end() ? *it : *plan.timeouts.rbegin();
    }
    plan.timeouts.insert(p.affinity_s);
  }
  p.modulus = slots_of(p.frontend, candidates(p.frontend), before ? before->modulus : 0).modulus;
  if (!p.modulus && before && is_plain(f) && is_plain(before->frontend) && f.policy == before->frontend.policy) p.modulus = before->modulus;
  if (!rotates(p.frontend, p.modulus)) return p;
  bool keeps = before && before->counter >= 0;
  p.counter = keeps ? before->counter : int(std::ranges::min_element(plan.counters) - plan.counters.begin());
  ++plan.counters[size_t(p.counter)];
  return p;
}

void Frontends::ensure_chain(const FrontendKey& k, const Programmed& p, const std::string& chain, uint32_t modulus, Plan& plan,
                             Batch& b) const {
  if (chain.empty() || chains_.contains(chain) || !plan.new_chains.insert(chain).second) return;
  b.add_chain(chain);
  add_policy_rules(b, chain, {family(k), k.node_port, p.frontend, modulus, p.counter, p.affinity_s}, config_);
}

base::Result<Frontends::Plan> Frontends::plan(const std::vector<FrontendChange>& changes, Batch& b) const {
  std::map<FrontendKey, const std::optional<Frontend>*> last;  // a key named twice: the later one counts
  for (const FrontendChange& c : changes) last[c.key] = &c.frontend;
  Plan plan;
  plan.counters = counters_;
  plan.timeouts = timeouts_;
  for (auto& [key, want] : last) {
    const auto before = find(key);
    if (!*want && !before) continue;
    if (*want) EM_TRY(check(key, **want));
    if (before && before->counter >= 0) --plan.counters[size_t(before->counter)];
    std::optional<Programmed> after;
    if (*want) after = place(**want, before ? &*before : nullptr, plan);
    if (before && after && before->frontend == after->frontend) {
      continue;
    }
    Shape was = before ? shape(key, *before) : Shape{}, is = after ? shape(key, *after) : Shape{};
    if (after) ensure_chain(key, *after, is.chain, is.modulus, plan, b);
    plan.left_out += is.left_out;
    Family f = family(key);
    auto change = [&](const std::string& set, const std::vector<Element>& old_list, const std::vector<Element>& new_list) {
      if (auto gone = minus(old_list, new_list); !gone.empty()) b.delete_elements(set, gone);
      if (auto come = minus(new_list, old_list); !come.empty()) b.add_elements(set, come);
    };
    auto none_of = [&](const Shape& s) { return s.none ? std::vector<Element>{{.key = owner_key(key), .data = {}, .goto_chain = {}}} : std::vector<Element>{}; };
    change(owner_set(key), was.owner, is.owner);
    const bool same_map = was.slot_map == is.slot_map;
    change(was.slot_map, was.slots, same_map ? is.slots : std::vector<Element>());
    if (!same_map) change(is.slot_map, {}, is.slots);
    change(fam("slotid", f), was.slot_ids, is.slot_ids);
    change(fam("endpoint", f), was.endpoints, is.endpoints);
    change(none_set(key), none_of(was), none_of(is));
    if (!key.node_port) plan.vips[key.ip] += int(bool(after)) - int(bool(before));
    if (before) for (auto& x : before->frontend.backends) plan.selves[x.ip] -= int(x.here);
    if (after) for (auto& x : after->frontend.backends) plan.selves[x.ip] += int(x.here);
    plan.changes[key] = after ? std::optional(Kept{pack(after->frontend), after->counter, after->affinity_s, after->modulus}) : std::nullopt;
  }
  auto counted = [&](const char* set, const AddressCounts& have, const std::map<IpAddr, int>& delta, bool pair) {
    for (auto& [ip, d] : delta) {
      const int old_n = have.of(ip);
      Key key;
      key.addr(ip);
      if (pair) key.addr(ip);
      std::vector<Element> one{{.key = key.take(), .data = {}, .goto_chain = {}}};
      if (old_n > 0 && old_n + d == 0) b.delete_elements(fam(set, ip.family()), one);
      if (old_n == 0 && d > 0) b.add_elements(fam(set, ip.family()), one);
    }
  };
  counted("vip", vips_, plan.vips, false);
  counted("self", selves_, plan.selves, true);
  return plan;
}

Frontends::VipChange Frontends::commit(Plan&& plan) {
  VipChange out;
  for (auto& [key, p] : plan.changes) {
    if (p) now_.insert_or_assign(key, std::move(*p));
    else now_.erase(key);
  }
  for (auto& [ip, d] : plan.vips) {
    const int n = vips_.of(ip);
    if (n == 0 && d > 0) out.added.push_back(ip);
    if (n > 0 && n + d == 0) out.removed.push_back(ip);
  }
  vips_.add(plan.vips);
  selves_.add(plan.selves);
  counters_ = plan.counters;
  chains_.merge(plan.new_chains);
  timeouts_ = std::move(plan.timeouts);
  return out;
}

void Frontends::clear() {
  now_.clear();
  vips_ = selves_ = {};
  counters_ = {};
  chains_.clear();
  timeouts_.clear();
}

std::optional<Frontends::Programmed> Frontends::find(const FrontendKey& k) const {
  auto it = now_.find(k);
  if (it == now_.end()) return std::nullopt;
  const Kept& kept = it->second;
  return Programmed{unpack(kept.frontend), kept.counter, kept.affinity_s, kept.modulus};
}

size_t Frontends::shared_round_robin() const {
  size_t n = 0;
  for (int users : counters_) n += users > 1 ? size_t(users) : 0;
  return n;
}

std::vector<IpAddr> Frontends::vips() const { return vips_.all(); }

}  // namespace edgemesh::detail
