// LanPort: the multicast sockets of LanDiscovery, one for each link and family, and the names behind its tags. Links are the
// interfaces whose addresses are candidates: not our own device, not those of containers and virtual machines. Where a socket cannot
// be opened the link is left out, with one line in the log. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/loop/loop.h"
#include "base/net/multicast.h"
#include "base/net/netlink.h"
#include "tunnel/lan/lan_discovery.h"
#include "tunnel/path/candidates.h"
#include "tunnel/peer/peer_view.h"

namespace tunnel {

// What LanDiscovery is to know of the interfaces; those without an address that may be told are left out.
std::vector<LanLink> lan_links(const std::vector<base::netlink::Link>&, const std::vector<base::netlink::Address>&, const CandidateRules&);

class LanPort {
 public:
  struct Config {
    std::vector<base::ByteVec> authorities;  // SHA-256 of the public keys of the roots this node trusts
    std::string trust_domain, node;
    uint16_t udp_port = 0, tcp_port = 0;
    uint32_t socket_mark = 0;
  };
  // on_found: addresses of that peer came or went.
  LanPort(Config, std::function<void(const std::string& peer)> on_found, base::Loop&, base::Rng&, base::Metrics&);
  ~LanPort();

  void follow(std::vector<LanLink>);
  void set_peers(const std::set<std::string>& names);  // on_found is called for those that were heard before
  void look();                                         // a peer is missed
  void stop_for_good();                                // says goodbye
  std::vector<base::IpPort> udp_at(const std::string& peer) const;
  std::vector<base::IpPort> signal_at(const std::string& peer) const;
  LanView view() const;

 private:
  struct Socket {
    base::MulticastSpec spec;
    base::UniqueFd fd;
    std::unique_ptr<base::FdWatch> watch;
  };
  std::vector<LanTag> tags_of(const std::string& name) const;
  template <class Get>
  std::vector<base::IpPort> over_tags(const std::string& peer, Get) const;
  void open(const LanLink&, base::Family);
  void on_readable(Socket&);
  void on_timer();
  void touch();

  Config config_;
  std::function<void(const std::string&)> on_found_;
  base::Loop& loop_;
  std::map<LanTag, std::string> names_;
  std::set<std::string> peers_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::set<std::string> told_;  // troubles that are in the log
  std::unique_ptr<base::Timer> timer_;
  LanDiscovery discovery_;
};

}  // namespace tunnel
