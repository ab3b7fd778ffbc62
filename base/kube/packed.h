// Objects and services at rest: their fields as bytes in one allocation, a tenth of what the values take, compared without reading
// them. What is kept by the ten thousand is kept so; whoever works on one unpacks it. Immutable, shared, in any thread.
#pragma once
#include "base/core/shared_bytes.h"
#include "base/kube/objects.h"

namespace base::kube {

// Without its resource_version, which only its source understands.
class PackedObject {
 public:
  PackedObject() = default;  // none
  PackedObject(const Object&);
  PackedObject(const ObjectPtr& o) : PackedObject(*o) {}
  explicit operator bool() const { return bool(bytes_); }

  Kind kind() const { return Kind(bytes_.view()[0]); }
  using Name = std::pair<std::string_view, std::string_view>;  // namespace, name
  Name name_key() const;
  std::string_view ns() const { return name_key().first; }
  std::string_view name() const { return name_key().second; }
  ObjectName id() const { return {std::string(ns()), std::string(name())}; }
  std::string label() const { return std::string(to_string(kind())) + " " + id().str(); }
  std::string_view service() const;              // of an EndpointSlice: as EndpointSliceObject::service
  Place place() const;
  bool same_content(const PackedObject&) const;  // wherever it was read
  Object unpack() const;
  // Of bytes that were read and found good; ok() is their reader's business.
  static PackedObject from_parts(Kind, const Place&, std::string_view head, std::string_view body);

  size_t size() const { return bytes_.view().size(); }

  struct Parts {
    std::string_view head, place, body;
  };
  Parts parts() const;                           // for object_codec.h's readers
  bool operator==(const PackedObject& o) const { return bytes_.view() == o.bytes_.view(); }

 private:
  SharedBytes bytes_;
};

class PackedService {
 public:
  PackedService() = default;
  explicit PackedService(const Service&);
  explicit operator bool() const { return bool(bytes_); }
  PackedObject::Name name_key() const;
  Service::Kind kind() const;
  bool may_have(std::string_view endpoint) const;      // packed_endpoint(): false for nearly all that have it not
  ServicePtr unpack() const;
  static std::string packed_endpoint(const IpPort&);
  static uint64_t unpacked();                          // how many were unpacked in this thread so far: what tests hold us to
  bool operator==(const PackedService& o) const { return bytes_.view() == o.bytes_.view(); }

 private:
  SharedBytes bytes_;
};

// Order by namespace and name, also against an ObjectName that was not packed.
struct NameOrder {
  using is_transparent = void;
  template <class Packed>
  static PackedObject::Name key(const Packed& p) { return p.name_key(); }
  static PackedObject::Name key(const ObjectName& n) { return {n.ns, n.name}; }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const { return key(a) < key(b); }
};

}  // namespace base::kube
