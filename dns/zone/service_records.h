// One service as names: what Kubernetes DNS-Based Service Discovery 1.1.0 asks for, rendered. Pure.
#pragma once
#include "dns/zone/piece.h"
#include "dns/zone/zone_config.h"

namespace dns {

// Null when the service has no name (not exposed, or headless without a ready endpoint).
Piece render_service(const base::kube::Service&, const ZoneConfig&, const EndpointAddresses&);
// The base name of its piece; nullopt when that is no name.
std::optional<Name> service_name(const base::kube::ObjectName&, const ZoneConfig&);

// The zones we answer for: the cluster's domain first, then the reverse trees. And the names they have of their own.
std::vector<Name> zones_of(const ZoneConfig&);
std::vector<Piece> render_zones(const ZoneConfig&);

// "172-20-3-1", "fd00-20-3--1"; a trailing '-' gets a 0. And back.
std::string dashed(const base::IpAddr&);
std::optional<base::IpAddr> from_dashed(std::string_view);

}  // namespace dns
