// ClosedHost: which of our packets other programs' filters drop on this host. docker, ufw and firewalld set FORWARD or INPUT to
// drop; an accept of ours cannot undo a drop of theirs. So the rules are read (base/net/packet_filters.h), packets as the mesh
// makes them are tried against them, and whoever carries the calls is told: what FORWARD refuses goes through the daemon
// instead. Looked at on start, and within a second whenever a filter or a link changed.
//
// With open_input a rule of ours accepts packets to the service addresses in the chains that drop them; remove() takes it out.
// Foreign tables are otherwise never touched. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/loop/loop.h"
#include "base/net/packet_filters.h"
#include "edgemesh/intercept/links.h"

namespace edgemesh {

struct ClosedPath {
  enum class Kind : uint8_t {
    clients,   // forward: pods to endpoints, of this node or through the tunnel
    exports,   // forward: from the tunnel to our endpoints
    service,   // input: pods to DNS and the proxy on the service address
    arrivals,  // input: from the tunnel to the daemon, which carries exports where FORWARD is closed
  };
  Kind kind = Kind::clients;
  base::Refusal by;
  std::string effect;  // "calls of pods go through the daemon"
  std::string mend;    // the rule an operator adds
  std::string text() const;
  bool operator==(const ClosedPath&) const = default;
};

class ClosedHost {
 public:
  static constexpr const char* kTag = "edgemeshd: mesh.openInput";  // the comment of our rule in other programs' chains
  struct Config {
    std::string tun;
    std::vector<base::IpAddr> service_ips, overlay_ips;
    std::vector<base::Cidr> service_cidrs;
    uint16_t proxy_port = 0, dns_port = 53;
    bool dns = true;
    bool open_input = false;
  };
  // on_change: paths() is another one.
  ClosedHost(Config, base::Loop&, std::function<void()> on_change);
  ~ClosedHost();
  void start();  // looks at once
  bool has(ClosedPath::Kind) const;
  const std::vector<ClosedPath>& paths() const { return paths_; }
  void links_changed() { stale_ = true; }
  void remove();

 private:
  struct PodSide {                   // where pods are: an interface, an address there
    std::string link;
    base::IpAddr pod;
  };
  void look();
  std::optional<std::vector<PodSide>> pod_sides() const;
  std::vector<ClosedPath> judge(const base::PacketFilters&) const;
  void judge_side(const base::PacketFilters&, const PodSide&, std::vector<ClosedPath>&) const;
  void open_input(const std::vector<ClosedPath>&);
  void tell(const std::vector<ClosedPath>& before) const;

  Config config_;
  base::Loop& loop_;
  std::function<void()> on_change_;
  std::unique_ptr<base::Timer> timer_;
  std::string seen_;
  bool stale_ = true;                 // links changed
  std::vector<PodSide> sides_;        // of the links as they were: with thousands of routes it takes milliseconds to look
  std::vector<ClosedPath> paths_;
  std::map<base::Refusal, int> opened_;  // how often
};

}  // namespace edgemesh
