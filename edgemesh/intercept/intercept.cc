#include "edgemesh/intercept/intercept.h"

#include <algorithm>

#include "base/core/log.h"
#include "base/net/conntrack.h"
#include "base/net/netlink.h"
#include "edgemesh/intercept/batch_sender.h"
#include "edgemesh/intercept/closed_host.h"
#include "edgemesh/intercept/frontends.h"
#include "edgemesh/intercept/insist.h"
#include "edgemesh/intercept/mesh_routes.h"
#include "edgemesh/intercept/skeleton.h"

namespace edgemesh {

using base::Cidr;
using base::Code;
using base::Family;
using base::IpAddr;
using base::Result;
using base::nft::Batch;
using base::nft::Element;
using base::nft::Key;
using detail::fam;
using detail::kTable;

namespace {

constexpr uint32_t kHeaderBytes = 128;  // of an ICMP error: IP with options, ICMP, the IP header it is about, the ports
constexpr size_t kAffinityKeptMax = 16384;  // of a predecessor's, per family

Element element(Key&& key) { return {.key = key.take(), .data = {}, .goto_chain = {}}; }

Element export_element(const ExportRule& e) {
  Key key, data;
  key.addr(e.peer_overlay).proto(e.proto).port(e.port);
  data.addr(e.target.ip).port(e.target.port);
  return {.key = key.take(), .data = data.take(), .goto_chain = {}};
}

// An interval set cannot hold overlapping prefixes: what lies inside another one is left out.
std::vector<Cidr> without_nested(std::vector<Cidr> list) {
  std::ranges::sort(list);
  list.erase(std::ranges::unique(list).begin(), list.end());
  auto all = list;
  std::erase_if(list, [&](const Cidr& c) { return std::ranges::any_of(all, [&](const Cidr& o) { return o != c && o.contains(c); }); });
  return list;
}

std::vector<Element> name_elements(const std::set<std::string>& names, bool pair) {
  std::vector<Element> out;
  for (auto& n : names) {
    Key key;
    key.ifname(n);
    if (pair) key.ifname(n);
    out.push_back(element(std::move(key)));
  }
  return out;
}

Result<bool> table_stands() {
  EM_TRY_ASSIGN(auto all, base::nft::tables());
  return std::ranges::find(all, kTable) != all.end();
}

// Of a set that an earlier process may have laid out otherwise: elements whose keys are not ours are left out.
std::vector<Element> inherited(const std::string& set, size_t key_bytes) {
  auto all = base::nft::elements(kTable, set);
  if (!all) return {};
  std::erase_if(*all, [&](const Element& e) { return e.key.size() != key_bytes; });
  return std::move(*all);
}

// What a predecessor learned of clients, with the time each entry has left; the longest lasting where there are too many.
std::vector<Element> inherited_affinity(Family f) {
  Key key;
  const IpAddr any = f == Family::v4 ? IpAddr() : *IpAddr::parse("::");
  auto list = inherited(fam("affinity", f), key.addr(any).addr(any).proto({}).port(0).take().size());
  std::erase_if(list, [](const Element& e) { return e.data.size() != sizeof(uint32_t) || e.timeout.count() <= 0 || e.left.count() <= 0; });
  for (Element& e : list) e.timeout = std::max(e.timeout, e.left);  // the service's timeout was raised since: the kernel takes no more than the whole
  if (list.size() > kAffinityKeptMax) {
    std::ranges::nth_element(list, list.begin() + kAffinityKeptMax, std::ranges::greater(), &Element::left);
    list.resize(kAffinityKeptMax);
  }
  return list;
}

Element granted_element(const GrantedExport& g) { return element(std::move(Key().addr(g.overlay).proto(g.proto).port(g.port))); }

Result<void> delete_table() {
  Batch b(kTable);
  b.add_table();
  b.delete_table();
  return b.send();
}

class KernelIntercept final : public Intercept {
 public:
  KernelIntercept(InterceptConfig c, base::Metrics& m)
      : config_(std::move(c)), frontends_(config_), routes_(config_),
        applied_(m.counter("edgemeshd_intercept_changes_total", "Changes of the kernel's service maps that were accepted.")),
        refused_(m.counter("edgemeshd_intercept_refused_total", "Changes of the kernel's service maps that the kernel refused.")),
        left_out_(m.counter("edgemeshd_intercept_endpoints_left_out_total", "Endpoints beyond the bound of one service port.")),
        flows_cleared_(m.counter("edgemeshd_intercept_udp_flows_cleared_total", "UDP flows forgotten because their endpoint went.")),
        frontends_gauge_(m.gauge("edgemeshd_intercept_frontends", "Service addresses programmed in the kernel.")),
        shared_gauge_(m.gauge("edgemeshd_intercept_shared_round_robin", "Round-robin ports that share a counter with another one.")) {}

  Result<void> install();
  Result<void> apply(const std::vector<FrontendChange>&) override;
  Result<void> apply_first(const std::function<std::vector<FrontendChange>()>& next) override;
  Result<void> apply_exports(const std::vector<ExportRule>& add, const std::vector<ExportRule>& remove) override;
  Result<void> apply_granted(const std::vector<GrantedExport>& add, const std::vector<GrantedExport>& remove) override;
  Result<void> add_peer_routes(const std::vector<Cidr>& c) override { return let_go_ ? Result<void>() : routes_.add_peers(c); }
  Result<void> set_peer_mtu(const std::vector<Cidr>& c, uint16_t mtu) override { return let_go_ ? Result<void>() : routes_.set_mtu(c, mtu); }
  Result<void> remove_peer_routes(const std::vector<Cidr>& c) override { return let_go_ ? Result<void>() : routes_.remove_peers(c); }
  Result<void> set_native_peers(const std::vector<Cidr>&) override;
  Result<void> forget_udp_flow(const base::IpPort& client, const base::IpPort& frontend) override;
  Result<void> report_failures(uint16_t log_group) override;
  Result<void> refresh_links() override;
  Result<void> forget_predecessor() override;
  size_t shared_round_robin() const override { return frontends_.shared_round_robin(); }
  void let_go() override { let_go_ = true; }
  void remove() override;

 private:
  struct Served {  // what UDP flows to one frontend may keep
    bool node_port;
    bool hold;
    std::vector<base::IpPort> endpoints, before;
  };
  using ServedMap = std::map<std::pair<IpAddr, uint16_t>, Served>;
  using Fresh = std::set<base::IpPort>;  // TCP services that had no frontend before
  void begin(Batch&) const;
  Result<void> stand(Batch&);
  void add_links(Batch&) const;
  void add_report(Batch&) const;
  bool is_granted(const Element&) const;
  ServedMap udp_changes(const std::vector<FrontendChange>&) const;
  void clear_stale_udp(const ServedMap&);
  Fresh fresh_tcp(const std::vector<FrontendChange>&) const;
  static void clear_unserved_tcp(const Fresh&);
  void tell_metrics();

  InterceptConfig config_;
  detail::Frontends frontends_;
  detail::MeshRoutes routes_;
  detail::LinkFacts facts_;
  std::map<std::tuple<IpAddr, base::Proto, uint16_t>, ExportRule> exports_;
  std::set<GrantedExport> granted_;
  std::vector<Cidr> native_;
  std::optional<uint16_t> log_group_;
  bool let_go_ = false;
  bool predecessor_ = false;                                     // left a table, replaced by the first apply()
  bool stands_ = false;                                          // the table in the kernel is ours, not a predecessor's
  std::map<Family, std::vector<Element>> granted_before_;        // by peers to a predecessor
  base::Counter &applied_, &refused_, &left_out_, &flows_cleared_;
  base::Gauge &frontends_gauge_, &shared_gauge_;
};

// Rules before addresses and before the link is up: the guard stands when the first packet can pass.
Result<void> KernelIntercept::install() {
  if (auto l = base::netlink::link(config_.tun); !l)
    return base::fail(Code::not_found, "{} (the tunnel makes it; is /dev/net/tun there?)", l.error().what);
  config_.own_pod_cidrs = without_nested(config_.own_pod_cidrs);
  EM_TRY_ASSIGN(facts_, detail::look_at_links(config_.tun));
  EM_TRY_ASSIGN(predecessor_, table_stands());
  if (predecessor_) {
    for (Family f : {Family::v4, Family::v6})
      granted_before_[f] = inherited(fam("granted", f), granted_element({f == Family::v4 ? IpAddr() : *IpAddr::parse("::"), {}, 0}).key.size());
    return routes_.install(facts_);
  }
  EM_TRY(detail::MeshRoutes::remove_all(config_.tun));
  Batch b(kTable);
  begin(b);
  EM_TRY(stand(b));
  return routes_.install(facts_);
}

// Everything but the frontends, in place of whatever table there is.
void KernelIntercept::begin(Batch& b) const {
  detail::build_skeleton(b, config_);
  add_links(b);
  add_report(b);
  for (auto& [id, e] : exports_) b.add_elements(fam("exports", e.peer_overlay.family()), {export_element(e)});
  for (auto& g : granted_) b.add_elements(fam("granted", g.overlay.family()), {granted_element(g)});
  for (auto& [f, list] : granted_before_)
    for (auto& e : list)
      if (!is_granted(e)) b.add_elements(fam("granted", f), {e});
  if (predecessor_)
    for (Family f : {Family::v4, Family::v6}) b.add_elements(fam("affinity", f), inherited_affinity(f));
  for (auto& c : native_) b.add_elements(fam("native", c.ip.family()), base::nft::prefix_elements(c));
}

Result<void> KernelIntercept::stand(Batch& b) {
  EM_TRY(b.send());
  stands_ = true;
  return {};
}

void KernelIntercept::add_links(Batch& b) const {
  b.add_elements("uplinks", name_elements(facts_.uplinks, false));
  b.add_elements("hairpin", name_elements(facts_.hairpins, true));
}

bool KernelIntercept::is_granted(const Element& e) const {
  return std::ranges::any_of(granted_, [&](const GrantedExport& g) { return granted_element(g).key == e.key; });
}

Result<void> KernelIntercept::apply(const std::vector<FrontendChange>& changes) {
  if (let_go_) return {};
  Batch b(kTable);
  const bool first = !stands_;
  if (first) begin(b);
  EM_TRY_ASSIGN(auto plan, frontends_.plan(changes, b));
  if (auto r = b.empty() ? Result<void>() : stand(b); !r) {
    refused_.add();
    if (first && std::exchange(log_group_, std::nullopt)) return apply(changes);  // a kernel without nft_log
    if (first && std::exchange(predecessor_, false)) return apply(changes);       // what was learned must not stand in the way
    return r;
  }
  auto udp = udp_changes(changes);
  auto fresh = fresh_tcp(changes);
  left_out_.add(plan.left_out);
  auto vips = frontends_.commit(std::move(plan));
  tell_metrics();
  EM_TRY(routes_.remove_vips(vips.removed));
  EM_TRY(routes_.add_vips(vips.added));
  if (first) EM_TRY(routes_.remove_stale(detail::MeshRoutes::Stale::all_but_peers));
  clear_stale_udp(udp);
  clear_unserved_tcp(fresh);
  return {};
}

void KernelIntercept::tell_metrics() {
  applied_.add();
  frontends_gauge_.set(int64_t(frontends_.size()));
  shared_gauge_.set(int64_t(frontends_.shared_round_robin()));
}

Result<void> KernelIntercept::apply_first(const std::function<std::vector<FrontendChange>()>& next) {
  if (!stands_ || frontends_.size() || let_go_) {
    std::vector<FrontendChange> all;
    for (auto piece = next(); !piece.empty(); piece = next()) std::ranges::move(piece, std::back_inserter(all));
    return apply(all);
  }
  detail::BatchSender sender;
  std::vector<IpAddr> vips;
  ServedMap udp;
  Fresh fresh;
  Result<void> done;
  for (auto piece = next(); done && !piece.empty(); piece = next()) {
    Batch b(kTable);
    auto plan = frontends_.plan(piece, b);
    if (!plan) {
      done = tl::unexpected(plan.error());
      break;
    }
    sender.send(std::move(b));
    udp.merge(udp_changes(piece));
    fresh.merge(fresh_tcp(piece));
    left_out_.add(plan->left_out);
    auto added = frontends_.commit(std::move(*plan)).added;
    vips.insert(vips.end(), added.begin(), added.end());
  }
  if (done) done = routes_.add_vips(vips);  // while the kernel takes the last
  if (auto sent = sender.finish(); !sent) done = sent;
  if (!done) {
    refused_.add();
    frontends_.clear();
    stands_ = false;
    return done;
  }
  tell_metrics();
  clear_stale_udp(udp);
  clear_unserved_tcp(fresh);
  return {};
}

KernelIntercept::ServedMap KernelIntercept::udp_changes(const std::vector<FrontendChange>& changes) const {
  ServedMap out;
  for (auto& c : changes) {
    if (c.key.proto != base::Proto::udp) continue;
    Served s{c.key.node_port, c.frontend && c.frontend->mode == Frontend::Mode::hold, {}, {}};
    if (c.frontend)
      for (auto& e : c.frontend->backends)
        if (e.weight) s.endpoints.push_back({e.ip, e.port});
    if (auto old = frontends_.find(c.key))
      for (auto& e : old->frontend.backends) s.before.push_back({e.ip, e.port});
    out[{c.key.ip, c.key.port}] = std::move(s);
  }
  return out;
}

// A flow keeps its endpoint while that lives. Flows that were not rewritten at all (the frontend was empty, or on hold) are
// decided anew; with node ports those are other programs' and stay.
void KernelIntercept::clear_stale_udp(const ServedMap& changed) {
  if (changed.empty()) return;
  auto stale = [&](const base::conntrack::Entry& e) {
    auto has = [&](const std::vector<base::IpPort>& l) { return std::ranges::find(l, e.reply.src) != l.end(); };
    auto it = changed.find({e.orig.dst.ip, e.orig.dst.port});
    if (it != changed.end() && !it->second.hold && !has(it->second.endpoints)) return true;
    if (it != changed.end() && it->second.hold && has(it->second.before)) return true;
    static constexpr uint8_t zero[16] = {};
    it = changed.find({e.orig.dst.ip.is_v4() ? IpAddr::v4(zero) : IpAddr::v6(zero), e.orig.dst.port});
    return it != changed.end() && has(it->second.before) && !has(it->second.endpoints);
  };
  for (Family f : {Family::v4, Family::v6}) {
    if (std::ranges::none_of(changed, [&](auto& c) { return c.first.first.family() == f; })) continue;
    auto n = base::conntrack::erase_if(f, base::Proto::udp, stale);
    if (n) flows_cleared_.add(*n);
    else EM_LOG(warn, "intercept", "stale UDP flows may stay with an endpoint that is gone: {}", n.error().what);
  }
}

KernelIntercept::Fresh KernelIntercept::fresh_tcp(const std::vector<FrontendChange>& changes) const {
  Fresh out;
  for (auto& c : changes)
    if (c.key.proto == base::Proto::tcp && c.frontend && !c.key.node_port && !frontends_.has(c.key)) out.insert({c.key.ip, c.key.port});
  return out;
}

// A client that called before its service had a frontend asks again after a second, and later from the same port: the kernel decided
// about that flow with its first packet, and would send each of these where nobody is. TCP has no other way to be led anew.
void KernelIntercept::clear_unserved_tcp(const Fresh& fresh) {
  for (Family f : {Family::v4, Family::v6}) {
    if (std::ranges::none_of(fresh, [&](auto& at) { return at.ip.family() == f; })) continue;
    auto n = base::conntrack::erase_unserved(f, [&](const base::conntrack::Entry& e) { return fresh.contains(e.orig.dst); });
    if (!n) EM_LOG(warn, "intercept", "connections that were begun before their service was known may wait in vain: {}", n.error().what);
  }
}

Result<void> KernelIntercept::apply_exports(const std::vector<ExportRule>& add, const std::vector<ExportRule>& remove) {
  if (let_go_) return {};
  auto next = exports_;
  auto id = [](const ExportRule& e) { return std::tuple(e.peer_overlay, e.proto, e.port); };
  for (auto& e : remove) next.erase(id(e));
  for (auto& e : add) {
    if (e.target.ip.family() != e.peer_overlay.family())
      return base::fail(Code::invalid, "export to {} on port {}: target {} is of the other family", e.peer_overlay.str(), e.port, e.target.str());
    next.insert_or_assign(id(e), e);
  }
  Batch b(kTable);
  std::vector<ExportRule> gone;
  for (auto& [key, e] : exports_) {
    auto it = next.find(key);
    if (it != next.end() && it->second == e) continue;
    // Only led elsewhere, to the daemon or back: TCP connections of before go on the way they took.
    auto ours = [&](const ExportRule& x) { return std::ranges::find(config_.service_ips, x.target.ip) != config_.service_ips.end(); };
    bool moved = it != next.end() && ours(e) != ours(it->second);
    if (!moved || e.proto == base::Proto::udp) gone.push_back(e);
    b.delete_elements(fam("exports", e.peer_overlay.family()), {export_element(e)});
  }
  for (auto& [key, e] : next) {
    auto it = exports_.find(key);
    if (it == exports_.end() || it->second != e) b.add_elements(fam("exports", e.peer_overlay.family()), {export_element(e)});
  }
  if (stands_) EM_TRY(b.send());
  exports_ = std::move(next);
  if (gone.empty()) return {};
  // The guard lets established flows pass, so a withdrawn export's flows are forgotten.
  for (Family f : {Family::v4, Family::v6}) {
    auto withdrawn = [&](const base::conntrack::Entry& c) {
      return std::ranges::any_of(gone, [&](const ExportRule& e) {
        return e.proto == c.proto && e.peer_overlay == c.orig.src.ip && e.port == c.orig.dst.port && detail::own(config_.overlay_ips, f) == c.orig.dst.ip;
      });
    };
    if (std::ranges::any_of(gone, [&](auto& e) { return e.peer_overlay.family() == f; }))
      EM_TRY(base::conntrack::erase_if(f, std::nullopt, withdrawn));
  }
  return {};
}

Result<void> KernelIntercept::apply_granted(const std::vector<GrantedExport>& add, const std::vector<GrantedExport>& remove) {
  if (let_go_) return {};
  auto next = granted_;
  for (auto& g : remove) next.erase(g);
  next.insert(add.begin(), add.end());
  Batch b(kTable);
  for (auto& g : granted_)
    if (!next.contains(g)) b.delete_elements(fam("granted", g.overlay.family()), {granted_element(g)});
  auto was_before = [&](const GrantedExport& g) {
    auto it = granted_before_.find(g.overlay.family());
    return it != granted_before_.end() && std::ranges::any_of(it->second, [&](const Element& e) { return e.key == granted_element(g).key; });
  };
  for (auto& g : next)
    if (!granted_.contains(g) && !was_before(g)) b.add_elements(fam("granted", g.overlay.family()), {granted_element(g)});
  if (stands_) EM_TRY(b.send());
  for (auto& g : next) std::erase_if(granted_before_[g.overlay.family()], [&](const Element& e) { return e.key == granted_element(g).key; });
  granted_ = std::move(next);
  return {};
}

Result<void> KernelIntercept::set_native_peers(const std::vector<Cidr>& list) {
  auto next = without_nested(list);
  if (let_go_ || next == native_) return {};
  Batch b(kTable);
  for (Family f : {Family::v4, Family::v6}) b.flush_set(fam("native", f));
  for (auto& c : next) b.add_elements(fam("native", c.ip.family()), base::nft::prefix_elements(c));
  if (stands_) EM_TRY(b.send());
  native_ = std::move(next);
  return {};
}

Result<void> KernelIntercept::forget_udp_flow(const base::IpPort& client, const base::IpPort& frontend) {
  EM_TRY(base::conntrack::erase_udp_flow(client, frontend));
  return {};
}

// Before our NAT chains a flow's first packet has no rewritten destination yet; one that has, and still counts as new, was sent
// again. An ICMP error has the state and the rewriting of the flow it is about. Packets of established flows never come here.
Result<void> KernelIntercept::report_failures(uint16_t log_group) {
  if (let_go_) return {};
  Batch b(kTable);
  log_group_ = log_group;
  add_report(b);
  auto done = stands_ ? b.send() : Result<void>();
  if (!done) log_group_.reset();
  return done;
}

void KernelIntercept::add_report(Batch& b) const {
  if (!log_group_) return;
  b.add_rule("report", std::move(base::nft::Rule().ct_dnat().l4proto_is(base::Proto::tcp).log(*log_group_, kHeaderBytes)));
  for (Family f : {Family::v4, Family::v6}) b.add_rule("report", std::move(base::nft::Rule().ct_dnat().is_icmp(f).log(*log_group_, kHeaderBytes)));
}

Result<void> KernelIntercept::refresh_links() {
  if (let_go_) return {};
  EM_TRY_ASSIGN(auto now, detail::look_at_links(config_.tun));
  if (now == facts_) return {};
  Batch b(kTable);
  b.flush_set("uplinks");
  b.flush_set("hairpin");
  auto before = std::exchange(facts_, now);
  add_links(b);
  if (auto r = stands_ ? b.send() : Result<void>(); !r) {
    facts_ = before;
    return r;
  }
  return routes_.new_facts(now);
}

Result<void> KernelIntercept::forget_predecessor() {
  if (let_go_) return {};
  Batch b(kTable);
  for (auto& [f, list] : std::exchange(granted_before_, {}))
    for (auto& e : list)
      if (!is_granted(e)) b.delete_elements(fam("granted", f), {e});
  if (stands_ && !b.empty()) EM_TRY(b.send());
  return routes_.remove_stale(detail::MeshRoutes::Stale::all);
}

void KernelIntercept::remove() {
  if (let_go_) return;
  if (auto r = Intercept::cleanup(config_.tun); !r) EM_LOG(warn, "intercept", "removing our rules: {}", r.error().what);
}

}  // namespace

Result<std::unique_ptr<Intercept>> Intercept::install(InterceptConfig c, base::Metrics& m) {
  auto x = std::make_unique<KernelIntercept>(std::move(c), m);
  if (auto r = x->install(); !r) {
    x->remove();
    return base::fail_in("interception", r.error());
  }
  return std::unique_ptr<Intercept>(std::move(x));
}

// Routes first: while the table stands, nothing leaves through the TUN unguarded.
Result<void> Intercept::cleanup(const std::string& tun) {
  auto routes = detail::insist([&] { return detail::MeshRoutes::remove_all(tun); });
  auto table = detail::insist([] { return delete_table(); });
  auto tagged = detail::insist([] { return base::remove_tagged_rules(ClosedHost::kTag); });
  EM_TRY(std::move(routes));
  EM_TRY(std::move(table));
  EM_TRY(std::move(tagged));
  return {};
}

}  // namespace edgemesh
