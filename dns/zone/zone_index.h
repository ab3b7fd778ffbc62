// ZoneIndex: the zone as one loop serves it: a table from hashed names and addresses to rendered answers in shared pieces. A query
// costs one look-up and one copy and allocates nothing; aliases to other names (ExternalName, search paths) are composed when asked.
// One per loop; updates come in order, by post when there are several.
#pragma once
#include "base/core/time.h"
#include "dns/zone/name_table.h"
#include "dns/zone/zone_update.h"

namespace dns {

class ZoneIndex {
 public:
  // seed: what hashes are keyed with; a random number.
  ZoneIndex(const ZoneConfig&, uint64_t seed, PodExists = {});
  void apply(const ZoneUpdate&);
  size_t names() const { return table_.size(); }  // reverse records included
  size_t bytes() const;                           // of table and pieces
  bool synced() const { return services_ && services_->synced(); }

  struct Result {
    enum class Kind : uint8_t {
      not_ours,  // ask upstream
      answered,  // `size` octets were written
      alias,     // the answer is elsewhere: resolve `alias` for the same type, then respond_alias()
    } kind = Kind::not_ours;
    Rcode rcode = Rcode::noerror;
    uint32_t service = 0;  // 0, or whose name was asked: for first_ask()
    size_t size = 0;
    std::optional<Name> alias;
  };
  // Looking ahead, in rounds over a batch of queries, so that what an answer is made of is on its way from memory while others
  // are worked on: each round fetches what the next one reads. hash 0: there is no name to look up.
  struct Ahead {
    uint32_t hash = 0, slot = 0, at = 0;  // slot 0: nothing stands under that hash
  };
  struct How {
    uint16_t flags = 0;  // RA
    size_t limit = kUdpMin;
    uint32_t turn = 0;
    uint16_t udp_payload = 1232;
    bool can_forward = false;
    Ahead ahead;  // of this query, when it was looked up ahead
  };
  void look_1(const Query&, Ahead&) const;
  void look_2(Ahead&) const;
  void look_3(const Ahead&) const;
  // The result stands in `r`; what it held before is gone.
  void respond(const Query&, const How&, base::MutByteView out, Result& r) const;
  // The aliases from the asked name to what upstream said about the last one (empty: it said nothing; rcode says why).
  size_t respond_alias(const Query&, const How&, base::ByteView upstream_answer, Rcode, base::MutByteView out) const;

  // A name a pod asked by its search path, <name>.<its namespace>.svc.<zone>, that does not exist: what the rest of the path says,
  // in one round trip. `not_ours`: it is not of that form, or nothing but the asked name itself is left to ask.
  // `alias`: the name without the path, for upstream; then respond_search().
  void respond_search(const Query&, std::string_view client_namespace, const How&, base::MutByteView out, Result& r) const;
  // rcode NXDOMAIN: as if the path had not been tried.
  size_t respond_search(const Query&, const How&, const Name& target, base::ByteView upstream_answer, Rcode, base::MutByteView out) const;

  // The service, when it is asked for the first time in ten seconds.
  std::optional<base::kube::ObjectName> first_ask(uint32_t service, base::Instant now);

 private:
  struct Zone {
    std::string key;
    uint8_t labels;
  };
  struct Slot {
    Piece piece;
    base::Instant told{};
  };
  struct Alias;  // the end of a chain of aliases
  struct Found {
    NameView name;
    uint32_t slot;
  };
  const Zone* zone_of(const Query&) const;
  const NameTable::Entry* entry(std::string_view key, uint32_t hash) const;
  std::optional<Found> find(std::string_view key) const;
  std::optional<Found> find(const Query&, const Ahead&) const;
  bool namespace_exists(std::string_view) const;
  bool in_zone(std::string_view key) const;
  std::optional<base::IpAddr> pod_address(const Query&) const;
  void found(const Query&, const How&, const Found&, base::MutByteView out, Result&) const;
  void computed(const Query&, const How&, const Zone&, base::MutByteView out, Result&) const;
  void reversed(const Query&, const How&, const Zone&, base::MutByteView out, Result&) const;
  void negative(const Query&, const How&, const Zone&, Rcode, base::MutByteView out, Result&) const;
  void soa(const Query&, const How&, const Zone&, Rcode, bool asked, base::MutByteView out, Result&) const;
  void aliased(const Query&, const How&, const Zone&, const NameView&, base::MutByteView out, Result&) const;
  void write(const Query&, const How&, const BodyView&, base::MutByteView out, Result&) const;
  void searched(const Query&, const How&, const Found&, base::MutByteView out, Result&) const;
  Alias follow(const NameView&) const;

  Name full_name(const NameView&) const;
  bool is(const NameView&, std::string_view key) const;
  uint32_t slot_of(std::string_view key) const;
  void put(const Piece&);
  void drop(uint32_t slot);
  void enter(uint32_t slot, bool in);
  uint32_t address_hash(const base::IpAddr&) const;

  std::vector<Zone> zones_;  // the cluster's first
  std::vector<std::string> exposed_;
  uint64_t seed_;
  uint32_t ttl_;
  PodNames pods_;
  bool fallthrough_;
  PodExists pod_exists_;
  base::kube::ServiceTablePtr services_;
  uint32_t serial_ = 0;
  NameTable table_;
  std::vector<Slot> slots_;      // [0] is nobody's
  std::vector<uint32_t> spare_;  // slots to use again
  mutable std::string scratch_;  // a namespace's name, without allocation
  mutable base::ByteVec ptrs_;   // PTR records being put together
};

}  // namespace dns
