// ZoneBuilder: service tables in, zone updates out. Lives on the control loop, keeps nothing but the table; a change costs
// O(changed services). Invariant: applying every update in order to an empty ZoneIndex gives the zone of the last table.
#pragma once
#include "dns/zone/service_records.h"
#include "dns/zone/zone_update.h"

namespace dns {

class ZoneBuilder {
 public:
  explicit ZoneBuilder(ZoneConfig, EndpointAddresses = {});
  const ZoneConfig& config() const { return config_; }

  ZoneUpdate whole(base::kube::ServiceTablePtr);
  ZoneUpdate apply(base::kube::ServiceTablePtr, const base::kube::ServiceDiff&);
  // Renders these services again: the addresses of their endpoints changed although the objects did not.
  ZoneUpdate again(const std::vector<base::kube::ObjectName>&);

 private:
  ZoneUpdate begin(base::kube::ServiceTablePtr);
  void replace(const base::kube::ObjectName&, ZoneUpdate&) const;

  ZoneConfig config_;
  EndpointAddresses addresses_;
  base::kube::ServiceTablePtr table_;
};

}  // namespace dns
