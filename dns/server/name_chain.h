// NameChain: the way from the name a client asked, by the configuration's CNAMEs and rewrites, to the one that is really looked up;
// and the client's answer made of what was found there.
#pragma once
#include "dns/zone/local_names.h"

namespace dns {

class NameChain {
 public:
  static constexpr size_t kHopsMax = 8;
  explicit NameChain(const Query& asked);
  // False: too long, or a circle.
  bool go_on(const LocalNames::Found&);
  // The query for where it has led to; valid while the chain is.
  const Query& query() const { return query_; }
  // The answer to `asked` made of the message about query().
  size_t compose(const Query& asked, base::ByteView answer, const ZoneIndex::How&, base::MutByteView out, Rcode&) const;
  std::optional<Name> alias;  // what an ExternalName at its end points to

 private:
  struct Hop {
    Name target;
    uint32_t ttl;
    bool renamed;
  };
  void make_query();
  Query query_;
  std::array<uint8_t, kHeaderSize + kNameMax + 4 + kOptSize> octets_;
  Name asked_;
  std::vector<Hop> hops_;
};

}  // namespace dns
