#include "edgemesh/discovery/discovery.h"

#include <algorithm>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "edgemesh/intercept/packed_frontend.h"

namespace edgemesh {

using base::Family;
using base::IpPort;
using base::Proto;
using base::Result;
using base::kube::Endpoint;
using base::kube::LbRule;
using base::kube::ObjectName;
using base::kube::Service;
using base::kube::ServicePort;
using namespace std::chrono_literals;

static constexpr auto kExpireEvery = 30s;
static constexpr auto kBackoffMax = 60s;
static constexpr size_t kFirstPiece = 512;  // frontends: the kernel takes them in the time it takes to make the next

Discovery::Discovery(Config config, Hooks hooks, base::Loop& loop, base::Metrics& metrics)
    : config_(std::move(config)),
      hooks_(std::move(hooks)),
      loop_(loop),
      started_(loop.now()),
      flush_timer_(loop.timer([this] { flush(); })),
      expire_timer_(loop.timer([this] { expire(); })),
      apply_failures_(metrics.counter("edgemeshd_intercept_failures_total", "Batches of kernel changes that were refused.")),
      frontends_gauge_(metrics.gauge("edgemeshd_frontends", "Service addresses and ports programmed into the kernel.")) {
  metrics.gauge_fn("edgemeshd_services_of_interest", "Services this node has used in the last hour.", {}, [this] { return int64_t(interest_.size()); });
  metrics.gauge_fn("edgemeshd_exports_granted", "Remote endpoints reachable through an export.", {}, [this] {
    return std::count_if(remotes_.begin(), remotes_.end(), [](const auto& r) { return r.second.state == State::granted; });
  });
  expire_timer_->arm(kExpireEvery);
}

// ---- what changed

void Discovery::set_table(const base::kube::ServiceTablePtr& table, const base::kube::ServiceDiff& diff) {
  if (!table_ || !settled_) flush_timer_->arm(0s);  // also a table without services is one: it replaces what a predecessor left
  table_ = table;
  for (const ObjectName& n : diff.changed) mark_dirty(n);
  for (const ObjectName& n : diff.removed) mark_dirty(n);
  if (diff.nodes_changed) mark_all_dirty();
}

void Discovery::interest(const ObjectName& name) {
  if (!table_) return;
  auto service = table_->find(name);
  if (!service || !is_ours(*service)) return;
  interest_[name] = loop_.now();
  ask_all(*service);
}

void Discovery::on_peer(const std::string& peer, bool up) {
  for (auto& [key, remote] : remotes_)
    if (key.first == peer && up && remote.state == State::failed) remote.retry_at = loop_.now();
  if (!table_) return;
  for (auto& [name, since] : interest_)
    if (auto s = table_->find(name)) {
      if (up) ask_all(*s);
      mark_dirty(name);
    }
  if (config_.tiers.native) mark_all_dirty();
}

void Discovery::on_grant_withdrawn(const std::string& peer, const tunnel::ExportRequest& what) {
  RemoteKey key{peer, what};
  if (!remotes_.count(key)) return;
  forget_remote(key);
  for (auto& [name, since] : interest_)
    if (name.str() == what.service) {
      mark_dirty(name);
      if (auto s = table_->find(name)) ask_all(*s);
    }
}

void Discovery::set_through_daemon(bool on) {
  if (std::exchange(through_daemon_, on) == on || !table_) return;
  mark_all_dirty();
}

// The proxy and the relay choose among the endpoints; one without any is refused by the kernel as before.
void Discovery::lead_to_daemon(const FrontendKey& key, Frontend& f) const {
  const base::IpAddr* daemon = proxy_ip(key.ip.family());
  if (!daemon || (f.mode == Frontend::Mode::balance && f.backends.empty())) return;
  f = {};
  f.policy = Frontend::Policy::random;
  f.backends.push_back({*daemon, config_.proxy_port});
}

void Discovery::mark_all_dirty() {
  table_->each_id([&](const ObjectName& n, Service::Kind) { mark_dirty(n); });
}

void Discovery::mark_dirty(const ObjectName& n) {
  dirty_.insert(n);
  if (!flush_timer_->armed()) flush_timer_->arm(0s);
}

// ---- to the kernel

bool Discovery::is_settled() {
  if (settled_) return true;
  if (!table_) return false;
  const auto late = started_ + config_.settle_max;
  if (table_->synced() || loop_.now() >= late) return true;
  flush_timer_->arm(late - loop_.now());
  return false;
}

// nullptr: nobody's.
void Discovery::own(const FrontendKey& key, const ObjectName* name) {
  auto it = owners_.find(key);
  undo_.owners.push_back({key, it == owners_.end() ? std::nullopt : std::optional(*it->second)});
  set_owner(key, name);
}

void Discovery::set_owner(const FrontendKey& key, const ObjectName* name) {
  size_t before = owners_.size();
  if (name) owners_[key] = name;
  else owners_.erase(key);
  if (key.proto == Proto::udp) udp_frontends_[key.ip.is_v6()] += owners_.size() - before;  // one more, one less or none
}

void Discovery::take_back(Undo&& undo) {
  for (auto& [name, p] : undo.programmed) {
    if (p) programmed_[name] = std::move(*p);
    else programmed_.erase(name);
  }
  for (auto it = undo.owners.rbegin(); it != undo.owners.rend(); ++it) {
    set_owner(it->first, it->second ? &programmed_.find(*it->second)->first : nullptr);
  }
}

// A batch is all or nothing: after a refusal the kernel still has what it had, and so have we.
void Discovery::flush() {
  flush_timer_->cancel();
  if (!is_settled()) return;
  auto dirty = std::exchange(dirty_, {});
  undo_ = {};
  std::vector<const ObjectName*> order;
  for (const ObjectName& n : dirty) order.push_back(&n);
  std::ranges::stable_partition(order, [&](const ObjectName* n) { return !table_->has(*n); });  // what goes first: a new service may have its address
  size_t at = 0, changed = 0;
  std::vector<FrontendKey> ready;
  auto next = [&](size_t most) {
    std::vector<FrontendChange> piece;
    while (at < order.size() && piece.size() < most) rebuild(*order[at++], piece);
    changed += piece.size();
    for (const FrontendChange& c : piece)
      if (c.frontend && c.frontend->mode == Frontend::Mode::balance && !c.frontend->backends.empty() && c.key.proto == Proto::udp) ready.push_back(c.key);
    return piece;
  };
  Result<void> done;
  if (!settled_ && hooks_.apply_first) done = hooks_.apply_first([&] { return next(kFirstPiece); });
  else if (auto all = next(SIZE_MAX); !all.empty() || !settled_) done = hooks_.apply(all);
  auto undo = std::exchange(undo_, {});
  if (!done) {
    apply_failures_.add();
    EM_LOG(error, "mesh", "the kernel refused a change of {} frontends: {}; trying again in 1 s", changed, done.error().what);
    take_back(std::move(undo));
    dirty_.merge(dirty);
    flush_timer_->arm(1s);
    return;
  }
  settled_ = true;
  frontends_gauge_.set(int64_t(owners_.size()));
  for (const FrontendKey& key : ready) hooks_.on_ready(key);
  tell_programmed(dirty);
}

void Discovery::tell_programmed(const std::set<ObjectName>& names) const {
  if (!hooks_.on_programmed) return;
  for (const ObjectName& n : names) hooks_.on_programmed(n);
}

void Discovery::rebuild(const ObjectName& name, std::vector<FrontendChange>& changes) {
  auto service = table_ ? table_->find(name) : nullptr;
  std::map<FrontendKey, Frontend> want;
  if (service && is_ours(*service)) want = frontends_of(*service);
  else interest_.erase(name);
  if (through_daemon_)
    for (auto& [key, frontend] : want) lead_to_daemon(key, frontend);

  if (remotes_of_.contains(name.str())) {
    std::set<RemoteKey> keep;
    if (service)
      for (const ServicePort& p : service->ports)
        for (const Endpoint& e : p.endpoints) keep.insert({e.node, request_of(name, p.proto, e)});
    drop_remotes_of(name, keep);
  }

  const auto at = programmed_.try_emplace(name).first;
  const Programmed before = at->second;
  undo_.programmed.emplace(name, before.empty() ? std::nullopt : std::optional(before));
  for (const Entry& e : before) {
    if (want.contains(e.key)) continue;
    changes.push_back({e.key, std::nullopt});
    own(e.key, nullptr);
  }
  Programmed now;
  for (auto& [key, frontend] : want) {
    auto owner = owners_.find(key);
    if (owner != owners_.end() && *owner->second != name) {
      EM_LOG(warn, "mesh", "service {} claims {}:{}/{}, which {} already has: the first keeps it", name.str(), key.ip.str(), key.port,
             to_string(key.proto), owner->second->str());
      continue;
    }
    const auto had = std::ranges::find(before, key, &Entry::key);
    Entry e{key, detail::pack(frontend)};
    if (had != before.end() && had->frontend.view() == e.frontend.view()) {
      now.push_back(*had);
      continue;
    }
    now.push_back(std::move(e));
    own(key, &at->first);
    changes.push_back({key, std::move(frontend)});
  }
  now.shrink_to_fit();
  at->second = std::move(now);
  if (at->second.empty()) programmed_.erase(at);
}

// Headless services have no frontend of their own, but their remote endpoints need one each.
bool Discovery::is_ours(const Service& s) const { return s.kind == Service::Kind::headless || config_.is_proxied(s); }

// Another node's only where the cluster knows that node and ours by name: a daemon that was given a wrong name may not take its own
// pods for somebody else's.
bool Discovery::maybe_here(const Endpoint& e) const {
  const auto& nodes = table_->nodes();
  return e.node == config_.tiers.own_node || !nodes.contains(e.node) || !nodes.contains(config_.tiers.own_node);
}

bool Discovery::through_mesh(const Endpoint& e) const { return choose_tier(e, *table_, config_.tiers).tier == Tier::proxy; }

std::map<FrontendKey, Frontend> Discovery::headless_frontends(const Service& s) {
  std::map<FrontendKey, Frontend> out;
  for (const ServicePort& p : s.ports)
    for (const Endpoint& e : p.endpoints) {
      if (!e.port || !through_mesh(e)) continue;
      Frontend f;
      bool unknown_udp = false;
      add_backend(f, s, p, e, unknown_udp);
      if (f.backends.empty() && unknown_udp) f.mode = Frontend::Mode::hold;
      out[{synthetic_.of(e.node, e.ip), p.proto, e.port}] = std::move(f);
    }
  return out;
}

std::vector<base::IpAddr> Discovery::addresses_for(const Service&, const Endpoint& e) {
  return {table_ && through_mesh(e) ? synthetic_.of(e.node, e.ip) : e.ip};
}

std::map<FrontendKey, Frontend> Discovery::frontends_of(const Service& s) {
  std::map<FrontendKey, Frontend> out;
  if (s.kind == Service::Kind::headless) return headless_frontends(s);
  if (s.kind != Service::Kind::cluster_ip) return out;
  for (const ServicePort& p : s.ports) {
    for (const auto* ips : {&s.cluster_ips, &s.external_ips, &s.lb_ips})
      for (const base::IpAddr& ip : *ips) out[{ip, p.proto, p.port}] = frontend_for(s, p, ip.family());
    if (config_.node_ports && p.node_port)
      for (const base::IpAddr& ip : s.cluster_ips) {
        base::IpAddr any = ip.is_v4() ? base::IpAddr() : *base::IpAddr::parse("::");
        out[{any, p.proto, p.node_port, true}] = frontend_for(s, p, ip.family());
      }
  }
  return out;
}

static Frontend::Policy policy_of(const LbRule& rule) {
  switch (rule.kind) {
    case LbRule::Kind::random:
    case LbRule::Kind::least_request: return Frontend::Policy::random;
    case LbRule::Kind::hash_source_ip: return Frontend::Policy::source_hash;
    default: return Frontend::Policy::round_robin;
  }
}

Frontend Discovery::frontend_for(const Service& s, const ServicePort& p, Family family) {
  Frontend f;
  f.policy = policy_of(s.rule);
  f.affinity = s.client_ip_affinity;
  bool unknown_udp = false;
  auto usable = p.usable(family);
  auto shares = shares_of(s, p, usable);  // empty: all alike
  for (size_t i = 0; i < usable.size(); ++i) {
    if (shares.empty()) {
      add_backend(f, s, p, *usable[i], unknown_udp);
    } else if (shares[i]) {
      Endpoint part = *usable[i];
      part.weight *= shares[i];
      add_backend(f, s, p, part, unknown_udp);
    }
  }
  if (f.backends.empty() && unknown_udp) f.mode = Frontend::Mode::hold;
  else if (unknown_udp && !interest_.count(s.id)) interest(s.id);  // no datagram would ever ask: the kernel serves it from the others
  return f;
}

const base::IpAddr* Discovery::proxy_ip(Family family) const {
  for (const auto& ip : config_.service_ips)
    if (ip.family() == family) return &ip;
  return nullptr;
}

void Discovery::add_backend(Frontend& f, const Service& s, const ServicePort& p, const Endpoint& e, bool& unknown_udp) {
  if (f.backends.size() >= base::limits::kEndpointsPerPortMax) return;
  auto add = [&](const base::IpAddr& ip, uint16_t port, uint32_t weight, bool here = false) {
    for (Backend& b : f.backends)
      if (b.ip == ip && b.port == port) {
        b.weight += weight;
        b.here |= here;
        return;
      }
    f.backends.push_back({ip, port, weight, here});
  };
  if (!through_mesh(e)) return add(e.ip, e.port, e.weight, maybe_here(e));

  RemoteKey key{e.node, request_of(s.id, p.proto, e)};
  auto remote = remotes_.find(key);
  if (remote != remotes_.end() && remote->second.state == State::granted) return add(remote->second.grant.at.ip, remote->second.grant.at.port, e.weight);
  if (p.proto == Proto::udp) {
    unknown_udp = true;
    return;
  }
  // A peer that refused or cannot be reached gets no share of new connections while another endpoint answers.
  if (remote != remotes_.end() && remote->second.state == State::failed && !f.backends.empty()) return;
  if (const base::IpAddr* proxy = proxy_ip(e.ip.family())) add(*proxy, config_.proxy_port, e.weight);
}

// ---- exports

tunnel::ExportRequest Discovery::request_of(const ObjectName& service, Proto proto, const Endpoint& e) {
  return {service.str(), proto, IpPort{e.ip, e.port}};
}

void Discovery::ask_all(const Service& s) {
  for (const ServicePort& p : s.ports)
    for (const Endpoint& e : p.endpoints)
      if ((e.ready || e.serving) && through_mesh(e)) ask({e.node, request_of(s.id, p.proto, e)}, s.id);
}

void Discovery::ask(const RemoteKey& key, const ObjectName& service) {
  auto [at, fresh] = remotes_.try_emplace(key);
  if (fresh) ++remotes_of_[key.second.service];
  Remote& r = at->second;
  if (r.state == State::asking || r.state == State::granted) return;
  if (r.state == State::failed && loop_.now() < r.retry_at) return;
  r.state = State::asking;
  hooks_.request_export(key.first, key.second,
                        [this, key, service](Result<tunnel::ExportGrant> answer) { on_answer(key, service, std::move(answer)); });
}

void Discovery::on_answer(const RemoteKey& key, const ObjectName& service, Result<tunnel::ExportGrant> answer) {
  auto it = remotes_.find(key);
  if (it == remotes_.end()) {  // no longer wanted
    if (answer) hooks_.release_export(key.first, key.second);
    return;
  }
  Remote& r = it->second;
  auto waiting = std::exchange(r.waiting, {});
  Result<IpPort> outcome;
  if (answer) {
    r.state = State::granted;
    r.grant = *answer;
    r.backoff = 1s;
    outcome = answer->at;
    if (auto ok = hooks_.apply_granted({{answer->at.ip, key.second.proto, answer->at.port}}, {}); !ok)
      EM_LOG(error, "mesh", "the kernel refused the way to {} on {}: {}", key.second.endpoint.str(), key.first, ok.error().what);
  } else {
    r.state = State::failed;
    r.error = answer.error().what;
    r.retry_at = loop_.now() + r.backoff;
    r.backoff = std::min<std::chrono::seconds>(r.backoff * 2, kBackoffMax);
    outcome = base::fail_in("node " + key.first, answer.error());
    EM_LOG(warn, "mesh", "{}: no way to endpoint {} on node {}: {}", service.str(), key.second.endpoint.str(), key.first, r.error);
  }
  mark_dirty(service);
  arm_next_look();
  for (auto& w : waiting) w(outcome);
}

// Interest is looked through every 30 s, and as soon as a failed export may be asked for again: a peer that has not yet seen the
// object that names its endpoint has it a moment later.
void Discovery::arm_next_look() {
  base::Instant next = loop_.now() + kExpireEvery;
  for (const auto& [key, r] : remotes_)
    if (r.state == State::failed) next = std::min(next, r.retry_at);
  expire_timer_->arm(std::max<base::Duration>(next - loop_.now(), 100ms));
}

void Discovery::forget_remote(const RemoteKey& key) {
  auto it = remotes_.find(key);
  if (it == remotes_.end()) return;
  Remote gone = std::move(it->second);
  remotes_.erase(it);
  if (--remotes_of_[key.second.service] == 0) remotes_of_.erase(key.second.service);
  if (gone.state == State::granted) {
    if (auto r = hooks_.apply_granted({}, {{gone.grant.at.ip, key.second.proto, gone.grant.at.port}}); !r)
      EM_LOG(error, "mesh", "the kernel refused to close the way to {}: {}", key.second.endpoint.str(), r.error().what);
    hooks_.release_export(key.first, key.second);
  }
  for (auto& w : gone.waiting) w(base::fail(base::Code::unavailable, "endpoint {} is gone", key.second.endpoint.str()));
}

void Discovery::drop_remotes_of(const ObjectName& service, const std::set<RemoteKey>& keep) {
  const std::string name = service.str();
  if (!remotes_of_.contains(name)) return;
  std::vector<RemoteKey> gone;
  for (const auto& [key, r] : remotes_)
    if (key.second.service == name && !keep.count(key)) gone.push_back(key);
  for (const RemoteKey& k : gone) forget_remote(k);
}

void Discovery::expire() {
  base::Instant now = loop_.now();
  for (auto it = interest_.begin(); it != interest_.end();) {
    auto service = table_ ? table_->find(it->first) : nullptr;
    if (service && now - it->second < config_.interest_life) {
      ask_all(*service);  // asks again where it failed and the back-off is over
      ++it;
      continue;
    }
    drop_remotes_of(it->first, {});
    mark_dirty(it->first);
    it = interest_.erase(it);
  }
  std::set<std::pair<std::string, base::IpAddr>> in_table;
  if (table_ && synthetic_.size())
    table_->each([&](const base::kube::ServicePtr& s) {
      for (const ServicePort& p : s->ports)
        for (const Endpoint& e : p.endpoints) in_table.insert({e.node, e.ip});
    });
  synthetic_.keep_only(in_table);
  arm_next_look();
}

// ---- the proxy's questions

std::optional<ObjectName> Discovery::owner(const FrontendKey& key) const {
  auto it = owners_.find(key);
  if (it != owners_.end()) return *it->second;
  FrontendKey any{key.ip.is_v4() ? base::IpAddr() : *base::IpAddr::parse("::"), key.proto, key.port, true};
  it = owners_.find(any);
  return it == owners_.end() ? std::nullopt : std::optional(*it->second);
}

// The endpoints behind a frontend: those of its service port, or the one a synthetic address stands for.
static std::vector<const Endpoint*> endpoints_behind(const Service& s, const FrontendKey& key, const SyntheticAddresses& synthetic) {
  const auto* one = synthetic.endpoint_at(key.ip);
  for (const ServicePort& p : s.ports) {
    if (p.proto != key.proto) continue;
    if (!one && (p.port == key.port || p.node_port == key.port)) return p.usable(key.ip.family());
    for (const Endpoint& e : p.endpoints)
      if (one && e.node == one->first && e.ip == one->second && e.port == key.port) return {&e};
  }
  return {};
}

std::vector<DialCandidate> Discovery::candidates(const IpPort& frontend, Proto proto, const base::IpAddr& client) {
  FrontendKey key{frontend.ip, proto, frontend.port};
  auto name = owner(key);
  auto service = name && table_ ? table_->find(*name) : nullptr;
  if (!service) return {};
  interest(*name);

  // The kernel sent this connection here for the share of endpoints it cannot reach yet: those come first.
  std::vector<DialCandidate> unknown, known;
  for (const Endpoint* e : endpoints_behind(*service, key, synthetic_)) {
    bool remote = through_mesh(*e);
    auto r = remote ? remotes_.find({e->node, request_of(*name, proto, *e)}) : remotes_.end();
    bool first = remote && (r == remotes_.end() || r->second.state == State::asking || r->second.state == State::unasked);
    (first ? unknown : known).push_back({*name, *e, proto});
  }
  bool sticky = service->client_ip_affinity || service->rule.kind == LbRule::Kind::hash_source_ip;
  auto rotate = [&](std::vector<DialCandidate>& v) {
    if (v.size() < 2) return;
    size_t start = sticky ? base::hash_bytes(client.bytes()) : turn_[*name]++;
    std::rotate(v.begin(), v.begin() + long(start % v.size()), v.end());
  };
  rotate(unknown);
  rotate(known);
  unknown.insert(unknown.end(), known.begin(), known.end());
  std::vector<DialCandidate> alive, dead;  // the dead are tried last
  for (DialCandidate& c : unknown) {
    const lb::Outlier* o = outlier(*service, proto, c.endpoint);
    (o && o->state == lb::Outlier::State::ejected ? dead : alive).push_back(std::move(c));
  }
  alive.insert(alive.end(), dead.begin(), dead.end());
  return alive;
}

void Discovery::resolve(const DialCandidate& c, std::function<void(Result<IpPort>)> done) {
  if (!table_ || !through_mesh(c.endpoint)) return done(IpPort{c.endpoint.ip, c.endpoint.port});
  RemoteKey key{c.endpoint.node, request_of(c.service, c.proto, c.endpoint)};
  ask(key, c.service);
  Remote& r = remotes_.at(key);
  if (r.state == State::granted) return done(r.grant.at);
  if (r.state == State::failed) return done(base::fail(base::Code::unavailable, "node {}: {}", key.first, r.error));
  r.waiting.push_back(std::move(done));
}

std::vector<ObjectName> Discovery::in_use() const {
  std::vector<ObjectName> out;
  for (const auto& [name, since] : interest_) out.push_back(name);
  return out;
}

// ---- explain

static std::string policy_text(const Service& s) {
  if (s.client_ip_affinity) return fmt::format("ClientIP affinity, {} s", s.client_ip_affinity->count());
  static const char* const names[] = {"round robin", "random", "least request (the kernel picks at random)", "source IP hash",
                                      "header hash",  "cookie hash", "query hash"};
  std::string text = names[int(s.rule.kind)];
  return s.rule.source.empty() ? text + " (default)" : text + " (" + s.rule.source + ")";
}

Explanation Discovery::explain(const ObjectName& name) const {
  Explanation x;
  x.service = name.str();
  auto s = table_ ? table_->find(name) : nullptr;
  if (!s) {
    x.note = "no such service";
    return x;
  }
  x.policy = policy_text(*s);
  if (s->kind == Service::Kind::headless) x.note = "headless: DNS answers with the endpoints, those behind the tunnel by addresses of this node's";
  else if (s->kind == Service::Kind::external_name) x.note = "ExternalName: DNS answers with an alias, nothing is intercepted";
  else if (!config_.is_proxied(*s)) x.note = "left alone by the filter label or by mesh.excludeServices";
  for (const ServicePort& p : s->ports) {
    std::string frontend;
    for (const auto* ips : {&s->cluster_ips, &s->external_ips, &s->lb_ips})
      for (const auto& ip : *ips) frontend += (frontend.empty() ? "" : " ") + IpPort{ip, p.port}.str() + "/" + to_string(p.proto);
    if (p.endpoints.empty()) x.rows.push_back({frontend, "-", "", "", "refuse", "", "no endpoints: connections are refused at once"});
    for (const Endpoint& e : p.endpoints) {
      ExplainRow row{frontend, IpPort{e.ip, e.port}.str(), e.node, e.pod};
      TierChoice choice = choose_tier(e, *table_, config_.tiers);
      row.tier = to_string(choice.tier);
      row.why = choice.why;
      row.dial = row.endpoint;
      if (choice.tier == Tier::proxy) {
        auto r = remotes_.find({e.node, request_of(name, p.proto, e)});
        row.dial = "-";
        if (r != remotes_.end() && r->second.state == State::granted) row.tier = "tunnel", row.dial = r->second.grant.at.str();
        else if (r != remotes_.end() && r->second.state == State::failed) row.why += "; last try: " + r->second.error;
        else row.why += "; first contact asks for an export";
      }
      row.health = health_words(*s, p, e);
      if (through_daemon_) row.why += "; carried by the daemon, because the kernel must not forward (see the note)";
      if (!e.ready) row.why += e.terminating ? " (terminating)" : " (not ready)";
      x.rows.push_back(std::move(row));
    }
  }
  return x;
}

}  // namespace edgemesh
