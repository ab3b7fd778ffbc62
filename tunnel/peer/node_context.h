// What the peers of one node share: who the node is, its secrets, its receive indices and its budgets. Owned by the MeshNode.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/limits.h"
#include "base/core/metrics.h"
#include "tunnel/path/candidates.h"
#include "tunnel/punch/probe_budget.h"
#include "tunnel/punch/puncher.h"
#include "tunnel/session/handshake.h"
#include "tunnel/session/keysets.h"

namespace tunnel {

struct NodeContext {
  struct Config {
    base::NodeIdentity identity;  // own, from the certificate
    Digest leaf{};
    std::vector<Psk> psks;
    AeadId aead = AeadId::aes_128_gcm;
    bool direct = true;
    base::Duration session_idle = std::chrono::minutes(10);  // let go after that long without a packet; 0: never
    PunchRules punch;
    RekeyLimits rekey;
    CandidateRules rules;
    std::function<std::unique_ptr<SecureChannel>(bool client, const std::string& peer)> make_channel;
    std::function<base::Result<void>(const base::NodeIdentity&)> accept;  // deny list
  };
  NodeContext(Config c, base::Rng& r, base::Metrics& metrics)
      : config(std::move(c)),
        rng(r),
        metrics_(metrics),
        indices(r),
        instance(r.u64() | 1),
        ok(handshakes(metrics, "ok")),
        refused(handshakes(metrics, "refused")),
        timed_out(handshakes(metrics, "timeout")),
        failed(handshakes(metrics, "failed")),
        moves_direct(moves(metrics, "direct")),
        moves_relay(moves(metrics, "relay")),
        slept(metrics.counter("edgemeshd_tunnel_sessions_let_go_total",
                              "Sessions that ended because nothing passed for tunnel.sessionIdle.")),
        rivals(metrics.counter("edgemeshd_tunnel_rivals_total",
                               "Handshakes given up because an older process with the same certificate still answers: not 0: an alarm.")),
        rejected(metrics.counter("edgemeshd_tunnel_control_rejected_total",
                                 "Sealed control packets that were forged, repeated or under unknown keys.")),
        carried_out(carried(metrics, "sent")),
        carried_in(carried(metrics, "received")),
        black_holes(metrics.counter("edgemeshd_tunnel_mtu_black_holes_total",
                                    "Paths that stopped carrying long packets while short ones still came through.")) {}

  Config config;
  base::Rng& rng;
  base::Metrics& metrics_;
  IndexPool indices;
  uint64_t instance;  // of this process start
  size_t link_mtu = 1500;  // the largest of the interfaces packets may leave by
  std::vector<Candidate> candidates;
  uint64_t candidates_revision = 0;
  NatClass nat;                             // of this node, as relays see it
  std::optional<base::IpPort> outside;      // its IPv4 address there
  std::vector<base::IpPort> stun_servers;   // that answer
  int port_step = 0;                        // of a hard NAT's new mappings, found out by a look before a birthday
  bool has_birthday = false;                // one at a time
  ProbeBudget probes;
  base::Counter& punched(PunchRung rung, bool direct, const NatClass& a, const NatClass& b) {
    const char* pair = a.mapping == NatMapping::unknown || b.mapping == NatMapping::unknown ? "unknown"
                       : a.is_hard() && b.is_hard() ? "hard-hard" : a.is_hard() || b.is_hard() ? "easy-hard" : "easy-easy";
    return metrics_.counter("edgemeshd_tunnel_punches_total", "Attempts at a direct path that this side drove, by rung, result and the NATs of the pair.",
                            {{"rung", to_string(rung)}, {"result", direct ? "direct" : "failed"}, {"nats", pair}});
  }
  base::Counter& birthday_skipped(BirthdaySkip why) {
    return metrics_.counter("edgemeshd_tunnel_birthdays_skipped_total",
                            "Birthdays not played because a relay no longer saw this node as it did.", {{"why", to_string(why)}});
  }
  size_t half_open = 0;
  base::Counter &ok, &refused, &timed_out, &failed, &moves_direct, &moves_relay, &slept, &rivals, &rejected, &carried_out, &carried_in, &black_holes;

 private:
  static base::Counter& carried(base::Metrics& m, const char* direction) {
    return m.counter("edgemeshd_tunnel_carried_packets_total", "Inner packets that went with a handshake because its keys were not there yet.",
                     {{"direction", direction}});
  }
  static base::Counter& handshakes(base::Metrics& m, const char* result) {
    return m.counter("edgemeshd_tunnel_handshakes_total", "Handshakes with peers by result.", {{"result", result}});
  }
  static base::Counter& moves(base::Metrics& m, const char* to) {
    return m.counter("edgemeshd_tunnel_path_moves_total", "Sessions moved to another path, by its kind.", {{"to", to}});
  }
};

}  // namespace tunnel
