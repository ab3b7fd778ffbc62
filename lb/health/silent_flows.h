// SilentFlows: which endpoints of UDP services have fallen silent, decided from looks at the kernel's flows. A datagram that nobody
// answers leaves no error; and there are services that never answer anybody. So an endpoint is silent only beside others of its
// frontend that answer:
//
//   - kFlowsMin flows to it that began lately, each unanswered in two looks, from more than one client; or from a client that
//     another endpoint of the frontend answers
//   - no flow to it was answered in the kProof looks since then, while kFlowsMin new ones were at one of the others
//
// Flows that were answered before say nothing: whether later datagrams are, the kernel does not tell. Pure: looks in; they are the
// clock, too, so that a busy machine, which looks less often, judges as another one does.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/net/addr.h"

namespace lb {

struct Flow {
  base::IpPort client, frontend, endpoint;  // who sent, to which address, and who was given it
  auto operator<=>(const Flow&) const = default;
};

class SilentFlows {
 public:
  static constexpr size_t kFlowsMin = 3;
  static constexpr size_t kFlowsMax = 4096;  // unanswered ones that are remembered, and of one endpoint kOfOneMax
  static constexpr size_t kOfOneMax = 64;
  static constexpr size_t kAnsweredMax = 16384;       // that are remembered while somebody is suspected; beyond it nobody is judged
  static constexpr uint64_t kLately = 5, kProof = 2;  // looks
  static constexpr uint64_t kForgottenAfter = 8;      // looks in which nothing new spoke for a suspicion

  // A look: every flow that nobody has answered so far. -> the frontends whose answered flows are to be shown to judge() now.
  std::set<base::IpPort> look(std::span<const Flow> unanswered);
  // Every answered flow of these frontends -> the endpoints that are silent, each told once.
  struct Silent {
    base::IpPort frontend, endpoint;
    bool operator==(const Silent&) const = default;
  };
  std::vector<Silent> judge(std::span<const Flow> answered);
  // Something is unanswered: worth another look soon.
  bool is_uneasy() const { return !unanswered_.empty(); }

 private:
  using Place = std::pair<base::IpPort, base::IpPort>;  // frontend, endpoint
  struct Suspicion {                                    // of one frontend
    uint64_t last = 0;                                  // something spoke for it
    std::optional<uint64_t> baseline;                   // what was answered by then is no news
    std::set<Flow> answered;                            // seen so far
    std::map<base::IpPort, size_t> fresh;               // by endpoint: answered since the baseline
    std::set<base::IpAddr> clients;                     // of those
  };
  struct Seen {
    uint64_t first, last;
  };
  std::map<Place, std::vector<const Flow*>> silent_places() const;

  uint64_t looks_ = 0;
  std::map<Flow, Seen> unanswered_;
  std::map<base::IpPort, Suspicion> suspicions_;
};

}  // namespace lb
