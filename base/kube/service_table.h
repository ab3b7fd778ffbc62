// ServiceTable: Services x EndpointSlices (Endpoints as fallback) x Nodes, MeshNodes and DestinationRules, joined once on the
// control loop and then immutable. dns, lb, the tunnel's exports, interception and discovery all read this one table.
// Snapshots share structure: a change of one endpoint costs O(that service). Snapshots cross threads as
// shared_ptr<const ServiceTable> by Loop::post.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/net/addr.h"

namespace base::kube {

struct ObjectName {  // namespace/name; the namespace is empty for cluster-scoped kinds
  std::string ns, name;
  auto operator<=>(const ObjectName&) const = default;
  std::string str() const { return ns.empty() ? name : ns + "/" + name; }
};

using StringMap = std::map<std::string, std::string>;

// The load-balancing rule as a DestinationRule gives it (Istio networking, trafficPolicy.loadBalancer).
struct LbRule {
  enum class Kind : uint8_t { round_robin, random, least_request, hash_source_ip, hash_header, hash_cookie, hash_query };
  Kind kind = Kind::round_robin;
  std::string hash_key;     // header, cookie or query parameter name
  std::string source;       // "DestinationRule ns/name" or "" for the default
  bool operator==(const LbRule&) const = default;
};

struct Endpoint {
  IpAddr ip;
  uint16_t port = 0;         // resolved for its service port
  std::string node;          // "" when the object names none: dialled directly
  std::string pod;           // targetRef name, for people
  std::string hostname;      // EndpointSlice hostname (StatefulSet pods)
  std::string zone;
  bool ready = true, serving = true, terminating = false;
  uint32_t weight = 1;
  bool operator==(const Endpoint&) const = default;
};

struct ServicePort {
  std::string name;          // "" allowed for a single port
  Proto proto = Proto::tcp;
  uint16_t port = 0;
  uint16_t node_port = 0;
  std::string app_protocol;
  std::vector<Endpoint> endpoints;  // all, sorted by (ip, port); usable() filters
  std::vector<const Endpoint*> usable(Family) const;  // ready; if none is, serving and terminating ones (KEP-1672)
  bool operator==(const ServicePort&) const = default;
};

struct Service {
  ObjectName id;
  enum class Kind : uint8_t { cluster_ip, headless, external_name };
  Kind kind = Kind::cluster_ip;
  std::vector<IpAddr> cluster_ips;       // one per family at most
  std::vector<IpAddr> external_ips, lb_ips;
  std::string external_name;
  std::optional<std::chrono::seconds> client_ip_affinity;  // sessionAffinity: ClientIP
  bool publish_not_ready = false;
  bool has_selector = false;
  StringMap labels;
  LbRule rule;
  std::vector<ServicePort> ports;        // a headless service without ports has one numbered 0 that carries its endpoints
  std::vector<ServicePort> sctp_ports;   // for DNS alone: SCTP is not carried. Their `proto` means nothing
  bool operator==(const Service&) const = default;
};
using ServicePtr = std::shared_ptr<const Service>;

struct NodeInfo {
  std::string name;
  std::vector<IpAddr> internal_ips;
  std::vector<Cidr> pod_cidrs;
  StringMap labels;
  bool operator==(const NodeInfo&) const = default;
};

// MeshNode (mesh.edgemeshd.io/v1alpha1), spec only: a hint, never authority (that is the node's certificate).
struct MeshNodeInfo {
  std::string name;
  std::vector<IpAddr> overlay_ips;
  std::string network;
  std::vector<std::string> roles;           // "relay"
  std::vector<IpPort> advertise;            // where the node can be reached without punching
  std::vector<Cidr> pod_cidrs;
  bool revoked = false;
  std::string where;                        // file:line, for error lines
  bool operator==(const MeshNodeInfo&) const = default;
};

struct ServiceDiff {
  std::vector<ObjectName> changed;  // added or changed, sorted
  std::vector<ObjectName> removed;  // sorted
  bool nodes_changed = false;       // Nodes or MeshNodes
  bool namespaces_changed = false;
  bool empty() const { return changed.empty() && removed.empty() && !nodes_changed && !namespaces_changed; }
};

class ServiceTable {
 public:
  virtual ~ServiceTable() = default;
  virtual uint64_t generation() const = 0;
  virtual bool synced() const = 0;  // false until every source delivered its first list
  // Made when asked, from what the table keeps packed: hold on to the pointer, two calls give two.
  virtual ServicePtr find(const ObjectName&) const = 0;
  virtual bool has(const ObjectName& n) const { return find(n) != nullptr; }
  virtual void each(const std::function<void(const ServicePtr&)>&) const = 0;  // in name order
  // For whoever wants less than every service unpacked: names and kinds; the services with an endpoint of that address and port.
  virtual void each_id(const std::function<void(const ObjectName&, Service::Kind)>&) const;
  virtual std::vector<ServicePtr> at(Proto, const IpPort& endpoint) const;
  virtual size_t size() const = 0;
  virtual bool has_namespace(const std::string&) const = 0;  // named by a Namespace object or by any service
  virtual const std::map<std::string, NodeInfo>& nodes() const = 0;
  virtual const std::map<std::string, MeshNodeInfo>& mesh_nodes() const = 0;
};
using ServiceTablePtr = std::shared_ptr<const ServiceTable>;

bool has_endpoint(const Service&, Proto, const IpPort&);

// Whether traffic to a service is ours to carry: a service with a cluster address that is not excluded and that the
// label service.edgemesh.kubeedge.io/service-proxy-name does not leave to others.
enum class FilterMode : uint8_t { if_label_exists, if_label_does_not_exist };  // ... the service is left alone
bool is_proxied(const Service&, FilterMode, const std::vector<ObjectName>& excluded);

// Joins object events into tables. Lives on the control loop. on_change runs at most once per loop turn.
// Made by make_service_table_builder() (base/kube/table_builder.h), which is the sink of any ObjectSource.
class ServiceTableBuilder {
 public:
  virtual ~ServiceTableBuilder() = default;
  virtual std::vector<std::string> problems() const { return {}; }  // standing troubles of objects, one line each
  virtual ServiceTablePtr table() const = 0;  // never null
  virtual void on_change(std::function<void(const ServiceTablePtr&, const ServiceDiff&)>) = 0;
};

}  // namespace base::kube
