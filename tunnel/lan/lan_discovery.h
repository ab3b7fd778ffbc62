// LanDiscovery: finds the other nodes of the mesh on the links this node is on, by multicast DNS (lan_message.h), with no relay, no
// source and no cloud. What is heard is a hint and no more: addresses at which the node of a name may be tried. Who stands there is
// decided by the handshake, as always; a forged answer costs a connection or a few packets, to a neighbour on the same link.
// Sans-I/O. Owned by the LanPort; control loop only.
//
// Only neighbours count: a datagram whose source is not on the link it came by is dropped, so is an address that is not on that link.
// At most kLanFoundMax are kept; strangers (tags nobody here asks for) give way first, then the ones heard longest ago.
//
// Timers of a link, all with chance in them, so that nodes that start together do not talk together:
//   probe     within 250 ms, three times 250 ms apart (RFC 6762 §8.1); another process that claims the instance: a new instance
//   announce  after that, twice, 1 s apart (§8.3)
//   ask       20-120 ms after the start or look(), then after 1 s, doubling up to an hour (§5.2)
//   answer    20-120 ms after a question (§6), at most one a second
// Answers are multicast; nothing is ever sent to one address alone, so nobody can be made a target by a false source. Of what comes
// in, 50 datagrams a second are read on each link.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/core/time.h"
#include "tunnel/lan/lan_message.h"
#include "tunnel/relay/rate_limit.h"

namespace tunnel {

inline constexpr size_t kLanFoundMax = 256, kLanLinksMax = 16, kLanTagsMax = 4;
inline constexpr std::chrono::seconds kLanTtl{4500};  // RFC 6762 §10; a node that moves says so at once

struct LanLink {
  int index = 0;
  std::string name;
  std::vector<base::IpAddr> addresses;  // own, to be told; none: the link is only listened to
  std::vector<base::IpAddr> sources;    // own, all of them: what comes from there is our own voice, heard by another link
  std::vector<base::Cidr> on_link;      // the prefixes neighbours are in
  bool operator==(const LanLink&) const = default;
};

class LanDiscovery {
 public:
  struct Config {
    std::vector<LanTag> tags;  // of this node: one for each authority it trusts, at most kLanTagsMax
    uint16_t udp_port = 0, tcp_port = 0;
  };
  struct Hooks {
    std::function<void(int link, base::ByteView)> send;  // to the group, on that link
    std::function<bool(LanTag)> is_peer;                 // one of the nodes this one knows by name
    std::function<void(LanTag)> on_found;                // addresses of this tag came or went; not from inside found()
  };
  LanDiscovery(Config, Hooks, base::Rng&, base::Metrics&);

  void set_links(std::vector<LanLink>, base::Instant now);  // those that changed are probed and announced anew
  void look(base::Instant now);                             // a node is missed: ask soon, unless it was done just now
  void on_datagram(int link, const base::IpPort& from, base::ByteView, base::Instant now);
  void tick(base::Instant now);
  base::Instant next_deadline() const { return next_; }  // valid after tick(); Instant::max(): none
  void say_goodbye();                                    // this node stops for good; not before a hand-over

  struct Found {
    LanTag tag = 0;
    int link = 0;
    uint16_t udp_port = 0, tcp_port = 0;
    std::vector<base::IpAddr> addresses;
    base::Instant expires{};
  };
  std::vector<Found> found() const;  // the last heard first
  // Where this node may be tried, for UDP or for signalling; at most kLanAddressesMax.
  std::vector<base::IpPort> udp_at(LanTag) const;
  std::vector<base::IpPort> signal_at(LanTag) const;
  const std::vector<LanLink>& links() const { return shown_links_; }

 private:
  struct Link {
    LanLink is;
    int probes_left = 0, announcements_left = 0;
    base::Instant next_probe{}, next_announcement{}, next_query{}, last_told{};
    base::Duration query_pause{};
    std::optional<base::Instant> answer_due;
    TokenBucket in;
  };
  struct Entry {
    Found what;
    uint32_t instance = 0;
    uint64_t heard = 0;  // counts up
  };
  struct Counters {
    explicit Counters(base::Metrics&);
    base::Counter &sent, &received, &ignored;
    base::Gauge &peers, &strangers;
  };
  void begin(Link&, base::Instant now);
  void ask_soon(Link&, base::Instant now);
  void on_query(Link&, const LanMessage&, base::Instant now);
  void on_service(Link&, const LanService&, base::Instant now);
  void rename(base::Instant now);
  bool is_own(const LanLabel&) const;
  bool is_neighbour(const Link&, const base::IpAddr&) const;
  bool make_room(LanTag);
  void expire(base::Instant now);
  void drive(Link&, base::Instant now);
  void tell(Link&, uint32_t ttl, base::Instant now);
  LanService own_service(const Link&, LanTag, uint32_t ttl) const;
  std::vector<LanKnown> known_on(const Link&, base::Instant now) const;
  void send(const Link&, base::ByteView);
  void compute_deadline(base::Instant now);
  void count();
  base::Duration chance(base::Duration from, base::Duration to);

  Config config_;
  Hooks hooks_;
  base::Rng& rng_;
  Counters counters_;
  uint32_t instance_;
  int renames_ = 0;
  std::map<int, Link> links_;
  std::vector<LanLink> shown_links_;
  std::vector<Entry> entries_;
  uint64_t heard_ = 0;
  base::Instant next_ = base::Instant::max();
};

}  // namespace tunnel
