#include "base/kube/service_join.h"

#include <algorithm>

namespace base::kube {
namespace {

// Which port of a slice or subset serves a port of the service: the one of its name, as controllers write them; by hand
// people also write the name of targetPort.
const EndpointPort* match_port(const std::vector<EndpointPort>& ports, const ServiceObject::Port& want) {
  auto named = [&](const std::string& name) -> const EndpointPort* {
    for (const auto& p : ports)
      if (p.name == name && p.proto == want.proto && p.port) return &p;
    return nullptr;
  };
  if (const auto* p = named(want.name)) return p;
  return want.target_name.empty() ? nullptr : named(want.target_name);
}

class Join {
 public:
  explicit Join(const JoinInputs& in) : in_(in), spec_(std::get<ServiceObject>(in.service.body)) {}

  Joined run() {
    Service& s = out_.service;
    s.id = in_.service.id;
    s.labels = in_.service.labels;
    s.kind = kind();
    s.cluster_ips = spec_.cluster_ips;
    s.external_ips = spec_.external_ips;
    s.lb_ips = spec_.lb_ips;
    s.external_name = s.kind == Service::Kind::external_name ? spec_.external_name : "";
    if (spec_.client_ip_affinity) s.client_ip_affinity = std::chrono::seconds(spec_.affinity_seconds);
    s.publish_not_ready = spec_.publish_not_ready;
    s.has_selector = spec_.has_selector;
    if (s.kind == Service::Kind::cluster_ip && s.cluster_ips.empty())
      problem("has no clusterIP and cannot be called; give it one (spec.clusterIP) or None");
    bind_rule();
    join_ports();
    return std::move(out_);
  }

 private:
  Service::Kind kind() const {
    if (spec_.type == "ExternalName") return Service::Kind::external_name;
    return spec_.headless ? Service::Kind::headless : Service::Kind::cluster_ip;
  }

  void problem(const std::string& what) {
    if (out_.problem.empty()) out_.problem = in_.service.place.str() + ": " + in_.service.label() + " " + what;
  }

  void bind_rule() {
    if (!in_.rule) return;
    const auto& d = std::get<DestinationRuleObject>(in_.rule->body);
    const std::string label = in_.rule->place.str() + ": " + in_.rule->label();
    if (!d.unsupported.empty()) out_.problem = label + ": " + d.unsupported + " is not supported; round robin is used";
    if (!d.rule) return;
    if (spec_.client_ip_affinity) {
      out_.problem = label + " has no effect: sessionAffinity ClientIP of the service goes first";
      return;
    }
    out_.service.rule = *d.rule;
    out_.service.rule.source = in_.rule->label();
  }

  void join_ports() {
    if (out_.service.kind == Service::Kind::external_name) return;
    for (const auto& p : spec_.ports) {
      if (!p.proto) problem("has an SCTP port, which is not carried");
      ServicePort port{p.name, p.proto.value_or(Proto::tcp), p.port, p.node_port, p.app_protocol, {}};
      collect(&p, port.endpoints);
      (p.proto ? out_.service.ports : out_.service.sctp_ports).push_back(std::move(port));
    }
    if (spec_.ports.empty() && out_.service.kind == Service::Kind::headless) {
      ServicePort port;
      collect(nullptr, port.endpoints);
      out_.service.ports.push_back(std::move(port));
    }
  }

  void collect(const ServiceObject::Port* want, std::vector<Endpoint>& out) {
    for (const Object* o : in_.slices) from_slice(std::get<EndpointSliceObject>(o->body), want, out);
    if (in_.slices.empty() && in_.endpoints)
      for (const auto& s : std::get<EndpointsObject>(in_.endpoints->body).subsets) from_subset(s, want, out);
    // Slices may name one endpoint twice while it moves between them: the ready one counts.
    std::sort(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) {
      return std::tie(a.ip, a.port, a.node, b.ready, b.serving, a.pod) < std::tie(b.ip, b.port, b.node, a.ready, a.serving, b.pod);
    });
    out.erase(std::unique(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) {
                return a.ip == b.ip && a.port == b.port && a.node == b.node;  // pod networks of two nodes may overlap
              }), out.end());
  }

  void add(Endpoint e, std::vector<Endpoint>& out) {
    if (spec_.publish_not_ready) e.ready = true;
    if (e.zone.empty() && !e.node.empty()) e.zone = in_.zone_of_node(e.node);
    out.push_back(std::move(e));
  }

  void from_slice(const EndpointSliceObject& s, const ServiceObject::Port* want, std::vector<Endpoint>& out) {
    const EndpointPort* p = want ? match_port(s.ports, *want) : nullptr;
    if ((want && !p) || s.is_fqdn) return;
    for (const auto& i : s.endpoints)
      add({i.ip, p ? p->port : uint16_t(0), i.node, i.pod, i.hostname, i.zone, i.ready, i.serving, i.terminating}, out);
  }

  void from_subset(const EndpointsObject::Subset& s, const ServiceObject::Port* want, std::vector<Endpoint>& out) {
    const EndpointPort* p = want ? match_port(s.ports, *want) : nullptr;
    if (want && !p) return;
    const uint16_t port = p ? p->port : uint16_t(0);
    for (const auto& a : s.ready) add({a.ip, port, a.node, a.pod, a.hostname, ""}, out);
    for (const auto& a : s.not_ready) add({a.ip, port, a.node, a.pod, a.hostname, "", false, false, false}, out);
  }

  const JoinInputs& in_;
  const ServiceObject& spec_;
  Joined out_;
};

}  // namespace

Joined join_service(const JoinInputs& in) { return Join(in).run(); }

ObjectName service_of_host(const std::string& host, const std::string& ns) {
  if (host.empty() || host.find('*') != std::string::npos) return {};
  const size_t dot = host.find('.');
  if (dot == std::string::npos) return {ns, host};
  const size_t second = host.find('.', dot + 1);
  const std::string rest = second == std::string::npos ? "" : host.substr(second + 1);
  if (!rest.empty() && rest != "svc" && !rest.starts_with("svc.")) return {};  // a name outside the cluster
  return {host.substr(dot + 1, second == std::string::npos ? second : second - dot - 1), host.substr(0, dot)};
}

}  // namespace base::kube
