#include "base/kube/table_builder.h"

#include <algorithm>
#include <set>

#include "base/core/log.h"
#include "base/kube/service_join.h"
#include "base/kube/service_list.h"

namespace base::kube {
namespace {

constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";

class Table final : public ServiceTable {
 public:
  uint64_t generation() const override { return generation_; }
  bool synced() const override { return synced_; }
  ServicePtr find(const ObjectName& id) const override {
    const PackedService s = services_.find(id);
    return s ? s.unpack() : nullptr;
  }
  bool has(const ObjectName& id) const override { return bool(services_.find(id)); }
  void each(const std::function<void(const ServicePtr&)>& f) const override {
    services_.each([&](const PackedService& s) { f(s.unpack()); });
  }
  void each_id(const std::function<void(const ObjectName&, Service::Kind)>& f) const override {
    services_.each([&](const PackedService& s) {
      const auto [ns, name] = s.name_key();
      f({std::string(ns), std::string(name)}, s.kind());
    });
  }
  std::vector<ServicePtr> at(Proto proto, const IpPort& endpoint) const override {
    const std::string bytes = PackedService::packed_endpoint(endpoint);
    std::vector<ServicePtr> out;
    services_.each([&](const PackedService& s) {
      if (!s.may_have(bytes)) return;
      if (auto service = s.unpack(); has_endpoint(*service, proto, endpoint)) out.push_back(std::move(service));
    });
    return out;
  }
  size_t size() const override { return services_.size(); }
  bool has_namespace(const std::string& ns) const override { return namespaces_->contains(ns); }
  const std::map<std::string, NodeInfo>& nodes() const override { return *nodes_; }
  const std::map<std::string, MeshNodeInfo>& mesh_nodes() const override { return *mesh_nodes_; }

  uint64_t generation_ = 0;
  bool synced_ = false;
  ServiceList services_;
  std::shared_ptr<const std::set<std::string>> namespaces_ = std::make_shared<std::set<std::string>>();
  std::shared_ptr<const std::map<std::string, NodeInfo>> nodes_ = std::make_shared<std::map<std::string, NodeInfo>>();
  std::shared_ptr<const std::map<std::string, MeshNodeInfo>> mesh_nodes_ = std::make_shared<std::map<std::string, MeshNodeInfo>>();
};

class Builder final : public TableBuilder {
 public:
  explicit Builder(Loop& loop) : publish_(loop.timer([this] { publish(); })), table_(std::make_shared<Table>()) {}

  ServiceTablePtr table() const override { return table_; }
  void on_change(std::function<void(const ServiceTablePtr&, const ServiceDiff&)> f) override { on_change_ = std::move(f); }
  std::vector<std::string> problems() const override {
    std::vector<std::string> out;
    for (const auto& [key, line] : problems_) out.push_back(line);
    return out;
  }

  void each_object(const std::function<void(const PackedObject&)>& f) const override {
    for (const Objects& kind : objects_)
      for (const PackedObject& o : kind) f(o);
  }
  void on_pod(OnObject f) override { on_pod_ = std::move(f); }
  void on_hosts(OnObject f) override { on_hosts_ = std::move(f); }
  void publish_now() override {
    publish_->cancel();
    publish();
  }

  void replace(Kind k, std::vector<PackedObject> all) override {
    if (!std::ranges::is_sorted(all, NameOrder())) std::ranges::sort(all, NameOrder());
    std::vector<ObjectName> gone;
    auto listed = all.begin();
    for (const PackedObject& o : of(k)) {
      while (listed != all.end() && NameOrder()(*listed, o)) ++listed;
      if (listed == all.end() || NameOrder()(o, *listed)) gone.push_back(o.id());
    }
    for (const ObjectName& id : gone) remove(k, id);
    if (!of(k).empty()) {
      for (PackedObject& o : all) upsert(std::move(o));
      return;
    }
    for (PackedObject& o : all) {  // the first list: in order already
      of(k).insert(of(k).end(), o);
      touch({}, o);
    }
  }

  void upsert(PackedObject o) override {
    auto& all = of(o.kind());
    PackedObject before;
    if (auto it = all.find(o); it != all.end()) {
      before = *it;
      all.insert(all.erase(it), o);
    } else {
      all.insert(o);
    }
    if (before && before.same_content(o)) return;
    touch(before, o);
  }

  void remove(Kind k, const ObjectName& id) override {
    auto& all = of(k);
    const auto it = all.find(id);
    if (it == all.end()) return;
    const PackedObject before = *it;
    all.erase(it);
    touch(before, {});
  }

  void synced(Kind k) override {
    synced_[size_t(k)] = true;
    wake();
  }

  void error(const std::string& line) override { EM_LOG(error, "objects", "{}", line); }

 private:
  using Objects = std::set<PackedObject, NameOrder>;
  using Index = std::map<ObjectName, std::set<ObjectName>>;  // service -> objects that speak of it

  struct ServiceOrder {  // slices by their service
    using is_transparent = void;
    static auto key(const PackedObject& o) { return std::tuple(o.ns(), o.service(), o.name()); }
    static auto key(const ObjectName& n) { return std::tuple(std::string_view(n.ns), std::string_view(n.name), std::string_view()); }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const { return key(a) < key(b); }
  };

  Objects& of(Kind k) { return objects_[size_t(k)]; }
  PackedObject get(Kind k, const ObjectName& id) {
    const auto it = of(k).find(id);
    return it == of(k).end() ? PackedObject() : *it;
  }

  void wake() {
    if (!publish_->armed()) publish_->arm(Duration{0});
  }

  // What a change of one object makes dirty. One of them may be none.
  void touch(const PackedObject& before, const PackedObject& after) {
    const PackedObject& any = after ? after : before;
    switch (any.kind()) {
      case Kind::namespace_: namespaces_dirty_ = true; break;
      case Kind::service:
        dirty_.insert(any.id());
        if (!before || !after) count_namespace(std::string(any.ns()), after ? 1 : -1);
        break;
      case Kind::endpoints: dirty_.insert(any.id()); break;
      case Kind::endpoint_slice:
        if (before) slices_.erase(before);
        if (after && !after.service().empty()) slices_.insert(slices_.end(), after);  // mostly named after their services
        for (const PackedObject& o : {before, after})
          if (o && !o.service().empty()) dirty_.insert({std::string(o.ns()), std::string(o.service())});
        break;
      case Kind::destination_rule:
        dirty_.insert(any.id());
        reindex_rule(before, after);
        break;
      case Kind::node: node_changed(std::string(any.name()), before, after); break;
      case Kind::mesh_node: mesh_nodes_dirty_ = true; break;
      case Kind::pod:
        if (on_pod_) on_pod_(before, after);
        return;
      case Kind::service_entry:
      case Kind::gateway:
      case Kind::http_route:
      case Kind::istio_gateway:
      case Kind::virtual_service:
        if (on_hosts_) on_hosts_(before, after);
        return;
    }
    wake();
  }

  static ObjectName rule_service(const PackedObject& o) {
    return o ? service_of_host(std::get<DestinationRuleObject>(o.unpack().body).host, std::string(o.ns())) : ObjectName{};
  }

  void reindex_rule(const PackedObject& before, const PackedObject& after) {
    const ObjectName was = rule_service(before), is = rule_service(after);
    if (!was.name.empty()) {
      auto& set = rules_of_[was];
      set.erase(before.id());
      if (set.empty()) rules_of_.erase(was);
      dirty_.insert(was);
    }
    if (!is.name.empty()) {
      rules_of_[is].insert(after.id());
      dirty_.insert(is);
    }
  }

  void count_namespace(const std::string& ns, int by) {
    const int n = services_in_[ns] += by;
    if (n == 0) services_in_.erase(ns);
    if (n == 0 || (n == 1 && by == 1)) namespaces_dirty_ = true;
  }

  static std::string zone_in(const PackedObject& o) {
    if (!o) return "";
    const StringMap labels = o.unpack().labels;
    const auto it = labels.find(kZoneLabel);
    return it == labels.end() ? "" : it->second;
  }

  void node_changed(const std::string& name, const PackedObject& before, const PackedObject& after) {
    nodes_dirty_ = true;
    const std::string zone = zone_in(after);
    if (zone == zone_in(before)) return;
    zones_[name] = zone;
    if (zone.empty()) zones_.erase(name);
    zones_dirty_.insert(name);
  }

  // Rare: the services with an endpoint on such a node are joined again. All nodes of a turn together, since it looks at everything.
  void join_again_where_zones_changed() {
    const auto nodes = std::exchange(zones_dirty_, {});
    if (nodes.empty()) return;
    table_->each([&](const ServicePtr& s) {
      for (const auto& p : s->ports)
        for (const auto& e : p.endpoints)
          if (nodes.contains(e.node)) dirty_.insert(s->id);
    });
  }

  // A rule named like the service (as EdgeMesh binds) goes before one that names it as host; of several of those, one in
  // the service's own namespace, then the first by name.
  PackedObject rule_for(const ObjectName& id) {
    if (const PackedObject o = get(Kind::destination_rule, id)) return o;
    const auto it = rules_of_.find(id);
    if (it == rules_of_.end()) return {};
    PackedObject best;
    for (const ObjectName& n : it->second) {
      const PackedObject o = get(Kind::destination_rule, n);
      if (o && (!best || (n.ns == id.ns && best.ns() != id.ns))) best = o;
    }
    return best;
  }

  std::vector<Object> slices_of(const ObjectName& service) {
    std::vector<Object> out;
    for (auto it = slices_.lower_bound(service); it != slices_.end() && it->ns() == service.ns && it->service() == service.name; ++it)
      out.push_back(it->unpack());
    return out;
  }

  Service join(const PackedObject& packed) {
    const Object service = packed.unpack();
    const std::vector<Object> slices = slices_of(service.id);
    auto unpacked = [](const PackedObject& o) { return o ? std::optional(o.unpack()) : std::nullopt; };
    const auto endpoints = slices.empty() ? unpacked(get(Kind::endpoints, service.id)) : std::nullopt;
    const auto rule = unpacked(rule_for(service.id));
    JoinInputs in{service, {}, endpoints ? &*endpoints : nullptr, rule ? &*rule : nullptr, [this](const std::string& node) {
                    const auto it = zones_.find(node);
                    return it == zones_.end() ? std::string() : it->second;
                  }};
    for (const Object& o : slices) in.slices.push_back(&o);
    Joined j = join_service(in);
    set_problem(service.label(), j.problem);
    return std::move(j.service);
  }

  void set_problem(const std::string& key, const std::string& line) {
    if (line.empty()) return void(problems_.erase(key));
    std::string& had = problems_[key];
    if (had == line) return;
    had = line;
    EM_LOG(warn, "objects", "{}", line);
  }

  void publish() {
    auto next = std::make_shared<Table>(*table_);
    ServiceDiff diff;
    join_again_where_zones_changed();
    for (const ObjectName& id : std::exchange(dirty_, {})) join_into(*next, id, diff);
    diff.nodes_changed = publish_nodes(*next);
    diff.nodes_changed |= publish_mesh_nodes(*next);
    diff.namespaces_changed = publish_namespaces(*next);
    next->synced_ = std::all_of(std::begin(synced_), std::end(synced_), [](bool b) { return b; });
    if (diff.empty() && next->synced_ == table_->synced_) return;
    ++next->generation_;
    table_ = std::move(next);
    if (on_change_) on_change_(table_, diff);
  }

  void join_into(Table& next, const ObjectName& id, ServiceDiff& diff) {
    const PackedObject o = get(Kind::service, id);
    const PackedService before = next.services_.find(id);
    if (!o) {
      set_problem("Service " + id.str(), "");
      if (!before) return;
      next.services_.erase(id);
      diff.removed.push_back(id);
      return;
    }
    PackedService now(join(o));
    if (before && before == now) return;
    next.services_.set(std::move(now));
    diff.changed.push_back(id);
  }

  bool publish_nodes(Table& next) {
    if (!std::exchange(nodes_dirty_, false)) return false;
    auto nodes = std::make_shared<std::map<std::string, NodeInfo>>();
    for (const PackedObject& packed : of(Kind::node)) {
      Object o = packed.unpack();
      auto& n = std::get<NodeObject>(o.body);
      nodes->emplace(o.id.name, NodeInfo{o.id.name, std::move(n.internal_ips), std::move(n.pod_cidrs), std::move(o.labels)});
    }
    if (*nodes == *next.nodes_) return false;
    next.nodes_ = std::move(nodes);
    return true;
  }

  // Overlay addresses must be unique: the MeshNode that stands first (file, line, name) keeps a clashing one's place.
  bool publish_mesh_nodes(Table& next) {
    if (!std::exchange(mesh_nodes_dirty_, false)) return false;
    std::vector<Object> order;
    for (const PackedObject& o : of(Kind::mesh_node)) order.push_back(o.unpack());
    std::sort(order.begin(), order.end(), [](const Object& a, const Object& b) { return std::tie(a.place, a.id) < std::tie(b.place, b.id); });
    auto all = std::make_shared<std::map<std::string, MeshNodeInfo>>();
    std::map<IpAddr, const Object*> owners;
    std::erase_if(problems_, [&](const auto& p) { return p.first.starts_with("MeshNode ") && !get(Kind::mesh_node, {"", p.first.substr(9)}); });
    for (const Object& o : order) {
      const std::string clash = overlay_clash(o, owners);
      set_problem(o.label(), clash);
      if (!clash.empty()) continue;
      const auto& m = std::get<MeshNodeObject>(o.body);
      for (const IpAddr& ip : m.overlay_ips) owners.emplace(ip, &o);
      all->emplace(o.id.name, MeshNodeInfo{o.id.name, m.overlay_ips, m.network, m.roles, m.advertise, m.pod_cidrs, m.revoked, o.place.str()});
    }
    if (*all == *next.mesh_nodes_) return false;
    next.mesh_nodes_ = std::move(all);
    return true;
  }

  static std::string overlay_clash(const Object& o, const std::map<IpAddr, const Object*>& owners) {
    for (const IpAddr& ip : std::get<MeshNodeObject>(o.body).overlay_ips)
      if (const auto it = owners.find(ip); it != owners.end())
        return fmt::format("{}: {}: overlay address {} belongs to {} ({}); this one is left out: give it another address", o.place.str(), o.label(),
                           ip.str(), it->second->label(), it->second->place.str());
    return "";
  }

  bool publish_namespaces(Table& next) {
    if (!std::exchange(namespaces_dirty_, false)) return false;
    auto all = std::make_shared<std::set<std::string>>();
    for (const PackedObject& o : of(Kind::namespace_)) all->emplace(o.name());
    for (const auto& [ns, n] : services_in_) all->insert(ns);
    if (*all == *next.namespaces_) return false;
    next.namespaces_ = std::move(all);
    return true;
  }

  std::unique_ptr<Timer> publish_;
  std::shared_ptr<const Table> table_;
  std::function<void(const ServiceTablePtr&, const ServiceDiff&)> on_change_;
  OnObject on_pod_, on_hosts_;
  Objects objects_[kKinds];
  bool synced_[kKinds] = {};
  std::set<PackedObject, ServiceOrder> slices_;  // the same slices, by service
  Index rules_of_;
  std::map<std::string, std::string> zones_;     // node -> zone
  std::set<std::string> zones_dirty_;            // nodes
  std::map<std::string, int> services_in_;
  std::set<ObjectName> dirty_;
  bool nodes_dirty_ = false, mesh_nodes_dirty_ = false, namespaces_dirty_ = false;
  std::map<std::string, std::string> problems_;  // object -> line
};

}  // namespace

std::unique_ptr<TableBuilder> make_service_table_builder(Loop& loop) { return std::make_unique<Builder>(loop); }

}  // namespace base::kube
