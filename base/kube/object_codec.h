// How objects and services are written as bytes: in snapshot files, and in memory where they are kept. Counts and numbers as
// LEB128, text with its length. Not a format for others: a file names its version, and memory ends with the process.
#pragma once
#include <limits>

#include "base/core/bytes.h"
#include "base/kube/objects.h"

namespace base::kube::codec {

// The same list of fields serves both ways: Out writes a const value, In fills one.
class Out {
 public:
  template <class T>
  using Ref = const T&;
  explicit Out(std::string& to) : to_(to) {}

  void number(uint64_t v) {
    for (; v >= 0x80; v >>= 7) to_.push_back(char(v | 0x80));
    to_.push_back(char(v));
  }
  template <class T>
  void integer(const T& v) { number(uint64_t(v)); }
  void bytes(ByteView b) { to_.append(as_text(b)); }
  void text(std::string_view s) { number(s.size()), to_ += s; }
  void file(std::string_view s) {  // most objects come from where the one before came from
    integer(s != last_file_);
    if (s != last_file_) text(last_file_ = s);
  }
  template <class List, class One>
  void list(const List& v, One one) {
    number(v.size());
    for (const auto& x : v) one(x);
  }

 private:
  std::string& to_;
  std::string last_file_;
};

class In {
 public:
  template <class T>
  using Ref = T&;
  explicit In(std::string_view from) : all_(from), r_(as_bytes(from)) {}
  bool ok() const { return ok_ && r_.ok(); }
  bool at_end() const { return ok_ && r_.at_end(); }
  void fail() { ok_ = false; }

  uint64_t number() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t b = r_.u8();
      v |= uint64_t(b & 0x7f) << shift;
      if (!(b & 0x80)) return v;
    }
    return ok_ = false;
  }
  uint64_t number_upto(uint64_t max) {
    const uint64_t v = number();
    if (v <= max) return v;
    return ok_ = false;
  }
  template <class T>
  void integer(T& v) {
    if constexpr (std::is_same_v<T, bool>) v = number_upto(1);
    else v = T(number_upto(uint64_t(std::numeric_limits<T>::max())));
  }
  ByteView bytes(size_t n) { return r_.take(n); }
  std::string_view view() { return as_text(r_.take(number_upto(r_.left()))); }  // of a text, where it lies
  void text(std::string& s) { s = view(); }
  size_t position() const { return r_.position(); }
  std::string_view since(size_t from) const { return all_.substr(from, position() - from); }
  void file(std::string& s) {
    bool other = false;
    integer(other);
    if (other) text(last_file_);
    s = last_file_;
  }
  // Nothing is allocated for elements whose bytes are not there.
  template <class T, class One>
  void list(std::vector<T>& v, One one) {
    const uint64_t n = number_upto(r_.left());
    for (uint64_t i = 0; i < n && ok(); ++i) one(v.emplace_back());
  }

 private:
  std::string_view all_;
  base::Reader r_;
  bool ok_ = true;
  std::string last_file_;
};

template <class A> void io(A& a, typename A::template Ref<std::string> s) { a.text(s); }

inline void io(Out& a, const IpAddr& ip) {
  a.integer(ip.is_v6());
  a.bytes(ip.bytes());
}
inline void io(In& a, IpAddr& ip) {
  bool v6 = false;
  a.integer(v6);
  const ByteView b = a.bytes(v6 ? 16 : 4);
  if (a.ok()) ip = v6 ? IpAddr::v6(b.data()) : IpAddr::v4(b.data());
}

template <class A> void io(A& a, typename A::template Ref<Cidr> c) {
  io(a, c.ip);
  a.integer(c.len);
  if constexpr (std::is_same_v<A, In>)
    if (c.len > (c.ip.is_v4() ? 32 : 128)) a.fail();
}
template <class A> void io(A& a, typename A::template Ref<IpPort> p) {
  io(a, p.ip);
  a.integer(p.port);
}

// None, TCP, UDP.
inline void io(Out& a, const std::optional<Proto>& p) { a.number(!p ? 0 : *p == Proto::tcp ? 1 : 2); }
inline void io(In& a, std::optional<Proto>& p) {
  const uint64_t v = a.number_upto(2);
  if (v == 0) p.reset();
  else p = v == 1 ? Proto::tcp : Proto::udp;
}

template <class A> void io(A& a, typename A::template Ref<ObjectName> n) {
  a.text(n.ns);
  a.text(n.name);
}

inline void io(Out& a, const StringMap& m) {
  a.list(m, [&](const auto& kv) { a.text(kv.first), a.text(kv.second); });
}
inline void io(In& a, StringMap& m) {
  std::vector<std::pair<std::string, std::string>> all;
  a.list(all, [&](auto& kv) { a.text(kv.first), a.text(kv.second); });
  for (auto& kv : all) m.insert(std::move(kv));
}

template <class A, class List> void io_list(A& a, List& v) {
  a.list(v, [&](auto& x) { io(a, x); });
}

template <class A> void io(A&, typename A::template Ref<NamespaceObject>) {}
template <class A> void io(A& a, typename A::template Ref<NodeObject> n) {
  io_list(a, n.internal_ips);
  io_list(a, n.pod_cidrs);
}
template <class A> void io(A& a, typename A::template Ref<PodObject> p) {
  for (auto* s : {&p.node, &p.phase, &p.hostname, &p.subdomain}) a.text(*s);
  a.integer(p.host_network);
  a.integer(p.ready);
  io_list(a, p.ips);
}
template <class A> void io(A& a, typename A::template Ref<ServiceObject::Port> p) {
  for (auto* s : {&p.name, &p.app_protocol, &p.target_name}) a.text(*s);
  io(a, p.proto);
  for (auto* n : {&p.port, &p.node_port, &p.target_number}) a.integer(*n);
}
template <class A> void io(A& a, typename A::template Ref<ServiceObject> s) {
  a.text(s.type);
  a.text(s.external_name);
  for (auto* f : {&s.headless, &s.client_ip_affinity, &s.publish_not_ready, &s.has_selector}) a.integer(*f);
  a.integer(s.affinity_seconds);
  for (auto* ips : {&s.cluster_ips, &s.external_ips, &s.lb_ips}) io_list(a, *ips);
  io_list(a, s.ports);
}
template <class A> void io(A& a, typename A::template Ref<EndpointPort> p) {
  a.text(p.name);
  a.text(p.app_protocol);
  io(a, p.proto);
  a.integer(p.port);
}
template <class A> void io(A& a, typename A::template Ref<EndpointsObject::Address> x) {
  io(a, x.ip);
  for (auto* s : {&x.hostname, &x.node, &x.pod}) a.text(*s);
}
template <class A> void io(A& a, typename A::template Ref<EndpointsObject::Subset> s) {
  io_list(a, s.ready);
  io_list(a, s.not_ready);
  io_list(a, s.ports);
}
template <class A> void io(A& a, typename A::template Ref<EndpointsObject> e) { io_list(a, e.subsets); }
template <class A> void io(A& a, typename A::template Ref<EndpointSliceObject::Item> i) {
  io(a, i.ip);
  for (auto* s : {&i.hostname, &i.node, &i.pod, &i.zone}) a.text(*s);
  for (auto* f : {&i.ready, &i.serving, &i.terminating}) a.integer(*f);
}
template <class A> void io(A& a, typename A::template Ref<EndpointSliceObject> s) {
  a.text(s.service);
  a.integer(s.is_fqdn);
  io_list(a, s.ports);
  io_list(a, s.endpoints);
}

constexpr uint64_t kNoRule = 0;  // else kind + 1
inline void io(Out& a, const std::optional<LbRule>& r) {
  a.number(r ? uint64_t(r->kind) + 1 : kNoRule);
  if (r) a.text(r->hash_key);
}
inline void io(In& a, std::optional<LbRule>& r) {
  const uint64_t v = a.number_upto(uint64_t(LbRule::Kind::hash_query) + 1);
  if (v == kNoRule) return;
  r.emplace().kind = LbRule::Kind(v - 1);
  a.text(r->hash_key);
}
template <class A> void io(A& a, typename A::template Ref<DestinationRuleObject> d) {
  a.text(d.host);
  a.text(d.unsupported);
  io(a, d.rule);
}
template <class A> void io(A& a, typename A::template Ref<MeshNodeObject> m) {
  a.text(m.network);
  a.integer(m.revoked);
  io_list(a, m.overlay_ips);
  io_list(a, m.roles);
  io_list(a, m.advertise);
  io_list(a, m.pod_cidrs);
}

template <class A>
void io_hosts(A& a, typename A::template Ref<HostsObject> h) {
  io_list(a, h.hosts);
  io_list(a, h.addresses);
  io_list(a, h.gateways);
  io(a, h.selector);
}
template <class A>
void io(A& a, typename A::template Ref<ServiceEntryObject> h) {
  io_hosts<A>(a, h);
}
template <class A>
void io(A& a, typename A::template Ref<GatewayObject> h) {
  io_hosts<A>(a, h);
}
template <class A>
void io(A& a, typename A::template Ref<HttpRouteObject> h) {
  io_hosts<A>(a, h);
}
template <class A>
void io(A& a, typename A::template Ref<IstioGatewayObject> h) {
  io_hosts<A>(a, h);
}
template <class A>
void io(A& a, typename A::template Ref<VirtualServiceObject> h) {
  io_hosts<A>(a, h);
}

template <size_t I = 0>
void make_body(Object::Body& b, size_t kind) {
  if constexpr (I < std::variant_size_v<Object::Body>) {
    if (I == kind) b.emplace<I>();
    else make_body<I + 1>(b, kind);
  }
}

inline void io(Out& a, const Proto& p) { a.number(uint64_t(p)); }
inline void io(In& a, Proto& p) { p = a.number_upto(17) == 17 ? Proto::udp : Proto::tcp; }

template <class A> void io(A& a, typename A::template Ref<Endpoint> e) {
  io(a, e.ip);
  a.integer(e.port);
  for (auto* s : {&e.node, &e.pod, &e.hostname, &e.zone}) a.text(*s);
  for (auto* f : {&e.ready, &e.serving, &e.terminating}) a.integer(*f);
  a.integer(e.weight);
}
template <class A> void io(A& a, typename A::template Ref<ServicePort> p) {
  a.text(p.name);
  a.text(p.app_protocol);
  io(a, p.proto);
  a.integer(p.port);
  a.integer(p.node_port);
  io_list(a, p.endpoints);
}

inline void io(Out& a, const Service::Kind& k) { a.number(uint64_t(k)); }
inline void io(In& a, Service::Kind& k) { k = Service::Kind(a.number_upto(uint64_t(Service::Kind::external_name))); }
inline void io(Out& a, const LbRule& r) {
  a.number(uint64_t(r.kind));
  a.text(r.hash_key);
  a.text(r.source);
}
inline void io(In& a, LbRule& r) {
  r.kind = LbRule::Kind(a.number_upto(uint64_t(LbRule::Kind::hash_query)));
  a.text(r.hash_key);
  a.text(r.source);
}
inline void io(Out& a, const std::optional<std::chrono::seconds>& s) { a.number(s ? uint64_t(s->count()) + 1 : 0); }
inline void io(In& a, std::optional<std::chrono::seconds>& s) {
  if (const uint64_t v = a.number()) s = std::chrono::seconds(v - 1);
}
template <class A> void io(A& a, typename A::template Ref<Service> s) {
  io(a, s.id);
  io(a, s.kind);
  for (auto* ips : {&s.cluster_ips, &s.external_ips, &s.lb_ips}) io_list(a, *ips);
  a.text(s.external_name);
  io(a, s.client_ip_affinity);
  a.integer(s.publish_not_ready);
  a.integer(s.has_selector);
  io(a, s.labels);
  io(a, s.rule);
  io_list(a, s.ports);
  io_list(a, s.sctp_ports);
}

}  // namespace base::kube::codec
