// SimNet: a small internet of UDP hosts in virtual time, for tests of protocols that do no I/O themselves. Hosts hang on links
// (latency, jitter, loss, duplicates, reordering, MTU); some sit behind NAT boxes of every class of RFC 4787. What happens is a
// function of the seed and the inputs; trace_hash() of two such runs is equal.
//
//   host --link--> [NAT] --> internet --> [NAT] --link--> host
//
// A packet to a multicast address reaches the other hosts of its sender's LAN, whoever has bound its port.
//
// A packet spends its sender's latency before the first NAT and its receiver's after the last; NATs decide in between, at one
// instant. Hosts of one NAT share its LAN: private addresses may repeat behind different NATs.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/core/rng.h"
#include "base/net/addr.h"
#include "base/sim/sim_loop.h"

namespace base {

struct LinkSpec {
  Duration latency = 5ms;  // one way
  Duration jitter{0};      // adds up to this much; keeps no order
  double loss = 0;         // probabilities, per packet and direction
  double duplicate = 0;
  double reorder = 0;  // such a packet comes reorder_by later
  Duration reorder_by = 20ms;
  size_t mtu = 1500;  // IP bytes; larger packets vanish
};

// Depends on: nothing / the remote address / the remote address and port (RFC 4787 §4.1, §5).
enum class NatRule { independent, address, endpoint };

struct NatSpec {
  IpAddr public_ip;  // one box per public address; naming it again joins its LAN
  NatRule mapping = NatRule::independent;
  NatRule filtering = NatRule::endpoint;
  Duration timeout = 120s;  // since the last packet from inside
  bool hairpin = false;
  bool keep_port = false;  // outside port = inside port where no other mapping to that remote has it (Linux masquerade)
  uint16_t port_step = 0;  // not 0: each new mapping gets the port that many above the last one
  // A packet from outside that no mapping admits is taken for the box itself and remembered for 30 s: a host that later sends to
  // its source from the port it went to gets another port (conntrack of a Linux box whose INPUT accepts).
  bool poisonable = false;
  std::optional<IpAddr> behind;  // public address of the box in front of this one (carrier-grade NAT)
};

class SimNet;
class SimNat;
class SimHost;

// A bound port of a host, on all its addresses. Dropping it unbinds.
class SimSocket {
 public:
  ~SimSocket();
  // From the host's address of that family; dropped when it has none. ttl: routers it may meet, less one (0: any number); each NAT
  // box is one, and the internet between them.
  void send(IpPort to, ByteView payload, uint8_t ttl = 0);
  uint16_t port() const { return port_; }
  IpPort local() const;  // the host's first address

 private:
  friend class SimNet;
  friend class SimHost;
  SimSocket(SimHost& h, uint16_t port, std::function<void(IpPort, ByteView)> fn);
  SimHost& host_;
  uint16_t port_;
  std::shared_ptr<std::function<void(IpPort, ByteView)>> on_datagram_;
};

class SimHost {
 public:
  const std::string& name() const { return name_; }
  IpAddr ip() const { return addresses_.front().first; }
  std::unique_ptr<SimSocket> bind(uint16_t port, std::function<void(IpPort from, ByteView)> on_datagram);  // 0: any free port
  void add_public_address(IpAddr);  // reached without NAT (global IPv6 beside a NATed IPv4)
  void set_link(LinkSpec l) { link_ = l; }
  const LinkSpec& link() const { return link_; }
  void set_up(bool up) { up_ = up; }  // down: sends and receives nothing; sockets stay
  void move_to(IpAddr public_ip);     // roams: leaves all addresses for this public one
  void move_behind(SimNat&, IpAddr private_ip);

 private:
  friend class SimNet;
  friend class SimSocket;
  SimHost(SimNet& n, std::string name) : net_(n), name_(std::move(name)) {}
  void leave();
  SimNet& net_;
  std::string name_;
  std::vector<std::pair<IpAddr, SimNat*>> addresses_;  // and the LAN each is on; null: the internet
  std::map<uint16_t, SimSocket*> sockets_;
  uint16_t next_port_ = 49152;
  LinkSpec link_;
  bool up_ = true;
};

class SimNat {
 public:
  void flush();                   // forgets all mappings, as a reboot does
  void rebind(IpAddr public_ip);  // a new outside address as well
  size_t mappings() const;        // not yet expired
  const NatSpec& spec() const { return spec_; }

 private:
  friend class SimNet;
  friend class SimHost;
  struct Mapping {
    IpPort inside;
    IpPort key;  // the remote as far as the mapping depends on it; the rest is zero
    uint16_t outside_port = 0;
    Instant last_out;
    std::set<IpPort> contacted;
  };
  SimNat(SimNet& n, NatSpec s, SimNat* front) : net_(n), spec_(s), front_(front) {}
  IpPort outbound(IpPort inside, IpPort remote);                        // the source as seen outside
  std::optional<IpPort> inbound(uint16_t outside_port, IpPort remote);  // the inside destination
  void expire();
  uint16_t choose_port(IpPort inside, IpPort remote);
  bool is_taken(uint16_t port, IpPort inside, IpPort remote) const;
  bool is_poisoned(uint16_t port, IpPort remote) const;
  bool admits(const Mapping&, const IpPort& remote) const;
  SimNet& net_;
  NatSpec spec_;
  SimNat* front_;  // null: on the internet
  std::map<std::pair<IpPort, IpPort>, Mapping> mappings_;  // by inside and key
  std::multimap<uint16_t, Mapping*> by_port_;              // outside, in the order they were made
  Instant none_before_{};                                  // no mapping expires before
  std::map<std::pair<uint16_t, IpPort>, Instant> poison_;  // outside port and remote: when last hit
  uint16_t last_port_ = 30000;
};

class SimNet {
 public:
  SimNet(SimLoop& loop, uint64_t seed) : loop_(loop), rng_(seed), timer_(loop.timer([this] { fly(); })) {}
  SimHost& host(std::string name, IpAddr public_ip);
  SimHost& nat_host(std::string name, IpAddr private_ip, const NatSpec&);
  SimNat& nat(const NatSpec&);  // the box of that public address, made when new
  void partition(SimHost& a, SimHost& b) {
    block(a, b);
    block(b, a);
  }
  void block(SimHost& from, SimHost& to) { blocked_.insert({&from, &to}); }
  void heal(SimHost& a, SimHost& b) {
    blocked_.erase({&a, &b});
    blocked_.erase({&b, &a});
  }
  void heal_all() { blocked_.clear(); }
  // Sees every packet as it enters the internet side; false drops it.
  void set_filter(std::function<bool(IpPort from, IpPort to, ByteView)> f) { filter_ = std::move(f); }
  uint64_t trace_hash() const { return trace_; }  // of all deliveries: when, to whom, from where, what
  uint64_t delivered() const { return delivered_; }
  uint64_t dropped() const { return dropped_; }
  SimLoop& loop() { return loop_; }

 private:
  friend class SimHost;
  friend class SimNat;
  friend class SimSocket;
  struct Packet {
    SimHost* sender;
    SimNat* lan;  // where it is now; null: the internet
    IpPort from, to;
    uint8_t ttl;
    ByteVec payload;
  };
  using Place = std::pair<SimNat*, IpAddr>;
  void send(SimHost&, IpPort from, SimNat* lan, IpPort to, ByteView, uint8_t ttl);
  void route(Packet);
  void arrive(SimHost&, Packet);
  void deliver(SimHost&, const Packet&);
  bool lost(const LinkSpec&, size_t bytes, const IpPort& to);
  Duration delay(const LinkSpec&);
  void later(Duration, Packet, SimHost* to);  // null: it has left its host and is to be routed
  void fly();
  void attach(SimHost&, SimNat* lan, IpAddr);

  SimLoop& loop_;
  SeededRng rng_;
  std::vector<std::unique_ptr<SimHost>> hosts_;
  std::vector<std::unique_ptr<SimNat>> nats_;
  std::map<Place, SimHost*> at_;
  std::map<Place, SimNat*> boxes_;  // as seen from outside
  std::set<std::pair<SimHost*, SimHost*>> blocked_;
  std::function<bool(IpPort, IpPort, ByteView)> filter_;
  // Packets under way: a heap of what is due when, and where the packet is kept. One timer for all.
  struct Flight {
    Instant at;
    uint64_t order;
    size_t slot;
    bool operator>(const Flight& o) const { return at != o.at ? at > o.at : order > o.order; }
  };
  std::priority_queue<Flight, std::vector<Flight>, std::greater<>> flights_;
  std::vector<std::pair<Packet, SimHost*>> flying_;
  std::vector<size_t> free_;
  uint64_t flown_ = 0;
  std::unique_ptr<Timer> timer_;
  uint64_t trace_ = 0xcbf29ce484222325, delivered_ = 0, dropped_ = 0;
};

}  // namespace base
