// ExportLedger: the exports between this node and one peer, both ways, over CONTROL.
//   held     what we asked the peer for: renewed at half the lease until released; asked for again when the peer restarts, void when it takes it back
//   granted  what the peer asked us for: at most kExportsPerPeerMax, over when the lease is, or withdrawn with its endpoint
// Who may ask for what is decided by the owner's hook, again at every renewal. Time is given.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/core/result.h"
#include "base/core/time.h"
#include "tunnel/session/control_channel.h"

namespace tunnel {

class ExportLedger {
 public:
  using Callback = std::function<void(base::Result<ExportGrant>)>;
  struct Hooks {
    std::function<bool()> is_up;   // a session stands: requests are repeated in it, also until it has a path
    std::function<void(ControlBody, ControlChannel::Answer)> request;
    std::function<base::Result<ExportGrant>(const ExportRequest&)> decide;
    std::function<void(const ExportRequest&)> on_released;   // a granted one is over
    std::function<void(const ExportRequest&)> on_withdrawn;  // a held one is void
  };
  explicit ExportLedger(Hooks h) : hooks_(std::move(h)) {}

  // Answered within 5 s; waits for a session that long. A grant already held answers at once.
  void ask(const ExportRequest&, Callback, base::Instant now);
  void release(const ExportRequest&);
  void withdraw(const ExportRequest&);
  // A CONTROL request of the peer about exports; nullopt: not about exports.
  std::optional<ControlBody> on_request(const ControlBody&, base::Instant now);
  void on_up(base::Instant now);
  void peer_restarted(base::Instant now);         // another instance: it asks again for what it uses, and so do we
  void peer_forgot(base::Instant now);            // denied, or gone: everything is void
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const;
  bool has_interest() const { return !held_.empty(); }
  size_t granted() const { return granted_.size(); }

 private:
  struct Held {
    std::vector<Callback> waiting;
    std::optional<base::Instant> give_up;  // of those waiting
    std::optional<ExportGrant> grant;
    base::Instant renew{}, over{};
    bool asked = false;
  };
  void send(const ExportRequest&, base::Instant now);
  void on_answer(const ExportRequest&, base::Result<ControlBody>);
  void finish(Held&, const base::Result<ExportGrant>&);
  ControlBody grant(const ExportRequest&, base::Instant now);

  Hooks hooks_;
  base::Instant now_{};
  std::map<ExportRequest, Held> held_;
  std::map<ExportRequest, base::Instant> granted_;  // until when
};

}  // namespace tunnel
