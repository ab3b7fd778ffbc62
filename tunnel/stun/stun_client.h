// StunClient: asks up to three servers at which address they see the node's own port, again every 25 s (that keeps the NAT's mapping
// too), and tells what kind of NAT answers like that. When one of them suddenly sees another address, what the others said before
// counts for the candidates but not for the class until they have been asked again. Sans-I/O.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/stun/nat_class.h"
#include "tunnel/stun/stun.h"

namespace tunnel {

inline constexpr size_t kStunServersMax = 3;

class StunClient {
 public:
  explicit StunClient(base::Rng& rng) : rng_(rng) {}
  struct Ask {
    base::IpPort server;
    StunId id;
  };
  bool set_servers(std::vector<base::IpPort>);          // true: an address is no longer known
  void ask_all() { urgent_ = true; }                    // the network changed
  std::vector<Ask> tick(base::Instant now);             // to be sent now
  bool is_news(base::Instant now);                      // after tick(): an answer has grown too old
  bool on_answer(const base::IpPort& server, const StunMessage&, base::Instant now);  // true: something new is known
  std::optional<base::Instant> next_deadline() const;

  std::vector<base::IpPort> mapped() const;             // as seen, without doubles
  std::optional<base::IpPort> outside() const;          // the IPv4 one
  NatClass nat(const std::vector<base::IpPort>& own) const { return classify_nat(samples(), own); }
  std::vector<base::IpPort> answering() const;          // IPv4 servers, another address before another port

 private:
  struct Server {
    StunId id{};
    base::Instant asked{}, answered{};
    int tries = 0;
    uint64_t order = 0;  // of its first being asked
    bool is_other = false;  // the other port of a server: only tells the class
    bool is_old = false;
    std::optional<base::IpPort> mapped;
  };
  std::vector<NatSample> samples() const;
  base::Instant due(const Server&) const;
  base::Rng& rng_;
  std::map<base::IpPort, Server> servers_;
  std::vector<base::IpPort> list_;
  std::vector<base::IpPort> asked_at() const;
  uint64_t asked_ = 0;
  bool urgent_ = false;
};

}  // namespace tunnel
