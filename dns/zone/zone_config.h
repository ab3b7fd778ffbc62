// What the cluster zone is told by configuration, and what it asks of others. Values only.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/kube/service_table.h"

namespace dns {

// Names of pods, <dashed address>.<namespace>.pod.<zone>: never, echoed for any address of an existing namespace, or only for
// addresses that are there.
enum class PodNames : uint8_t { disabled, insecure, verified };

struct ZoneConfig {
  std::string cluster_domain = "cluster.local";
  uint32_t ttl = 5;                       // seconds, 0 to 3600; also the negative TTL
  PodNames pods = PodNames::insecure;
  bool endpoint_pod_names = false;        // endpoints without hostname are called by their pod's name
  bool ignore_empty_service = false;      // a ClusterIP service without ready endpoints does not exist
  bool no_endpoints = false;              // endpoints have no names and headless services no addresses
  bool reverse_fallthrough = true;        // reverse names nobody here has are asked upstream
  std::vector<std::string> namespaces;    // exposed ones; empty: all
  std::vector<base::IpAddr> server_addresses;  // of ns.dns.<zone>
};

// Where a client on this node reaches an endpoint: its own address, or synthetic ones for endpoints behind a tunnel.
using EndpointAddresses = std::function<std::vector<base::IpAddr>(const base::kube::Service&, const base::kube::Endpoint&)>;
// Whether a pod of that namespace has that address (PodNames::verified).
using PodExists = std::function<bool(std::string_view ns, const base::IpAddr&)>;
// The namespace of the pod with that address when it opted in to answers along its search path (autopath), else null.
using SearchNamespace = std::function<const std::string*(const base::IpAddr& client)>;

}  // namespace dns
