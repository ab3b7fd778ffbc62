#include "dns/server/name_chain.h"

#include <algorithm>

#include "dns/wire/message_writer.h"
#include "dns/wire/rdata.h"

namespace dns {

NameChain::NameChain(const Query& q) : query_(q), asked_(*Name::from_wire(base::as_bytes(q.key()))) {}

bool NameChain::go_on(const LocalNames::Found& f) {
  bool circle = f.target == asked_ || std::any_of(hops_.begin(), hops_.end(), [&](auto& h) { return h.target == f.target; });
  if (circle || hops_.size() == kHopsMax) return false;
  hops_.push_back({f.target, f.ttl, f.renamed});
  make_query();
  return true;
}

// The same question about another name, and nothing of EDNS: that is between us and the client.
void NameChain::make_query() {
  Query before = query_;
  size_t n = write_query(hops_.back().target, before.type, before.id, 1232, before.dnssec_ok, before.checking_disabled(), octets_);
  parse_query({octets_.data(), n}, query_);
  query_.flags = before.flags;
  query_.has_opt = false;
}

size_t NameChain::compose(const Query& q, base::ByteView answer, const ZoneIndex::How& how, base::MutByteView out, Rcode& rc) const {
  MessageWriter w(asked_);
  Name shown = asked_;
  for (auto& h : hops_) {
    if (h.renamed) continue;
    w.add_name(shown, type::CNAME, h.ttl, h.target);
    shown = h.target;
  }
  Scan s;
  bool read = scan_answer(answer, s);
  rc = read ? s.rcode : Rcode::servfail;
  auto copy = [&](const Record& r) {
    Name owner = r.owner;
    owner.make_lower();
    if (auto data = plain_rdata(answer, r)) w.add(owner == hops_.back().target ? shown : r.owner, r.type, r.ttl, *data);
    return true;
  };
  if (read) each_answer(answer, copy);
  w.authority();
  if (read) each_authority(answer, copy);
  Reply reply{.rcode = rc, .flags = uint16_t((s.flags & flag::AA) | how.flags), .udp_payload = how.udp_payload};
  return write_reply(q, reply, w.body(), how.limit, out);
}

}  // namespace dns
