// What is read of each kind, as plain lists of fields. F is a reader of one map: Fields over a manifest, JsonFields over an
// API server's JSON; both have the same members, so that an object means the same wherever it comes from.
#pragma once
#include <algorithm>

#include "base/kube/objects.h"

namespace base::kube {

template <class F>
std::vector<IpAddr> ip_list(const F& f, std::string_view key) { return f.template parsed_list<IpAddr>(key, "an IP address", IpAddr::parse); }
template <class F>
std::vector<Cidr> cidr_list(const F& f, std::string_view key) { return f.template parsed_list<Cidr>(key, "an address prefix", Cidr::parse); }

template <class F>
NodeObject parse_node(const F& f) {
  NodeObject n;
  const F spec = f.inside("spec");
  n.pod_cidrs = cidr_list(spec, "podCIDRs");
  if (n.pod_cidrs.empty())
    if (auto c = Cidr::parse(spec.str("podCIDR"))) n.pod_cidrs.push_back(*c);
  const F status = f.inside("status");
  status.each("addresses", [&](const F& a) {
    if (a.str("type") != "InternalIP") return;
    if (auto ip = a.ip("address")) n.internal_ips.push_back(*ip);
  });
  return n;
}

template <class F>
PodObject parse_pod(const F& f) {
  PodObject p;
  const F spec = f.inside("spec"), status = f.inside("status");
  p.node = spec.str("nodeName");
  p.hostname = spec.str("hostname");
  p.subdomain = spec.str("subdomain");
  p.host_network = spec.boolean("hostNetwork", false);
  p.phase = status.str("phase");
  status.each("podIPs", [&](const F& a) {
    if (auto ip = a.ip("ip")) p.ips.push_back(*ip);
  });
  if (p.ips.empty())
    if (auto ip = status.ip("podIP")) p.ips.push_back(*ip);
  status.each("conditions", [&](const F& c) {
    if (c.str("type") == "Ready") p.ready = c.str("status") == "True";
  });
  return p;
}

template <class F>
void parse_cluster_ips(const F& spec, ServiceObject& s) {
  auto add = [&](const std::string& t, std::string_view key) {
    if (t.empty()) return;
    if (t == "None") return void(s.headless = true);
    auto ip = IpAddr::parse(t);
    if (!ip) return spec.wrong(key, fmt::format("\"{}\" is neither an IP address nor None", t));
    s.cluster_ips.push_back(*ip);
  };
  if (spec.is_list("clusterIPs")) {
    for (const std::string& t : spec.string_list("clusterIPs")) add(t, "clusterIPs");
  } else {
    add(spec.str("clusterIP"), "clusterIP");
  }
}

template <class F>
ServiceObject::Port parse_service_port(const F& p) {
  ServiceObject::Port out;
  out.name = p.str("name");
  out.app_protocol = p.str("appProtocol");
  out.proto = p.proto("protocol");
  out.port = p.port("port", true);
  out.node_port = uint16_t(p.integer("nodePort", 0, 0, 65535));
  if (p.is_text("targetPort")) out.target_name = p.str("targetPort");
  else out.target_number = uint16_t(p.integer("targetPort", 0, 0, 65535));
  return out;
}

template <class F>
ServiceObject parse_service(const F& f) {
  ServiceObject s;
  const F spec = f.inside("spec");
  s.type = spec.str("type");
  parse_cluster_ips(spec, s);
  s.external_ips = ip_list(spec, "externalIPs");
  s.external_name = s.type == "ExternalName" ? spec.required_str("externalName") : spec.str("externalName");
  if (const std::string a = spec.str("sessionAffinity"); a == "ClientIP") s.client_ip_affinity = true;
  else if (!a.empty() && a != "None") spec.wrong("sessionAffinity", fmt::format("\"{}\" is not one of None, ClientIP", a));
  const F affinity = spec.inside("sessionAffinityConfig");
  const F client_ip = affinity.inside("clientIP");
  s.affinity_seconds = int32_t(client_ip.integer("timeoutSeconds", 10800, 1, 86400));
  s.publish_not_ready = spec.boolean("publishNotReadyAddresses", false);
  s.has_selector = !spec.strings("selector").empty();
  spec.each("ports", [&](const F& p) { s.ports.push_back(parse_service_port(p)); });
  const F status = f.inside("status");
  const F lb = status.inside("loadBalancer");
  lb.each("ingress", [&](const F& i) {
    if (auto ip = i.ip("ip")) s.lb_ips.push_back(*ip);
  });
  return s;
}

template <class F>
std::vector<EndpointPort> parse_endpoint_ports(const F& f) {
  std::vector<EndpointPort> out;
  f.each("ports", [&](const F& p) { out.push_back({p.str("name"), p.str("appProtocol"), p.proto("protocol"), p.port("port", false)}); });
  return out;
}

template <class F>
std::string pod_of(const F& f) {
  const F ref = f.inside("targetRef");
  return ref.str("kind") == "Pod" ? ref.str("name") : "";
}

template <class F>
std::vector<EndpointsObject::Address> parse_addresses(const F& subset, std::string_view key) {
  std::vector<EndpointsObject::Address> out;
  subset.each(key, [&](const F& a) {
    const auto ip = a.ip("ip");
    if (!ip) return a.wrong("ip", "is missing");
    out.push_back({*ip, a.str("hostname"), a.str("nodeName"), pod_of(a)});
  });
  return out;
}

template <class F>
EndpointsObject parse_endpoints(const F& f) {
  EndpointsObject e;
  f.each("subsets", [&](const F& s) {
    e.subsets.push_back({parse_addresses(s, "addresses"), parse_addresses(s, "notReadyAddresses"), parse_endpoint_ports(s)});
  });
  return e;
}

template <class F>
EndpointSliceObject parse_slice(const F& f, const StringMap& labels) {
  EndpointSliceObject s;
  if (auto it = labels.find("kubernetes.io/service-name"); it != labels.end()) s.service = it->second;
  const std::string type = f.required_str("addressType");
  s.is_fqdn = type == "FQDN";
  if (!s.is_fqdn && !type.empty() && type != "IPv4" && type != "IPv6")
    f.wrong("addressType", fmt::format("\"{}\" is not one of IPv4, IPv6, FQDN", type));
  s.ports = parse_endpoint_ports(f);
  if (s.is_fqdn) return s;
  f.each("endpoints", [&](const F& e) {
    const auto ips = ip_list(e, "addresses");
    if (ips.empty()) return e.wrong("addresses", "is missing");
    const F c = e.inside("conditions");
    EndpointSliceObject::Item i{ips[0], e.str("hostname"), e.str("nodeName"), pod_of(e), e.str("zone")};
    i.ready = c.boolean("ready", true);
    i.serving = c.boolean("serving", i.ready);
    i.terminating = c.boolean("terminating", false);
    s.endpoints.push_back(std::move(i));
  });
  s.endpoints.shrink_to_fit();  // slices are most of what is kept
  return s;
}

// trafficPolicy.loadBalancer. What we cannot serve is told in words, never an error: the object may be meant for others.
inline void parse_simple(const std::string& simple, DestinationRuleObject& d) {
  using K = LbRule::Kind;
  if (simple == "ROUND_ROBIN") d.rule = LbRule{K::round_robin};
  else if (simple == "RANDOM") d.rule = LbRule{K::random};
  else if (simple == "LEAST_REQUEST" || simple == "LEAST_CONN") d.rule = LbRule{K::least_request};
  else if (simple != "UNSPECIFIED") d.unsupported = "loadBalancer.simple " + simple;
}

template <class F>
void parse_hash(const F& hash, DestinationRuleObject& d) {
  using K = LbRule::Kind;
  const F cookie = hash.inside("httpCookie");
  if (auto h = hash.str("httpHeaderName"); !h.empty()) d.rule = LbRule{K::hash_header, h};
  else if (auto c = cookie.str("name"); !c.empty()) d.rule = LbRule{K::hash_cookie, c};
  else if (auto q = hash.str("httpQueryParameterName"); !q.empty()) d.rule = LbRule{K::hash_query, q};
  else if (hash.boolean("useSourceIp", false)) d.rule = LbRule{K::hash_source_ip};
  else d.unsupported = "loadBalancer.consistentHash without httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp";
}

template <class F>
DestinationRuleObject parse_destination_rule(const F& f) {
  DestinationRuleObject d;
  const F spec = f.inside("spec");
  d.host = spec.str("host");
  const F policy = spec.inside("trafficPolicy");
  const F lb = policy.inside("loadBalancer");
  if (lb.has("consistentHash")) parse_hash(lb.inside("consistentHash"), d);
  else if (lb.has("simple")) parse_simple(lb.str("simple"), d);
  return d;
}

template <class F>
MeshNodeObject parse_mesh_node(const F& f) {
  MeshNodeObject m;
  const F spec = f.inside("spec");
  m.overlay_ips = ip_list(spec, "overlayIPs");
  m.network = spec.str("network");
  m.roles = spec.string_list("roles");
  m.advertise = spec.template parsed_list<IpPort>("advertise", "an address with a port", IpPort::parse);
  m.pod_cidrs = cidr_list(spec, "podCIDRs");
  m.revoked = spec.boolean("revoked", false);
  return m;
}

// Host names and what they lead to. What cannot be used (a prefix for an address, a host name for one) is left out: these objects are
// written for others too.
inline void add_address(const std::string& text, std::vector<IpAddr>& to) {
  if (auto ip = IpAddr::parse(text); ip && std::find(to.begin(), to.end(), *ip) == to.end()) to.push_back(*ip);
}

template <class F>
ServiceEntryObject parse_service_entry(const F& f) {
  ServiceEntryObject e;
  const F spec = f.inside("spec");
  e.hosts = spec.string_list("hosts");
  for (const std::string& a : spec.string_list("addresses")) add_address(a, e.addresses);
  if (!e.addresses.empty()) return e;
  spec.each("endpoints", [&](const F& p) { add_address(p.str("address"), e.addresses); });
  return e;
}

template <class F>
GatewayObject parse_gateway(const F& f) {
  GatewayObject g;
  const F spec = f.inside("spec"), status = f.inside("status");
  spec.each("listeners", [&](const F& l) {
    if (const std::string host = l.str("hostname"); !host.empty()) g.hosts.push_back(host);
  });
  status.each("addresses", [&](const F& a) { add_address(a.str("value"), g.addresses); });
  return g;
}

template <class F>
HttpRouteObject parse_http_route(const F& f, const std::string& ns) {
  HttpRouteObject r;
  const F spec = f.inside("spec");
  r.hosts = spec.string_list("hostnames");
  spec.each("parentRefs", [&](const F& p) {  // a Service as parent goes by its own name
    if (const std::string kind = p.str("kind"); !kind.empty() && kind != "Gateway") return;
    const std::string in = p.str("namespace");
    r.gateways.push_back({in.empty() ? ns : in, p.str("name")});
  });
  return r;
}

template <class F>
IstioGatewayObject parse_istio_gateway(const F& f) {
  IstioGatewayObject g;
  const F spec = f.inside("spec");
  g.selector = spec.strings("selector");
  spec.each("servers", [&](const F& s) {
    for (const std::string& host : s.string_list("hosts")) g.hosts.push_back(host.substr(host.find('/') + 1));  // "<namespace>/<host>"
  });
  return g;
}

template <class F>
VirtualServiceObject parse_virtual_service(const F& f, const std::string& ns) {
  VirtualServiceObject v;
  const F spec = f.inside("spec");
  v.hosts = spec.string_list("hosts");
  for (const std::string& g : spec.string_list("gateways")) {
    const size_t slash = g.find('/');
    if (g == "mesh") continue;
    if (slash == g.npos) v.gateways.push_back({ns, g});
    else v.gateways.push_back({g.substr(0, slash), g.substr(slash + 1)});
  }
  return v;
}

template <class F>
Object::Body parse_body(Kind kind, const F& f, const std::string& ns, const StringMap& labels) {
  switch (kind) {
    case Kind::namespace_: return NamespaceObject{};
    case Kind::node: return parse_node(f);
    case Kind::pod: return parse_pod(f);
    case Kind::service: return parse_service(f);
    case Kind::endpoints: return parse_endpoints(f);
    case Kind::endpoint_slice: return parse_slice(f, labels);
    case Kind::destination_rule: return parse_destination_rule(f);
    case Kind::mesh_node: return parse_mesh_node(f);
    case Kind::service_entry:
      return parse_service_entry(f);
    case Kind::gateway:
      return parse_gateway(f);
    case Kind::http_route:
      return parse_http_route(f, ns);
    case Kind::istio_gateway:
      return parse_istio_gateway(f);
    case Kind::virtual_service:
      return parse_virtual_service(f, ns);
  }
  return NamespaceObject{};
}

// metadata and body. The reader's errors name the object once its name is known.
template <class F, class Named>
void parse_into(Object& o, Kind kind, const F& f, Named named) {
  const F meta = f.inside("metadata");
  o.id.name = meta.required_str("name");
  if (!is_cluster_scoped(kind)) o.id.ns = meta.str("namespace");
  if (!is_cluster_scoped(kind) && o.id.ns.empty()) o.id.ns = "default";
  named();
  o.labels = meta.strings("labels");
  o.resource_version = meta.str("resourceVersion");
  o.body = parse_body(kind, f, o.id.ns, o.labels);
}

}  // namespace base::kube
