// Puncher: attempts at a direct path to one peer. The driving side climbs the ladder; each attempt is announced to the other inside
// the session, over whatever path there is, so both know who opens first and nothing depends on clocks.
//
//   plain     driver: CHECKs with a TTL that ends behind the own NAT (it opens, the peer's NAT sees nothing and is not poisoned),
//             then PunchNow; peer: CHECKs at once, then its answer; driver: CHECKs.
//   fresh     roles swapped and new local ports: the driver tells where its new socket is seen; the peer opens with a short TTL from
//             a new socket of its own and tells where that is seen; both send.
//   predict   the side whose ports go up in steps opens from a new socket right after asking two servers for its address, and
//             tells the ports that come next; the other sends to each.
//   birthday  the hard side opens from many sockets; the other sends to random ports of its address, 200 per second.
//             Before that each side asks a relay where it is seen now: the hard one from a new socket, by two servers. An address that
//             changed, a port that no longer depends on the server, ports that count up after all, or no answer, and the game is not
//             played: hundreds of packets would go where nobody is, and what was learned is told to the peer and used at once.
//
// Every probe is a sealed CHECK, so only the peer can answer. Without any path (no relay) both send at fixed moments and hope.
// Limits: five packets to a destination that is silent and the node's ProbeBudget; a birthday is one at a time per node.
// Sans-I/O.
#pragma once
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <vector>

#include "tunnel/path/path_addr.h"
#include "tunnel/punch/ladder.h"
#include "tunnel/stun/stun.h"

namespace tunnel {

enum class BirthdaySkip : uint8_t { moved, predictable, unseen };
const char* to_string(BirthdaySkip);

class PunchEnv {  // outlives the Puncher
 public:
  virtual ~PunchEnv() = default;
  virtual void send_probe(const PathAddr&, uint8_t ttl) = 0;
  virtual void send_stun(const PathAddr&, const StunId&) = 0;
  virtual std::optional<uint32_t> open_socket() = 0;     // IPv4
  virtual void close_socket(uint32_t) = 0;
  virtual bool is_socket_used(uint32_t) const = 0;       // a path by it lives
  virtual void tell(PunchNow, std::function<void(bool ok)> answered) = 0;
  virtual bool take_probe(base::Instant now) = 0;        // ProbeBudget
  virtual bool take_birthday(bool take) = 0;             // the node's only one; false gives it back
  virtual bool is_busy() const = 0;                      // packets pass over the relay: a birthday is worth its while
  virtual bool has_path() const = 0;
  virtual base::Duration path_rtt() const = 0;           // of the path in use; 0: not known
  virtual NatClass own_nat() const = 0;
  virtual std::optional<base::IpPort> own_outside() const = 0;  // IPv4, as relays see it
  virtual std::vector<base::IpPort> stun_servers() const = 0;  // that answer; IPv4, best two of different address
  virtual void on_attempt(PunchRung, bool ok, base::Duration took) = 0;
  virtual void ask_outside() = 0;           // what relays said of the own address is old: ask them all again
  virtual void on_port_step(int step) = 0;  // new mappings of the own NAT go up by that: its class says so from now on
  virtual void on_birthday_skipped(BirthdaySkip) = 0;
};

class Puncher {
 public:
  Puncher(bool drives, const PunchRules&, PunchEnv&, base::Rng&);
  ~Puncher();

  void want(base::Instant now);                  // no direct path: begin, or begin again with news
  void success(base::Instant now);               // a direct path works
  void stop();                                   // none is wanted: until want() again
  void set_remote(std::vector<Candidate>, NatClass);
  void on_punch(const PunchNow&, base::Instant now);
  bool on_stun(uint32_t socket, const StunMessage&, base::Instant now);
  void tick(base::Instant now);
  std::optional<base::Instant> next_deadline() const;
  // A socket of ours that is neither used by a path nor by an attempt is closed.
  void sweep();

  bool is_trying() const { return rung_.has_value(); }
  std::optional<PunchRung> rung() const { return rung_; }
  std::optional<PunchRung> won() const { return won_; }  // the attempt that ended with a direct path
  const NatClass& remote_nat() const { return remote_nat_; }
  size_t sockets() const { return sockets_.size(); }

 private:
  struct Probe {
    PathAddr to;
    uint8_t ttl;
    bool free;  // not of the node's budget
  };
  struct Gather {  // where a new socket is seen: one server after another
    uint32_t socket = 0;
    std::vector<base::IpPort> servers;
    std::vector<base::IpPort> mapped;
    StunId id{};
    int tries = 0;
    base::Instant due{};
  };
  void begin(PunchRung, base::Duration life);
  void give_up();
  void end();
  void begin_own(PunchRung);
  void begin_blind();
  bool begin_following(const PunchNow&);
  void tell(bool ready, std::vector<Candidate>, std::function<void(bool)> then);
  bool follow_fresh(const PunchNow&);
  bool gather(size_t servers);
  void ask_stun();
  void on_gathered();
  void open_predicted();
  void look_first();
  void on_looked();
  void skip_birthday(BirthdaySkip);
  void open_holes(uint32_t first_socket);
  void probe_ports(const base::IpAddr&);
  void probe(const std::vector<base::IpPort>&, uint32_t socket, std::initializer_list<int> moments_ms, uint8_t ttl);
  std::vector<base::IpPort> targets(bool behind_nat) const;
  std::optional<base::IpPort> outside() const;  // the peer's, as relays see it
  bool is_hard_side() const;
  bool is_known(const base::IpAddr&) const;

  bool drives_;
  const PunchRules& rules_;
  PunchEnv& env_;
  base::Rng& rng_;
  Ladder ladder_;
  base::Instant now_{};
  std::vector<Candidate> remote_;
  NatClass remote_nat_;

  std::optional<PunchRung> rung_;
  std::optional<PunchRung> won_;
  bool own_ = false;        // we announced it
  bool blind_ = false;      // without a path to announce it
  bool has_birthday_ = false;
  uint32_t round_ = 0;
  size_t births_ = 0;
  std::optional<base::IpAddr> aim_;  // of a birthday: where the hard side is
  base::Instant began_{}, until_{};
  std::multimap<base::Instant, Probe> probes_;
  std::optional<Gather> gather_;
  std::vector<uint32_t> sockets_;
  std::vector<base::IpPort> fresh_to_;  // the driver's new socket
  std::optional<base::Instant> wait_path_;  // begin without one then
  std::optional<base::Instant> ask_at_;     // the driver to begin
  base::Instant asked_{};
};

}  // namespace tunnel
