#include "edgemesh/intercept/policy_chains.h"

#include "edgemesh/intercept/skeleton.h"
#include "lb/policy/source_hash.h"

namespace edgemesh::detail {

using base::Family;
using base::nft::Batch;
using base::nft::MetaKey;
using base::nft::Rule;

namespace {

int width(Family f) { return f == Family::v4 ? 1 : 4; }

// The service's address . protocol . port from register `at` on.
Rule& load_service(Rule& r, const PolicyChain& c, int at) {
  static constexpr uint8_t any[16] = {};
  if (c.node_port) r.immediate(at, {any, size_t(width(c.family)) * 4});
  else r.daddr(c.family, at);
  return r.meta(MetaKey::l4proto, at + width(c.family)).dport(at + width(c.family) + 1);
}

void draw_slot(Rule& r, const PolicyChain& c, int to) {
  static constexpr uint8_t zero[4] = {};
  bool rotate = c.counter >= 0, hash = c.frontend.policy == Frontend::Policy::source_hash && !c.affinity_s;
  if (c.modulus == 1) r.immediate(to, zero);
  else if (rotate) r.numgen_inc(c.modulus, to);
  else if (hash) r.saddr(c.family, 8).jhash(8, uint32_t(width(c.family)) * 4, c.modulus, lb::kSourceHashSeed, to);
  else r.numgen_random(c.modulus, to);
}

void add_plain(Batch& b, const std::string& chain, const PolicyChain& c) {
  Rule r;
  load_service(r, c, 0);
  draw_slot(r, c, width(c.family) + 2);
  r.from_map(slot_map(c.family, c.counter), 0, 0).dnat(c.family, 0, width(c.family));
  b.add_rule(chain, r);
}

// client . service -> endpoint id (learned), service . id -> endpoint (only those that live). The id passes from one look-up to the
// next through the packet's priority, because nft 1.0.6 cannot list a key that is made of a look-up's result; it is cleared again.
// A client whose endpoint died misses the second look-up and draws again; learned data is never replaced by an update, hence
// erase and learn anew.
void serve_by_id(Rule& r, const PolicyChain& c, bool relearn) {
  static constexpr uint8_t zero[4] = {};
  Family f = c.family;
  int service = width(f), id = service + width(f) + 2;
  load_service(r.saddr(f, 0), c, service).meta(MetaKey::priority, id);
  if (relearn) r.erase(fam("affinity", f), 0, id);
  r.update(fam("affinity", f), 0, id, std::chrono::seconds(c.affinity_s));
  r.from_map(fam("endpoint", f), service, 0).immediate(15, zero).set_priority(15).dnat(f, 0, width(f));
}

void add_affinity(Batch& b, const std::string& chain, const PolicyChain& c) {
  Family f = c.family;
  Rule known;
  load_service(known.saddr(f, 0), c, width(f)).from_map(fam("affinity", f), 0, 0).set_priority(0);
  serve_by_id(known, c, false);
  b.add_rule(chain, known);
  Rule fresh;
  load_service(fresh, c, 0);
  draw_slot(fresh, c, width(f) + 2);
  fresh.from_map(fam("slotid", f), 0, 0).set_priority(0);
  serve_by_id(fresh, c, true);
  b.add_rule(chain, fresh);
  add_plain(b, chain, c);  // the table of clients is full: serve without memory
}

void add_proxy(Batch& b, const std::string& chain, const PolicyChain& c, const InterceptConfig& config) {
  uint8_t port[2];
  base::store_be16(port, config.proxy_port);
  Rule r;
  r.l4proto_is(base::Proto::tcp).immediate(0, own(config.service_ips, c.family)->bytes()).immediate(width(c.family), port);
  b.add_rule(chain, r.dnat(c.family, 0, width(c.family)));
}

// A NAT that changes nothing: the flow has had its NAT, and no later chain (kube-proxy's) gives it an endpoint of its own.
void add_hold(Batch& b, const std::string& chain, const PolicyChain& c) {
  Rule r;
  r.daddr(c.family, 0).dport(width(c.family)).dnat(c.family, 0, width(c.family));
  b.add_rule(chain, r);
}

}  // namespace

std::string chain_name(const PolicyChain& c) {
  std::string end = fmt::format("{}{}", c.node_port ? "n" : "", c.family == Family::v4 ? 4 : 6);
  if (c.frontend.mode == Frontend::Mode::proxy) return "proxy_" + end;
  if (c.frontend.mode == Frontend::Mode::hold) return "hold_" + end;
  if (c.affinity_s) return fmt::format("aff{}_{}_{}", c.affinity_s, c.modulus, end);
  if (c.modulus == 1) return "one_" + end;
  if (c.counter >= 0) return fmt::format("rr{}_{}_{}", c.modulus, end, c.counter);
  return fmt::format("{}{}_{}", c.frontend.policy == Frontend::Policy::source_hash ? "hash" : "random", c.modulus, end);
}

void add_policy_rules(Batch& b, const std::string& chain, const PolicyChain& c, const InterceptConfig& config) {
  if (c.frontend.mode == Frontend::Mode::proxy) add_proxy(b, chain, c, config);
  else if (c.frontend.mode == Frontend::Mode::hold) add_hold(b, chain, c);
  else if (c.affinity_s) add_affinity(b, chain, c);
  else add_plain(b, chain, c);
}

}  // namespace edgemesh::detail
