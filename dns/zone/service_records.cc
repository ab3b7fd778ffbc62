#include "dns/zone/service_records.h"

#include <algorithm>
#include <map>
#include <set>

#include "dns/wire/message_writer.h"

namespace dns {

using base::IpAddr;
using base::kube::Endpoint;
using base::kube::Service;
using base::kube::ServicePort;

std::vector<Name> zones_of(const ZoneConfig& c) {
  std::vector<Name> zones;
  for (std::string_view z : {std::string_view(c.cluster_domain), std::string_view("in-addr.arpa"), std::string_view("ip6.arpa")}) {
    auto n = Name::from_text(z);
    if (!n) n = Name::from_text("cluster.local");  // the configuration was checked before it came here
    n->make_lower();
    zones.push_back(*n);
  }
  return zones;
}

std::string dashed(const IpAddr& a) {
  std::string s = a.str();
  std::replace(s.begin(), s.end(), '.', '-');
  std::replace(s.begin(), s.end(), ':', '-');
  if (!s.empty() && s.back() == '-') s += '0';
  return s;
}

std::optional<IpAddr> from_dashed(std::string_view label) {
  char text[kLabelMax + 1];
  if (label.size() > kLabelMax) return {};
  bool v4 = std::count(label.begin(), label.end(), '-') == 3 && label.find("--") == label.npos;
  for (size_t i = 0; i < label.size(); i++) {
    if (label[i] == '.' || label[i] == ':' || label[i] == '%') return {};
    text[i] = label[i] == '-' ? (v4 ? '.' : ':') : label[i];
  }
  auto ip = IpAddr::parse({text, label.size()});
  return ip && ip->is_v4() == v4 ? ip : std::nullopt;
}

static std::string lowered(std::string s) {
  for (char& c : s) c = char(lower(uint8_t(c)));
  return s;
}

std::optional<Name> service_name(const base::kube::ObjectName& id, const ZoneConfig& c) {
  return Name::from_text(lowered(id.name + "." + id.ns + ".svc." + c.cluster_domain));
}

namespace {

struct Host {  // one address of one endpoint, under its name
  Name name;
  IpAddr ip;
};

struct Target {  // one SRV record
  Name name;
  uint16_t port;
};

class Renderer {
 public:
  Renderer(const Service& s, const ZoneConfig& c, const EndpointAddresses& map) : s_(s), c_(c), map_(map) {}

  Piece run() {
    auto base = service_name(s_.id, c_);
    if (!base || !exposed()) return {};
    base_ = *base;
    out_.emplace(uint8_t(0), zones_of(c_).front(), true);
    if (s_.kind == Service::Kind::external_name) return external(), out_->finish();
    collect_hosts();
    bool headless = s_.kind == Service::Kind::headless;
    if (headless ? hosts_.empty() : !any_ready_ && c_.ignore_empty_service) return {};
    headless ? headless_service() : cluster_service();
    endpoint_names();
    return out_->finish();
  }

 private:
  bool exposed() const { return c_.namespaces.empty() || std::count(c_.namespaces.begin(), c_.namespaces.end(), s_.id.ns); }
  bool visible(const Endpoint& e) const { return e.ready || s_.publish_not_ready; }

  std::string label_of(const Endpoint& e, const IpAddr& ip) const {
    if (!e.hostname.empty()) return lowered(e.hostname);
    if (c_.endpoint_pod_names && !e.pod.empty() && e.pod.size() <= kLabelMax) return lowered(e.pod);
    return dashed(ip);
  }

  std::vector<Host> hosts_of(const Endpoint& e) const {
    std::vector<Host> hosts;
    for (auto& ip : map_ ? map_(s_, e) : std::vector<IpAddr>{e.ip}) {
      Host h{base_, ip};
      if (h.name.prepend(label_of(e, ip))) hosts.push_back(h);
    }
    return hosts;
  }

  template <class F>
  void each_port(F f) const {
    for (auto& p : s_.ports) f(p, base::to_string(p.proto));
    for (auto& p : s_.sctp_ports) f(p, "sctp");
  }

  void collect_hosts() {
    std::set<std::pair<std::string, IpAddr>> seen;
    each_port([&](const ServicePort& port, const char*) {
      for (auto& e : port.endpoints)
        if (visible(e))
          for (auto& h : hosts_of(e))
            if (seen.insert({std::string(h.name.key()), h.ip}).second) hosts_.push_back(h);
    });
    any_ready_ = !hosts_.empty();
    if (c_.no_endpoints) hosts_.clear();
  }

  // ---- records of one name, all types together

  // Into the name that is open.
  void add_addresses(const Name& name, const std::vector<IpAddr>& ips) {
    for (auto family : {base::Family::v4, base::Family::v6}) {
      bool v4 = family == base::Family::v4;
      if (std::ranges::none_of(ips, [&](auto& ip) { return ip.family() == family; })) continue;
      MessageWriter w(name);
      for (auto& ip : ips)
        if (ip.family() == family) w.add(name, v4 ? type::A : type::AAAA, c_.ttl, ip.bytes());
      BodyView b = w.body();
      b.rotate = v4 ? 16 : 28;
      if (b.answers) out_->answer(v4 ? type::A : type::AAAA, b);
    }
  }

  void add_srv(const Name& name, const std::vector<Target>& targets, const std::vector<Host>& glue) {
    if (targets.empty()) return;
    uint16_t weight = uint16_t(std::max<size_t>(1, 100 / targets.size()));
    MessageWriter w(name);
    std::set<std::pair<std::string_view, uint16_t>> seen;  // of names in `targets`
    std::set<std::string_view> targeted;
    for (auto& t : targets) {
      targeted.insert(t.name.key());
      if (seen.insert({t.name.key(), t.port}).second) w.add_srv(name, c_.ttl, weight, t.port, t.name);
    }
    w.additional();
    for (auto& h : glue)
      if (targeted.count(h.name.key())) w.add(h.name, h.ip.is_v4() ? type::A : type::AAAA, c_.ttl, h.ip.bytes());
    out_->answer(type::SRV, w.body());
  }

  // _port._proto names, each with its targets; the _proto names in between exist without records
  using Ports = std::map<std::pair<std::string, std::string>, std::vector<Target>>;  // by name and protocol
  void publish_ports(const Ports& ports, const std::vector<Host>& glue) {
    std::set<std::string> protos;
    for (auto& [key, targets] : ports) {
      Name proto = base_;
      if (!proto.prepend("_" + key.second)) continue;
      if (protos.insert(key.second).second) out_->name(proto);
      Name full = proto_port(proto, key.first);
      out_->name(full);
      add_srv(full, targets, glue);
    }
  }
  static Name proto_port(Name proto, const std::string& port) {
    (void)!proto.prepend("_" + lowered(port));  // port names are at most 15 octets (RFC 6335)
    return proto;
  }

  // ---- kinds

  void external() {
    auto target = Name::from_text(lowered(s_.external_name));
    if (!target || target->size() == 1 || IpAddr::parse(s_.external_name)) return;  // an address is no name (and never an alias)
    if (*target == base_) return void(out_->name(base_));
    MessageWriter w(base_);
    w.add_name(base_, type::CNAME, c_.ttl, *target);
    out_->name(base_, target->key());
    out_->answer(type::CNAME, w.body());
  }

  void cluster_service() {
    std::vector<Host> glue;
    std::vector<Target> all;
    Ports ports;
    uint32_t at = out_->name(base_);
    for (auto& ip : s_.cluster_ips) {
      glue.push_back({base_, ip});
      out_->reverse(ip, at, true);
    }
    each_port([&](const ServicePort& p, const char* proto) {
      if (!p.port) return;
      all.push_back({base_, p.port});
      if (!p.name.empty()) ports[{p.name, proto}].push_back({base_, p.port});
    });
    add_addresses(base_, s_.cluster_ips);
    add_srv(base_, all, glue);
    publish_ports(ports, glue);
  }

  void headless_service() {
    std::vector<Target> all;
    Ports ports;
    each_port([&](const ServicePort& p, const char* proto) {
      if (!p.port) return;
      for (auto& e : p.endpoints) {
        if (!visible(e)) continue;
        for (auto& h : hosts_of(e)) {
          Target t{h.name, e.port ? e.port : p.port};
          all.push_back(t);
          if (!p.name.empty()) ports[{p.name, proto}].push_back(t);
        }
      }
    });
    std::vector<IpAddr> ips;
    std::set<IpAddr> seen;
    for (auto& h : hosts_)
      if (seen.insert(h.ip).second) ips.push_back(h.ip);
    out_->name(base_);
    add_addresses(base_, ips);
    add_srv(base_, all, hosts_);
    publish_ports(ports, hosts_);
  }

  void endpoint_names() {
    std::map<std::string, std::vector<IpAddr>> by_name;
    for (auto& h : hosts_) by_name[std::string(h.name.key())].push_back(h.ip);
    for (auto& [key, ips] : by_name) {
      Name name = *Name::from_wire(base::as_bytes(key));
      uint32_t at = out_->name(name);
      add_addresses(name, ips);
      for (auto& ip : ips) out_->reverse(ip, at, false);
    }
  }

  const Service& s_;
  const ZoneConfig& c_;
  const EndpointAddresses& map_;
  Name base_;
  std::vector<Host> hosts_;
  bool any_ready_ = false;
  std::optional<PieceBuilder> out_;
};

}  // namespace

Piece render_service(const Service& s, const ZoneConfig& c, const EndpointAddresses& map) { return Renderer(s, c, map).run(); }

}  // namespace dns
