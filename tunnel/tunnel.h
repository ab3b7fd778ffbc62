// Tunnel: encrypted sessions between nodes, carrying an IP network over a TUN device. This is what the rest of the daemon sees;
// sessions, paths, keys, relays and punching are inside (docs/architecture.md, the life of a tunnel packet). Control loop only.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/core/rng.h"
#include "base/core/trust_clock.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/addr.h"
#include "tunnel/peer/peer_view.h"
#include "tunnel/punch/rules.h"
#include "tunnel/session/export.h"

namespace tunnel {

class Tunnel {
 public:
  struct Config {
    std::string node;
    std::string tun = "edgemesh0";
    uint16_t udp_port = 20006;
    uint16_t signal_port = 20006;              // TCP
    std::string cert_file, key_file, ca_file, deny_file, state_dir;
    base::TrustClock* clock = nullptr;         // certificates are checked against it; outlives the tunnel
    base::StateDisk* disk = nullptr;           // likewise; writes in state_dir
    std::chrono::seconds offline_grace{0};     // how long a certificate is accepted past its end
    std::vector<std::string> psk_files;
    std::vector<base::IpPort> advertise;
    struct Relay {
      std::string name;
      base::IpPort address;                    // signalling TCP and relay UDP
    };
    std::vector<Relay> relays;                 // besides MeshNodes with role relay and an advertised address
    uint16_t relay_tcp_port = 443;             // where a relay is dialled too, and listens too when this is one; 0: no
    std::optional<base::IpPort> proxy;         // HTTP; relays are dialled through it
    bool serve_relay = false;                  // needs the role in the certificate
    uint64_t relay_bytes_per_s_per_node = 0;   // 0: no limit
    bool direct = true;                        // false: never punch, stay on the relay
    PunchRules punch;
    base::Duration session_idle = std::chrono::minutes(10);  // let go after that long without a packet; 0: never
    bool lan_discovery = true;                 // find nodes on the same link by multicast DNS, and be found
    bool port_mapping = true;                  // ask the router for a forwarded port (PCP, NAT-PMP)
    bool upnp = true;                          // and by UPnP, where it answers neither
    base::Duration rekey_after = std::chrono::minutes(60);
    bool native = false;                       // route pod CIDRs
    std::vector<base::Cidr> own_pod_cidrs;
    std::vector<std::string> interfaces_include, interfaces_exclude;  // whose addresses are offered; include empty: all
    uint32_t socket_mark = 0;
    size_t workers = 1;
  };
  struct Hooks {
    // Peer side of an export: check and program it, answer with the port. Runs for peers of this trust domain only.
    std::function<base::Result<ExportGrant>(const std::string& peer, const std::vector<base::IpAddr>& peer_overlay, const ExportRequest&)>
        on_export_request;
    std::function<void(const std::string& peer, const ExportRequest&)> on_export_released;   // lease over, peer gone or denied
    std::function<void(const std::string& peer, const ExportRequest&)> on_grant_withdrawn;   // the peer took an export of ours back
    // A peer's certified addresses became known or it left: routes to it, slots of its endpoints.
    std::function<void(const std::string& peer, bool up, const std::vector<base::Cidr>& certified)> on_peer;
    // What the way to a peer carries: for the routes to its addresses. Longer packets pass too, in pieces.
    std::function<void(const std::string& peer, uint16_t mtu)> on_inner_mtu;
    std::function<void(base::ByteVec ip_packet)> on_stray;   // reached the TUN, belongs to no peer (VIP without a slot)
  };
  // Reads and checks the certificate, creates or takes over the TUN, opens the sockets. Errors are one line with the mend.
  static base::Result<std::unique_ptr<Tunnel>> start(Config, Hooks, base::Loop&, base::SocketStore&, base::Rng&, base::Metrics&);
  virtual ~Tunnel() = default;

  virtual const std::vector<base::IpAddr>& overlay_ips() const = 0;   // own, from the certificate
  virtual void set_peers(std::vector<PeerHint>) = 0;
  virtual void connect(const std::string& peer) = 0;                  // interest: have a session soon
  // Answered within 5 s, over a session that is made if there is none. Grants are renewed while in use; keep() marks use.
  virtual void request_export(const std::string& peer, ExportRequest, std::function<void(base::Result<ExportGrant>)>) = 0;
  virtual void release_export(const std::string& peer, const ExportRequest&) = 0;
  virtual void withdraw_export(const std::string& peer, const ExportRequest&) = 0;  // our endpoint went away
  virtual void ping(const std::string& peer, std::function<void(base::Result<std::chrono::nanoseconds>, std::string path)>) = 0;
  virtual void write_tun(base::ByteView ip_packet) = 0;
  virtual void reload_deny_list() = 0;
  // A successor takes the device and the sockets: nothing is read or sent from here on, and peers are told nothing, so that they
  // keep what they gave this node until the successor's session. Every call afterwards answers as if no peer were there.
  virtual void hand_over() = 0;
  virtual std::vector<PeerView> peers() const = 0;
  virtual std::vector<PathView> paths() const = 0;
  virtual NatView nat() const = 0;
  virtual LanView lan() const = 0;
};

}  // namespace tunnel
