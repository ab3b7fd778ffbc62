// Discovery: from the service table to the kernel. Chooses a tier for each endpoint, asks peers for exports of the services
// that are in use, and hands the resulting frontends to Intercept. What nobody here uses costs only the parsed object: a
// service is of interest once something of this node asked DNS for it, connected to it or sent to it (first contact).
//
// Control loop only. Changes of one turn are applied in one batch at its end.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/shared_bytes.h"
#include "base/kube/service_table.h"
#include "base/loop/loop.h"
#include "edgemesh/discovery/synthetic.h"
#include "edgemesh/discovery/tiers.h"
#include "edgemesh/intercept/intercept.h"
#include "lb/health/outlier.h"
#include "tunnel/tunnel.h"

namespace edgemesh {

struct DialCandidate {  // one endpoint as the proxy sees it
  base::kube::ObjectName service;
  base::kube::Endpoint endpoint;
  base::Proto proto = base::Proto::tcp;
};

struct ExplainRow {
  std::string frontend, endpoint, node, pod, tier, dial, why, health;
};
struct Explanation {
  std::string service, policy, note;
  std::vector<ExplainRow> rows;
};

class Discovery {
 public:
  struct Config {
    TierInput tiers;
    bool node_ports = false;
    std::function<bool(const base::kube::Service&)> is_proxied;  // filter label and exclusions
    std::vector<base::IpAddr> service_ips;                       // where the proxy listens, by family
    uint16_t proxy_port = 0;
    std::chrono::seconds interest_life{3600};
    const lb::OutlierDetector* health = nullptr;  // outlives us; null: everybody is well
    // A table that is still being listed programs nothing (services without endpoints would be refused) for at most so long.
    std::chrono::seconds settle_max{10};
  };
  struct Hooks {
    std::function<base::Result<void>(const std::vector<FrontendChange>&)> apply;
    std::function<base::Result<void>(const std::vector<GrantedExport>& add, const std::vector<GrantedExport>& remove)> apply_granted;
    std::function<void(const std::string& peer, tunnel::ExportRequest, std::function<void(base::Result<tunnel::ExportGrant>)>)>
        request_export;
    std::function<void(const std::string& peer, const tunnel::ExportRequest&)> release_export;
    std::function<void(const FrontendKey&)> on_ready;                            // a held UDP frontend has backends in the kernel now
    std::function<void(const base::kube::ObjectName&)> on_programmed = nullptr;  // a service came, went, or may be dialled elsewhere
    // The first table of all, in pieces until an empty one (Intercept::apply_first). None: apply takes it.
    std::function<base::Result<void>(const std::function<std::vector<FrontendChange>()>&)> apply_first = nullptr;
  };

  Discovery(Config, Hooks, base::Loop&, base::Metrics&);

  void set_table(const base::kube::ServiceTablePtr&, const base::kube::ServiceDiff&);
  // First contact with a service: exports of its remote endpoints are asked for now.
  void interest(const base::kube::ObjectName&);
  void on_peer(const std::string& peer, bool up);  // reachability or certified prefixes changed
  void on_grant_withdrawn(const std::string& peer, const tunnel::ExportRequest&);

  // On a host whose FORWARD chain is closed the kernel leads every connection and datagram to the daemon's proxy and relay.
  void set_through_daemon(bool);

  // The service behind a frontend address, if it is ours.
  std::optional<base::kube::ObjectName> owner(const FrontendKey&) const;
  // Endpoints for one proxied connection, best first. Unknown frontend: empty.
  std::vector<DialCandidate> candidates(const base::IpPort& frontend, base::Proto, const base::IpAddr& client);
  // Where to dial it: at once for what the kernel routes, after an export request otherwise.
  void resolve(const DialCandidate&, std::function<void(base::Result<base::IpPort>)>);

  // Health speaks of endpoints by the address and protocol they are dialled at. Which of these are dialled for us at all; is this one
  // behind that frontend; its health changed (-> the services it is part of, programmed anew at the end of the turn).
  std::set<lb::Dialled> still_dialled(const std::set<lb::Dialled>&) const;
  bool serves(const base::IpPort& frontend, const lb::Dialled&) const;
  std::vector<base::kube::ObjectName> health_changed(const lb::Dialled&);
  // Where the usable endpoints of a service are dialled from here; of one that is not ours none, nor what the proxy must find first.
  using Visit = std::function<void(const base::kube::Service&, const base::kube::ServicePort&, const base::IpPort& at)>;
  void each_dialled(const base::kube::ObjectName&, const Visit&) const;

  // What DNS answers for an endpoint of a headless service: its own address, or the synthetic one that leads to it from here.
  std::vector<base::IpAddr> addresses_for(const base::kube::Service&, const base::kube::Endpoint&);

  Explanation explain(const base::kube::ObjectName&) const;
  std::vector<base::kube::ObjectName> in_use() const;  // services of interest, for the next process
  void flush();                                        // what is pending goes to the kernel now instead of at the end of the turn
  size_t frontends() const { return owners_.size(); }
  bool has_udp(base::Family f) const { return udp_frontends_[f == base::Family::v6] > 0; }

 private:
  enum class State : uint8_t { unasked, asking, granted, failed };
  struct Remote {
    State state = State::unasked;
    tunnel::ExportGrant grant;
    base::Instant retry_at{};
    std::chrono::seconds backoff{1};
    std::string error;
    std::vector<std::function<void(base::Result<base::IpPort>)>> waiting;
  };
  using RemoteKey = std::pair<std::string, tunnel::ExportRequest>;  // peer, what
  struct Entry {
    FrontendKey key;
    base::SharedBytes frontend;  // packed
  };
  using Programmed = std::vector<Entry>;  // of one service, by key

  static tunnel::ExportRequest request_of(const base::kube::ObjectName&, base::Proto, const base::kube::Endpoint&);
  struct Undo {  // of one flush, for when the kernel refuses
    std::map<base::kube::ObjectName, std::optional<Programmed>> programmed;
    std::vector<std::pair<FrontendKey, std::optional<base::kube::ObjectName>>> owners;  // in order of change
  };

  void mark_dirty(const base::kube::ObjectName&);
  void mark_all_dirty();
  bool is_settled();
  void tell_programmed(const std::set<base::kube::ObjectName>&) const;
  void own(const FrontendKey&, const base::kube::ObjectName*);
  void set_owner(const FrontendKey&, const base::kube::ObjectName*);
  void take_back(Undo&&);
  bool is_ours(const base::kube::Service&) const;
  bool through_mesh(const base::kube::Endpoint&) const;
  bool maybe_here(const base::kube::Endpoint&) const;
  std::map<FrontendKey, Frontend> headless_frontends(const base::kube::Service&);
  void rebuild(const base::kube::ObjectName&, std::vector<FrontendChange>&);
  std::map<FrontendKey, Frontend> frontends_of(const base::kube::Service&);
  Frontend frontend_for(const base::kube::Service&, const base::kube::ServicePort&, base::Family);
  std::optional<base::IpPort> dialled_at(const base::kube::Service&, base::Proto, const base::kube::Endpoint&) const;
  const lb::Outlier* outlier(const base::kube::Service&, base::Proto, const base::kube::Endpoint&) const;
  std::vector<uint32_t> shares_of(const base::kube::Service&, const base::kube::ServicePort&,
                                  const std::vector<const base::kube::Endpoint*>&) const;
  std::string health_words(const base::kube::Service&, const base::kube::ServicePort&, const base::kube::Endpoint&) const;
  void add_backend(Frontend&, const base::kube::Service&, const base::kube::ServicePort&, const base::kube::Endpoint&, bool& unknown_udp);
  void ask(const RemoteKey&, const base::kube::ObjectName&);
  void on_answer(const RemoteKey&, const base::kube::ObjectName&, base::Result<tunnel::ExportGrant>);
  void forget_remote(const RemoteKey&);
  void ask_all(const base::kube::Service&);
  void drop_remotes_of(const base::kube::ObjectName&, const std::set<RemoteKey>& keep);
  void expire();
  void arm_next_look();
  const base::IpAddr* proxy_ip(base::Family) const;
  void lead_to_daemon(const FrontendKey&, Frontend&) const;

  Config config_;
  Hooks hooks_;
  base::Loop& loop_;
  base::kube::ServiceTablePtr table_;
  bool through_daemon_ = false;
  std::map<base::kube::ObjectName, base::Instant> interest_;
  std::map<RemoteKey, Remote> remotes_;
  std::map<std::string, size_t> remotes_of_;  // by service: most have none
  std::map<base::kube::ObjectName, Programmed> programmed_;
  std::map<FrontendKey, const base::kube::ObjectName*> owners_;  // the names are keys of programmed_
  size_t udp_frontends_[2] = {};                                 // of owners_, by family
  Undo undo_;
  base::Instant started_;
  bool settled_ = false;  // the kernel has had a first table from us
  SyntheticAddresses synthetic_;
  std::set<base::kube::ObjectName> dirty_;
  std::map<base::kube::ObjectName, uint32_t> turn_;  // round robin of proxied connections
  std::unique_ptr<base::Timer> flush_timer_, expire_timer_;
  base::Counter& apply_failures_;
  base::Gauge& frontends_gauge_;
};

}  // namespace edgemesh
