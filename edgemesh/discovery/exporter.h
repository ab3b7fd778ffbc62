// Exporter: the other side of Discovery. Peers ask for endpoints of this node; the exporter checks each request against its
// own service table, gives it a port on our overlay address and opens the kernel's way for that peer alone. What is no longer
// in the table is closed and the peer told. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/kube/service_table.h"
#include "edgemesh/intercept/intercept.h"
#include "tunnel/session/export.h"

namespace edgemesh {

class Exporter {
 public:
  struct Hooks {
    std::function<base::Result<void>(const std::vector<ExportRule>& add, const std::vector<ExportRule>& remove)> apply;
    std::function<void(const std::string& peer, const tunnel::ExportRequest&)> withdraw;  // tell the peer
  };
  Exporter(std::string own_node, Hooks, base::Metrics&);

  void set_overlay(std::vector<base::IpAddr> own) { own_overlay_ = std::move(own); }
  // TCP ports of this node itself that peers may ask for by number (NodePorts, SOCKS5). What is not listed is closed.
  struct OpenPort {
    uint16_t port = 0;
    std::vector<std::string> nodes;  // for these alone; empty: for every node of the mesh
  };
  void set_open_ports(std::vector<OpenPort> ports) { open_ports_ = std::move(ports); }
  bool is_open(const std::string& node, uint16_t port) const;
  void set_table(const base::kube::ServiceTablePtr&, const base::kube::ServiceDiff&);
  // The same request again gives the same answer. Errors are sent to the peer: they say what, not more than it may know.
  base::Result<tunnel::ExportGrant> on_request(const std::string& peer, const std::vector<base::IpAddr>& peer_overlay,
                                               const tunnel::ExportRequest&);
  void on_released(const std::string& peer, const tunnel::ExportRequest&);
  // Where the kernel must not forward, the daemon carries the exports: their flows are led to these addresses of its own, one per
  // family (none: to the endpoints). Who comes there finds its endpoint by target_of.
  void carry_by(std::vector<base::IpPort> own);
  std::optional<base::IpPort> target_of(const base::IpAddr& peer_overlay, base::Proto, const base::IpPort& export_at) const;
  size_t size() const { return exports_.size(); }

 private:
  using Key = std::pair<std::string, tunnel::ExportRequest>;
  bool has_endpoint(const tunnel::ExportRequest&) const;
  base::Result<void> may_have(const std::string& peer, const tunnel::ExportRequest&) const;
  ExportRule in_kernel(ExportRule) const;
  uint16_t port_for(base::Proto, const base::IpPort& target);
  void close(std::map<Key, ExportRule>::iterator);
  void free_port_of(const ExportRule&);  // unless another export still uses it

  std::string own_node_;
  Hooks hooks_;
  std::vector<base::IpAddr> own_overlay_;
  std::vector<base::IpPort> carriers_;
  std::vector<OpenPort> open_ports_;
  base::kube::ServiceTablePtr table_;
  std::map<Key, ExportRule> exports_;
  std::map<std::pair<base::Proto, base::IpPort>, uint16_t> ports_;            // target -> port, while exported
  std::map<std::tuple<base::Family, base::Proto, uint16_t>, base::IpPort> used_;  // port -> target
  base::Counter &granted_, &refused_;
};

}  // namespace edgemesh
