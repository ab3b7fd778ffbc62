// LocalNames: what the configuration says about names: hosts, zones and rewrites. It is asked before everything else, so that it can
// stand in for names of the cluster and of the world. Answers are rendered when the configuration is read; serving one is a look-up
// and a copy without allocation. A name that only leads to another one (CNAME, rewrite) is told as an alias; who asks goes on there.
// Immutable, except for the place in turn, which is given.
#pragma once
#include <memory>
#include <unordered_map>

#include "base/conf/dns_record.h"
#include "dns/zone/zone_index.h"

namespace dns {

struct LocalHost {
  base::IpAddr address;
  std::vector<std::string> names;  // the first is the one the address leads back to
  bool back = true;                // whether it does
};
struct LocalZone {
  std::string name;
  uint32_t ttl = 60;         // of records that give none, and of denials
  bool fallthrough = false;  // names it does not hold: asked elsewhere, else they do not exist
  std::vector<base::conf::DnsRecord> records;
};
struct LocalRewrite {
  std::string from, to;
  bool suffix = false;  // everything under `from` as well
};
struct LocalConfig {
  std::vector<LocalHost> hosts;
  std::vector<LocalZone> zones;
  std::vector<LocalRewrite> rewrites;
  uint32_t host_ttl = 60;
  bool empty() const { return hosts.empty() && zones.empty() && rewrites.empty(); }
};

class LocalNames {
 public:
  // Errors name what stands for itself and cannot: a CNAME beside other records.
  static base::Result<std::unique_ptr<LocalNames>> make(const LocalConfig&, uint64_t seed);

  struct Found {
    enum class Kind : uint8_t { not_here, answered, alias } kind = Kind::not_here;
    Rcode rcode = Rcode::noerror;
    size_t size = 0;
    Name target;          // alias
    uint32_t ttl = 0;     // of the CNAME
    bool renamed = false; // a rewrite: the client sees its own name, no CNAME
  };
  // rewrites: whether they apply; to what they led to they do not.
  void respond(const Query&, const ZoneIndex::How&, bool rewrites, base::MutByteView out, Found&) const;

 private:
  struct Set {
    uint16_t type = 0, count = 0, each = 0;  // each: octets of one record, 0 where they differ
    base::ByteVec octets;
  };
  struct Entry {
    std::vector<Set> sets;  // none: an empty non-terminal
    std::optional<Name> alias;
    uint32_t alias_ttl = 0;
  };
  struct Zone {
    Name name;
    uint32_t ttl;
    bool fallthrough;
  };
  struct Rewrite {
    Name from, to;
    bool suffix;
  };
  struct Hash {
    using is_transparent = void;
    uint64_t seed;
    size_t operator()(std::string_view s) const { return name_hash(seed, s); }
  };
  explicit LocalNames(uint64_t seed) : entries_(16, Hash{seed}) {}
  base::Result<void> add(const Name& owner, uint16_t type, uint32_t ttl, base::ByteView rdata, const Name& zone);
  base::Result<void> add_host(const LocalHost&, uint32_t ttl);
  base::Result<void> add_zone(const LocalZone&);
  base::Result<void> check_aliases() const;
  const Entry* find(std::string_view key) const;
  const Zone* zone_of(std::string_view key) const;
  const Entry* wildcard(std::string_view key, const Zone&) const;
  bool rewritten(const Query&, Found&) const;
  void serve(const Query&, const ZoneIndex::How&, const Entry&, const Zone*, base::MutByteView out, Found&) const;
  void negative(const Query&, const ZoneIndex::How&, const Zone*, Rcode, base::MutByteView out, Found&) const;

  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> entries_;  // by lowered wire name
  std::vector<Zone> zones_;  // longest first
  std::vector<Rewrite> rewrites_;
};

}  // namespace dns
