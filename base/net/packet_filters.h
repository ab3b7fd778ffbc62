// What other programs' packet filters would do with a packet: base chains of nf_tables (also those that iptables-nft writes) and
// the filter tables of the older iptables, read and never changed. Only what can be told for sure counts: a rule whose match is
// not understood (sets, most iptables matches) neither accepts nor drops here.
//
// Blocking, control loop only. Nobody announces changes of iptables tables, and notifications of nf_tables would be made for each
// of our own elements too: so one asks for state() now and then, which costs two small system calls.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/net/addr.h"
#include "base/net/nft.h"

namespace base {

struct TriedPacket {                  // the first packet of a flow
  nft::Hook hook = nft::Hook::forward;  // forward or input
  std::string iif, oif;
  IpAddr src, dst;
  Proto proto = Proto::tcp;
  uint16_t dport = 0;
  bool dnat = false;                  // its destination was rewritten
};

struct Refusal {
  std::string family;                 // "ip", "ip6", "inet"
  std::string table, chain;           // the base chain
  std::string by;                     // "its policy", or the chain whose rule drops
  bool legacy = false;                // iptables-legacy: nf_tables does not show it
  bool docker = false;                // the table has a chain DOCKER-USER, which docker leaves to operators
  bool iptables = false;              // iptables (of either kind) manages it
  std::string where() const;          // "chain FORWARD of table ip filter (its policy drops)"
  auto operator<=>(const Refusal&) const = default;
};

class PacketFilters {
 public:
  // All tables but `table inet <except>`.
  static Result<PacketFilters> read(const std::string& except);
  std::optional<Refusal> refuses(const TriedPacket&) const;

  // Differs whenever some filter changed since (it may also differ for other reasons).
  static std::string state();

  struct Tables;
 private:
  std::shared_ptr<const Tables> tables_;
};

// A rule of ours in another program's chain, at its head: packets of the family to this address are accepted. It carries `tag` as
// its comment, by which it is found again. Not for legacy tables (Code::unsupported).
Result<void> insert_accept(const Refusal&, const IpAddr& to, const std::string& tag);
// Takes all rules with that tag out, wherever they are.
Result<size_t> remove_tagged_rules(const std::string& tag);

}  // namespace base
