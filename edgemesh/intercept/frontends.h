// Frontends: our copy of what the kernel balances, and the smallest change that leads from it to a new state.
// plan() writes that change into a batch and touches nothing; commit() takes it over once the kernel accepted.
//
// A frontend's packets go: svc (or np) verdict map -> one policy chain -> slot map -> dnat. A policy chain holds one rule (three
// with affinity) for one way to draw a slot, and is made when first needed:
//   random12_4 | hash1021_6 | one_4 | rr60_4_17 (counter 17) | aff10800_60_4 (ClientIP, 3 h) | proxy_4 | hold_4; "n" before the family for node ports
#pragma once
#include <array>
#include <map>
#include <set>

#include "base/core/limits.h"
#include "base/net/nft.h"
#include "edgemesh/intercept/address_counts.h"
#include "edgemesh/intercept/intercept.h"
#include "edgemesh/intercept/packed_frontend.h"
#include "lb/policy/slot_table.h"

namespace edgemesh::detail {

class Frontends {
 public:
  struct Programmed {
    Frontend frontend;
    int counter = -1;             // round robin: which counter chain
    uint32_t affinity_s = 0;      // as programmed
    // Of its chain. A frontend that lost all endpoints stays led to the chain it had, whose look-up then misses: leading one
    // anywhere makes the kernel walk all that are led anywhere (1 ms for 5,000).
    uint32_t modulus = 0;
  };
  struct Kept {                   // a Programmed, packed
    base::SharedBytes frontend;
    int counter;
    uint32_t affinity_s, modulus;
  };
  struct Plan {
    std::map<FrontendKey, std::optional<Kept>> changes;
    std::map<base::IpAddr, int> vips, selves;      // changes of reference counts
    std::array<int, base::limits::kRoundRobinChains> counters{};
    std::set<std::string> new_chains;
    std::set<uint32_t> timeouts;                   // all distinct affinity timeouts
    size_t left_out = 0;                           // endpoints beyond the bound
  };

  explicit Frontends(const InterceptConfig& c) : config_(c) {}
  base::Result<Plan> plan(const std::vector<FrontendChange>&, base::nft::Batch&) const;
  // Addresses that became VIPs, and that are none any more.
  struct VipChange { std::vector<base::IpAddr> added, removed; };
  VipChange commit(Plan&&);
  void clear();                                    // the kernel has none of it any more

  std::optional<Programmed> find(const FrontendKey&) const;
  bool has(const FrontendKey& k) const { return now_.contains(k); }
  size_t size() const { return now_.size(); }
  size_t shared_round_robin() const;               // frontends whose counter serves another one too
  std::vector<base::IpAddr> vips() const;

 private:
  struct Shape;                                    // the elements of one frontend
  base::Result<void> check(const FrontendKey&, const Frontend&) const;
  Programmed place(const Frontend&, const Programmed* before, Plan&) const;
  Shape shape(const FrontendKey&, const Programmed&) const;
  void ensure_chain(const FrontendKey&, const Programmed&, const std::string& chain, uint32_t modulus, Plan&, base::nft::Batch&) const;

  const InterceptConfig& config_;
  std::map<FrontendKey, Kept> now_;
  AddressCounts vips_, selves_;
  std::array<int, base::limits::kRoundRobinChains> counters_{};
  std::set<std::string> chains_;
  std::set<uint32_t> timeouts_;
};

}  // namespace edgemesh::detail
