// The Kubernetes objects the daemon reads, as values: only the fields it uses. Unknown fields are ignored, as Kubernetes
// does; a field of the wrong type is an error that names file, line, object and path, since guessing would misroute traffic.
// Objects are immutable and shared: sources keep them, the service table joins them.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/conf/value.h"
#include "base/core/result.h"
#include "base/kube/service_table.h"
#include "base/net/addr.h"

namespace base::kube {

// In the order of Object::Body.
enum class Kind : uint8_t {
  namespace_,
  node,
  pod,
  service,
  endpoints,
  endpoint_slice,
  destination_rule,
  mesh_node,
  service_entry,
  gateway,
  http_route,
  istio_gateway,
  virtual_service  // speak of host names
};
inline constexpr size_t kKinds = 13;
inline constexpr Kind kHostKinds[] = {Kind::service_entry, Kind::gateway, Kind::http_route, Kind::istio_gateway, Kind::virtual_service};
const char* to_string(Kind);  // "Service"
bool is_cluster_scoped(Kind);

struct NamespaceObject {
  bool operator==(const NamespaceObject&) const = default;
};

struct NodeObject {
  std::vector<IpAddr> internal_ips;
  std::vector<Cidr> pod_cidrs;
  bool operator==(const NodeObject&) const = default;
};

struct PodObject {
  std::string node, phase, hostname, subdomain;
  bool host_network = false, ready = false;
  std::vector<IpAddr> ips;
  bool operator==(const PodObject&) const = default;
};

struct ServiceObject {
  struct Port {
    std::string name, app_protocol;
    std::optional<Proto> proto = Proto::tcp;  // nullopt: a protocol we do not carry (SCTP); the port is left out
    uint16_t port = 0, node_port = 0, target_number = 0;
    std::string target_name;
    bool operator==(const Port&) const = default;
  };
  std::string type;  // "" counts as ClusterIP
  bool headless = false;
  std::vector<IpAddr> cluster_ips, external_ips, lb_ips;
  std::string external_name;
  bool client_ip_affinity = false;
  int32_t affinity_seconds = 10800;
  bool publish_not_ready = false, has_selector = false;
  std::vector<Port> ports;
  bool operator==(const ServiceObject&) const = default;
};

struct EndpointPort {
  std::string name, app_protocol;
  std::optional<Proto> proto = Proto::tcp;
  uint16_t port = 0;  // 0: not given
  bool operator==(const EndpointPort&) const = default;
};

struct EndpointsObject {
  struct Address {
    IpAddr ip;
    std::string hostname, node, pod;
    bool operator==(const Address&) const = default;
  };
  struct Subset {
    std::vector<Address> ready, not_ready;
    std::vector<EndpointPort> ports;
    bool operator==(const Subset&) const = default;
  };
  std::vector<Subset> subsets;
  bool operator==(const EndpointsObject&) const = default;
};

struct EndpointSliceObject {
  struct Item {
    IpAddr ip;  // the first address, as kube-proxy takes it
    std::string hostname, node, pod, zone;
    bool ready = true, serving = true, terminating = false;
    bool operator==(const Item&) const = default;
  };
  std::string service;  // label kubernetes.io/service-name; "" belongs to none
  bool is_fqdn = false;  // addressType FQDN: carries no addresses we could use
  std::vector<EndpointPort> ports;
  std::vector<Item> endpoints;
  bool operator==(const EndpointSliceObject&) const = default;
};

struct DestinationRuleObject {
  std::string host;
  std::optional<LbRule> rule;  // nullopt: no load-balancing policy given
  std::string unsupported;     // the policy we cannot serve and why; rule is nullopt then
  bool operator==(const DestinationRuleObject&) const = default;
};

struct MeshNodeObject {
  std::vector<IpAddr> overlay_ips;
  std::string network;
  std::vector<std::string> roles;
  std::vector<IpPort> advertise;
  std::vector<Cidr> pod_cidrs;
  bool revoked = false;
  bool operator==(const MeshNodeObject&) const = default;
};

// What objects say about names that clients call outside of the cluster's domain (host_names.h).
struct HostsObject {
  std::vector<std::string> hosts;    // as written: "shop.example", "*.shop.example"
  std::vector<IpAddr> addresses;     // ServiceEntry: its own, else its endpoints'. Gateway: what its status says
  std::vector<ObjectName> gateways;  // HTTPRoute, VirtualService: what they are bound to
  StringMap selector;                // Istio Gateway
  bool operator==(const HostsObject&) const = default;
};
struct ServiceEntryObject : HostsObject {
  bool operator==(const ServiceEntryObject&) const = default;
};
struct GatewayObject : HostsObject {
  bool operator==(const GatewayObject&) const = default;
};
struct HttpRouteObject : HostsObject {
  bool operator==(const HttpRouteObject&) const = default;
};
struct IstioGatewayObject : HostsObject {
  bool operator==(const IstioGatewayObject&) const = default;
};
struct VirtualServiceObject : HostsObject {
  bool operator==(const VirtualServiceObject&) const = default;
};

struct Place {  // where an object was read; line 0 for objects that came over the network
  std::string file;
  uint32_t line = 0;
  auto operator<=>(const Place&) const = default;
  std::string str() const { return line ? file + ":" + std::to_string(line) : file; }
};

struct Object {
  using Body =
      std::variant<NamespaceObject, NodeObject, PodObject, ServiceObject, EndpointsObject, EndpointSliceObject, DestinationRuleObject,
                   MeshNodeObject, ServiceEntryObject, GatewayObject, HttpRouteObject, IstioGatewayObject, VirtualServiceObject>;
  ObjectName id;
  StringMap labels;
  std::string resource_version;  // "" from files
  Place place;
  Body body;

  Kind kind() const { return Kind(body.index()); }
  std::string label() const { return std::string(to_string(kind())) + " " + id.str(); }  // "Service shop/web"
  bool same_content(const Object& o) const { return id == o.id && labels == o.labels && body == o.body; }  // wherever it was read
};
using ObjectPtr = std::shared_ptr<const Object>;

// What a document holds: one object, or the items of a list kind (List, ServiceList, ...).
struct ParsedDocument {
  std::vector<ObjectPtr> objects;
  size_t skipped = 0;  // objects of kinds nobody here reads
};
// Appends to out. Errors: "<file>:<line>:<column>: <Kind> <ns>/<name>: <path>: <what>".
Result<void> parse_document(const conf::Value&, std::string_view file, ParsedDocument& out);
// All documents of a YAML or JSON text. An error leaves nothing.
Result<ParsedDocument> parse_objects(std::string_view text, std::string_view file);

std::optional<ObjectName> parse_object_name(std::string_view);  // "shop/web"; "web" is cluster-scoped

}  // namespace base::kube
