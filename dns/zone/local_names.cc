#include "dns/zone/local_names.h"

#include <algorithm>

#include "dns/wire/bailiwick.h"

namespace dns {

using Kind = LocalNames::Found::Kind;
using base::conf::DnsRecord;

static constexpr uint16_t kMx = 15;

// ---- reading

static std::optional<Name> lowered(const std::string& text) {
  auto n = Name::from_text(text);
  if (n) n->make_lower();
  return n;
}

static base::Result<Name> name_in(const std::string& text, const Name& zone) {
  std::string full = text == "@" ? zone.text() : text.ends_with('.') ? text : zone.size() == 1 ? text + "." : text + "." + zone.text();
  auto n = lowered(full);
  if (!n) return base::fail(base::Code::invalid, "dns: \"{}\" of the zone {} is not a domain name", text, zone.text());
  return *n;
}

static uint16_t type_of(std::string_view t) {
  if (t == "A") return type::A;
  if (t == "AAAA") return type::AAAA;
  if (t == "CNAME") return type::CNAME;
  if (t == "MX") return kMx;
  if (t == "NS") return type::NS;
  if (t == "PTR") return type::PTR;
  return t == "SRV" ? type::SRV : type::TXT;
}

static base::Result<base::ByteVec> rdata_of(const DnsRecord& r, const Name& zone) {
  base::ByteVec out;
  base::Writer w(out);
  if (r.type == "A" || r.type == "AAAA") {
    auto ip = base::IpAddr::parse(r.data[0]);
    w.put(ip->bytes());
  } else if (r.type == "TXT") {
    for (auto& t : r.data) w.u8(uint8_t(t.size())), w.put(base::as_bytes(t));
  } else {  // numbers, then a name
    for (size_t i = 0; i + 1 < r.data.size(); i++) w.u16(uint16_t(std::stoul(r.data[i])));
    EM_TRY_ASSIGN(Name n, name_in(r.data.back(), zone));
    w.put(n.wire());
  }
  return out;
}

// Owner names point to the question, wherever the record is served from: a wildcard's is what was asked.
base::Result<void> LocalNames::add(const Name& owner, uint16_t t, uint32_t ttl, base::ByteView rdata, const Name& zone) {
  for (std::string_view up = owner.key(); up.size() > zone.size();) {  // what is above exists (RFC 8020)
    up.remove_prefix(uint8_t(up[0]) + size_t(1));
    entries_.try_emplace(std::string(up));
  }
  Entry& e = entries_[std::string(owner.key())];
  if (t == type::CNAME) {
    if (e.alias) return base::fail(base::Code::invalid, "dns: {} has two CNAME records: leave one", owner.text());
    e.alias = Name::from_wire(rdata);
    e.alias_ttl = ttl;
    return {};
  }
  auto it = std::find_if(e.sets.begin(), e.sets.end(), [&](auto& s) { return s.type == t; });
  if (it == e.sets.end()) it = e.sets.insert(e.sets.end(), Set{.type = t});
  base::Writer w(it->octets);
  size_t before = it->octets.size();
  w.u16(0xc000 | kHeaderSize), w.u16(t), w.u16(klass::IN), w.u32(ttl), w.u16(uint16_t(rdata.size())), w.put(rdata);
  if (it->octets.size() > kMessageMax - 1024) return base::fail(base::Code::limit, "dns: {} has more records of one type than fit a message", owner.text());
  uint16_t size = uint16_t(it->octets.size() - before);
  it->each = it->count == 0 || it->each == size ? size : uint16_t(0);
  it->count++;
  return {};
}

base::Result<void> LocalNames::add_host(const LocalHost& h, uint32_t ttl) {
  for (auto& text : h.names) {
    auto n = lowered(text);
    if (!n) return base::fail(base::Code::invalid, "dns: host name \"{}\" is not a domain name", text);
    EM_TRY(add(*n, h.address.is_v4() ? type::A : type::AAAA, ttl, h.address.bytes(), *n));
    if (!h.back) continue;
    EM_TRY(add(reverse_name(h.address.bytes()), type::PTR, ttl, n->wire(), reverse_name(h.address.bytes())));
  }
  return {};
}

base::Result<void> LocalNames::add_zone(const LocalZone& z) {
  auto zone = lowered(z.name);
  if (!zone) return base::fail(base::Code::invalid, "dns: zone \"{}\" is not a domain name", z.name);
  entries_.try_emplace(std::string(zone->key()));
  for (auto& r : z.records) {
    EM_TRY_ASSIGN(Name owner, name_in(r.name, *zone));
    if (!is_within(owner.key(), zone->key())) return base::fail(base::Code::invalid, "dns: {} is not in the zone {}", owner.text(), zone->text());
    EM_TRY_ASSIGN(auto rdata, rdata_of(r, *zone));
    EM_TRY(add(owner, type_of(r.type), r.ttl.value_or(z.ttl), rdata, *zone));
  }
  zones_.push_back({*zone, z.ttl, z.fallthrough});
  return {};
}

base::Result<void> LocalNames::check_aliases() const {
  for (auto& [key, e] : entries_)
    if (e.alias && !e.sets.empty())
      return base::fail(base::Code::invalid, "dns: {} has a CNAME beside other records: leave one or the other", Name::from_wire(base::as_bytes(key))->text());
  return {};
}

base::Result<std::unique_ptr<LocalNames>> LocalNames::make(const LocalConfig& c, uint64_t seed) {
  std::unique_ptr<LocalNames> l(new LocalNames(seed));
  for (auto& z : c.zones) EM_TRY(l->add_zone(z));
  for (auto& h : c.hosts) EM_TRY(l->add_host(h, c.host_ttl));
  for (auto& r : c.rewrites) {
    auto from = lowered(r.from), to = lowered(r.to);
    if (!from || !to) return base::fail(base::Code::invalid, "dns: rewrite \"{}\" to \"{}\": both must be domain names", r.from, r.to);
    l->rewrites_.push_back({*from, *to, r.suffix});
  }
  EM_TRY(l->check_aliases());
  std::sort(l->zones_.begin(), l->zones_.end(), [](auto& a, auto& b) { return a.name.size() > b.name.size(); });
  return l;
}

// ---- serving

const LocalNames::Entry* LocalNames::find(std::string_view key) const {
  auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

const LocalNames::Zone* LocalNames::zone_of(std::string_view key) const {
  for (auto& z : zones_)
    if (is_within(key, z.name.key())) return &z;
  return nullptr;
}

// RFC 4592 §3.3.1: the wildcard below the nearest name that exists.
const LocalNames::Entry* LocalNames::wildcard(std::string_view key, const Zone& zone) const {
  std::array<char, kNameMax + 2> b{1, '*'};
  while (key.size() > zone.name.size()) {
    key.remove_prefix(uint8_t(key[0]) + size_t(1));
    if (!find(key)) continue;
    std::copy(key.begin(), key.end(), b.begin() + 2);
    return find({b.data(), key.size() + 2});
  }
  return nullptr;
}

bool LocalNames::rewritten(const Query& q, Found& f) const {
  for (auto& r : rewrites_) {
    bool whole = q.key() == r.from.key();
    if (!whole && !(r.suffix && is_within(q.key(), r.from.key()))) continue;
    base::ByteVec b(q.key().begin(), q.key().end() - std::ptrdiff_t(r.from.size()));
    base::Writer(b).put(r.to.wire());
    auto target = Name::from_wire(b);
    if (!target || target->key() == q.key()) return false;  // it grew too long
    f.kind = Kind::alias;
    f.renamed = true;
    f.target = *target;
    return true;
  }
  return false;
}

void LocalNames::respond(const Query& q, const ZoneIndex::How& how, bool rewrites, base::MutByteView out, Found& f) const {
  f.kind = Kind::not_here;
  f.renamed = false;
  if (rewrites && rewritten(q, f)) return;
  const Zone* zone = zone_of(q.key());
  const Entry* e = find(q.key());
  if (!zone && !e) return;
  if (zone && (q.type == type::AXFR || q.type == type::IXFR)) return negative(q, how, nullptr, Rcode::refused, out, f);
  if (!e && zone) e = wildcard(q.key(), *zone);
  if (e) return serve(q, how, *e, zone, out, f);
  if (!zone->fallthrough) negative(q, how, zone, Rcode::nxdomain, out, f);
}

void LocalNames::serve(const Query& q, const ZoneIndex::How& how, const Entry& e, const Zone* zone, base::MutByteView out, Found& f) const {
  if (e.alias) {
    f.kind = Kind::alias;
    f.target = *e.alias;
    f.ttl = e.alias_ttl;
    return;
  }
  auto it = std::find_if(e.sets.begin(), e.sets.end(), [&](auto& s) { return s.type == q.type || q.type == type::ANY; });
  if (it == e.sets.end() && zone && zone->fallthrough && e.sets.empty()) return;  // only the way to names that are here
  if (it == e.sets.end()) return negative(q, how, zone, Rcode::noerror, out, f);
  Reply reply{.flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload, .turn = how.turn};
  f.size = write_reply(q, reply, {it->octets, it->count, 0, 0, it->each}, how.limit, out);
  f.rcode = Rcode::noerror;
  f.kind = Kind::answered;
}

void LocalNames::negative(const Query& q, const ZoneIndex::How& how, const Zone* zone, Rcode rc, base::MutByteView out, Found& f) const {
  uint8_t rr[12 + 40] = {};
  size_t size = 0;
  if (zone) {  // ns.<zone>, hostmaster.<zone>
    static constexpr uint8_t kNs[] = {2, 'n', 's'}, kHost[] = {10, 'h', 'o', 's', 't', 'm', 'a', 's', 't', 'e', 'r'};
    uint16_t to_zone = uint16_t(0xc000 | (kHeaderSize + q.name_size - zone->name.size()));
    auto put = [&](base::ByteView v) { std::copy(v.begin(), v.end(), rr + size), size += v.size(); };
    auto u16 = [&](uint16_t v) { base::store_be16(rr + size, v), size += 2; };
    auto u32 = [&](uint32_t v) { base::store_be32(rr + size, v), size += 4; };
    u16(to_zone), u16(type::SOA), u16(klass::IN), u32(zone->ttl), u16(sizeof kNs + sizeof kHost + 4 + 20);
    put(kNs), u16(to_zone), put(kHost), u16(to_zone);
    for (uint32_t v : {1u, 7200u, 1800u, 86400u, zone->ttl}) u32(v);
  }
  bool asked = zone && q.type == type::SOA && q.key() == zone->name.key();
  Reply reply{.rcode = rc, .flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload};
  f.size = write_reply(q, reply, {{rr, size}, uint16_t(asked), uint16_t(zone && !asked)}, how.limit, out);
  f.rcode = rc;
  f.kind = Kind::answered;
}

}  // namespace dns
