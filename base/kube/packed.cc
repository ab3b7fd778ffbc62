#include "base/kube/packed.h"

#include <cstring>

#include "base/kube/object_codec.h"

namespace base::kube {
namespace {

// kind (one byte), length of head and of place, head (name, labels), place (file, line), body
std::string joined(Kind kind, const Place& place, std::string_view head, std::string_view body) {
  std::string where, out(1, char(kind));
  codec::Out w(where), a(out);
  w.text(place.file);
  w.integer(place.line);
  out.reserve(head.size() + where.size() + body.size() + 8);
  a.number(head.size());
  a.number(where.size());
  out += head;
  out += where;
  return out += body;
}

std::string& scratch(int which) {  // packing is done by the ten thousand
  thread_local std::string s[2];
  s[which].clear();
  return s[which];
}

PackedObject::Name two_texts(std::string_view bytes) {
  codec::In in(bytes);
  const std::string_view ns = in.view();
  return {ns, in.view()};
}

}  // namespace

PackedObject::PackedObject(const Object& o) {
  std::string &head = scratch(0), &body = scratch(1);
  codec::Out h(head), b(body);
  io(h, o.id);
  io(h, o.labels);
  std::visit([&](auto& it) { io(b, it); }, o.body);
  *this = from_parts(o.kind(), o.place, head, body);
}

PackedObject PackedObject::from_parts(Kind kind, const Place& place, std::string_view head, std::string_view body) {
  PackedObject out;
  out.bytes_ = SharedBytes(joined(kind, place, head, body));
  return out;
}

PackedObject::Parts PackedObject::parts() const {
  const std::string_view all = bytes_.view().substr(1);
  codec::In in(all);
  const size_t head = in.number(), place = in.number(), at = in.position();
  return {all.substr(at, head), all.substr(at + head, place), all.substr(at + head + place)};
}

PackedObject::Name PackedObject::name_key() const { return two_texts(parts().head); }

std::string_view PackedObject::service() const {
  codec::In in(parts().body);
  return in.view();
}

Place PackedObject::place() const {
  Place p;
  const std::string_view part = parts().place;
  codec::In in(part);
  in.text(p.file);
  in.integer(p.line);
  return p;
}

bool PackedObject::same_content(const PackedObject& o) const {
  const Parts a = parts(), b = o.parts();
  return kind() == o.kind() && a.head == b.head && a.body == b.body;
}

Object PackedObject::unpack() const {
  const Parts p = parts();
  Object o;
  codec::In head(p.head), body(p.body);
  io(head, o.id);
  io(head, o.labels);
  o.place = place();
  codec::make_body(o.body, size_t(kind()));
  std::visit([&](auto& b) { io(body, b); }, o.body);
  EM_ASSERT(head.at_end() && body.at_end());
  return o;
}

PackedService::PackedService(const Service& s) {
  std::string& out = scratch(0);
  codec::Out a(out);
  io(a, s);
  bytes_ = SharedBytes(out);
}

PackedObject::Name PackedService::name_key() const { return two_texts(bytes_.view()); }

Service::Kind PackedService::kind() const {
  codec::In in(bytes_.view());
  in.view(), in.view();
  Service::Kind k{};
  io(in, k);
  return k;
}

// An endpoint begins with its address and port.
std::string PackedService::packed_endpoint(const IpPort& at) {
  std::string out;
  codec::Out a(out);
  io(a, at);
  return out;
}

bool PackedService::may_have(std::string_view endpoint) const {
  const std::string_view all = bytes_.view();
  return ::memmem(all.data(), all.size(), endpoint.data(), endpoint.size()) != nullptr;
}

static thread_local uint64_t unpacked_here = 0;
uint64_t PackedService::unpacked() { return unpacked_here; }

ServicePtr PackedService::unpack() const {
  ++unpacked_here;
  auto s = std::make_shared<Service>();
  codec::In in(bytes_.view());
  io(in, *s);
  EM_ASSERT(in.at_end());
  return s;
}

}  // namespace base::kube
