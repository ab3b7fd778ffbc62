// NodePorts: ports of other nodes themselves, asked for one by one (SOCKS5). To the tunnel they are exports like those of services,
// under a name no service has; the other node decides by its own list of open ports (Exporter::set_open_ports). One export serves
// all connections to it and is given back half a minute after the last of them. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop/loop.h"
#include "tunnel/session/export.h"

namespace edgemesh {

inline constexpr std::string_view kNodePortService = "@node";  // in ExportRequest::service; the endpoint is 0.0.0.0:port

class NodePorts {
 public:
  struct Hooks {
    std::function<void(const std::string& peer, tunnel::ExportRequest, std::function<void(base::Result<tunnel::ExportGrant>)>)>
        request_export;
    std::function<void(const std::string& peer, const tunnel::ExportRequest&)> release_export;
  };
  struct Open {
    base::IpPort at;
    std::shared_ptr<void> hold;  // the peer keeps it open for us at least as long as this lives
  };
  NodePorts(Hooks hooks, base::Loop& loop) : hooks_(std::move(hooks)), loop_(loop), self_(std::make_shared<NodePorts*>(this)) {}
  ~NodePorts() { *self_ = nullptr; }

  void open(const std::string& node, uint16_t port, std::function<void(base::Result<Open>)>);
  size_t size() const { return ports_.size(); }

 private:
  using Key = std::pair<std::string, uint16_t>;
  struct Port {
    size_t holders = 0;
    bool granted = false;
    std::unique_ptr<base::Timer> linger;
  };
  std::shared_ptr<void> hold(const Key&);
  void let_go(const Key&);
  void give_back(const Key&);

  Hooks hooks_;
  base::Loop& loop_;
  std::map<Key, Port> ports_;
  std::shared_ptr<NodePorts*> self_;  // what outlives us sees null
};

}  // namespace edgemesh
