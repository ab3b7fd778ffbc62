// HostNames: the names beyond the cluster's domain that objects of Istio and of the Gateway API give to what clients can call, and the
// addresses they lead to. Nothing is made up: a name whose gateway has no address here is not listed.
//
// - ServiceEntry: its addresses, else those of its endpoints; prefixes and names among them are left out.
// - Gateway (Gateway API): the cluster addresses of the Services labelled gateway.networking.k8s.io/gateway-name in its namespace, else the
//   addresses its status tells. Names: those of its listeners, and of the HTTPRoutes that name it and fit a listener.
// - Gateway (Istio): the cluster addresses of the Services that carry the labels of its selector, of any namespace. Names: those of
//   its servers, and of the VirtualServices that name it and fit one.
//
// A pure join; costs nothing while there are no such objects. Lives on the control loop.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/kube/packed.h"

namespace base::kube {

struct HostName {
  std::string host;  // lowered; "*.shop.example" stands for what is not there
  std::vector<IpAddr> addresses;
  bool operator==(const HostName&) const = default;
};

class HostNames {
 public:
  // One of the two may be none, as TableBuilder::on_hosts tells it. Other kinds are none of its business.
  void changed(const PackedObject& before, const PackedObject& after);
  void set_table(const ServiceTablePtr&, const ServiceDiff&);
  // Whether list() may say something else than when it was asked last.
  bool is_dirty() const { return dirty_; }
  // Under one of the domains ("." for all), in the order of names; at most limits::kHostNamesMax.
  std::vector<HostName> list(const std::vector<std::string>& domains);

 private:
  using Objects = std::map<ObjectName, HostsObject>;
  using Found = std::map<std::string, std::set<IpAddr>>;
  struct Carrier {  // a Service that gateways go by
    StringMap labels;
    std::vector<IpAddr> addresses;
  };
  Objects& of(Kind);
  bool carries(const Service&) const;
  void look_at(const ObjectName&, const ServicePtr&);
  void find_carriers();
  std::set<IpAddr> addresses_of(Kind, const ObjectName&, const HostsObject&) const;
  void add_gateways(Kind gateways, Kind routes, Found&);

  std::map<Kind, Objects> objects_;
  ServiceTablePtr table_;
  std::map<ObjectName, Carrier> carriers_;
  bool dirty_ = false, carriers_due_ = false;
};

}  // namespace base::kube
