#include "dns/zone/zone_index.h"

#include <algorithm>
#include <cstring>

#include "dns/wire/scan.h"
#include "dns/zone/service_records.h"

namespace dns {

using Kind = ZoneIndex::Result::Kind;

static constexpr int kAliasesMax = 8;
static constexpr uint32_t kReverse = 0x80000000;  // in Entry::at: a reverse record
static constexpr auto kTellEvery = std::chrono::seconds(10);

ZoneIndex::ZoneIndex(const ZoneConfig& c, uint64_t seed, PodExists p)
    : exposed_(c.namespaces), seed_(seed), ttl_(c.ttl), pods_(c.pods), fallthrough_(c.reverse_fallthrough), pod_exists_(std::move(p)), slots_(1) {
  for (auto& z : zones_of(c)) {
    uint8_t labels = 0;
    for (size_t at = 0; z.wire()[at]; at += z.wire()[at] + size_t(1)) labels++;
    zones_.push_back({std::string(z.key()), labels});
  }
  scratch_.reserve(kLabelMax + 1);
  ptrs_.reserve(4096);
}

// ---- changes

uint32_t ZoneIndex::address_hash(const base::IpAddr& ip) const { return name_hash(~seed_, base::as_text(ip.bytes())); }

void ZoneIndex::enter(uint32_t slot, bool in) {
  const Piece& p = slots_[slot].piece;
  auto one = [&](uint32_t hash, uint32_t at) { in ? table_.add({hash, slot, at}) : table_.remove({hash, slot, at}); };
  p.each([&](uint32_t at) { one(name_hash(seed_, full_name(p.name_at(at)).key()), at); },
         [&](uint32_t at) { one(address_hash(p.reverse_at(at).address), at | kReverse); });
}

Name ZoneIndex::full_name(const NameView& n) const { return n.name(zones_[n.zone()].key); }

bool ZoneIndex::is(const NameView& n, std::string_view key) const {
  std::string_view labels = n.labels(), zone = zones_[n.zone()].key;
  return key.size() == labels.size() + zone.size() && std::memcmp(key.data(), labels.data(), labels.size()) == 0 &&
         std::memcmp(key.data() + labels.size(), zone.data(), zone.size()) == 0;
}

uint32_t ZoneIndex::slot_of(std::string_view key) const {
  auto* e = entry(key, name_hash(seed_, key));
  return e && is(slots_[e->slot].piece.base(), key) ? e->slot : 0;
}

void ZoneIndex::drop(uint32_t slot) {
  enter(slot, false);
  slots_[slot] = Slot();
  spare_.push_back(slot);
}

void ZoneIndex::put(const Piece& p) {
  uint32_t slot = slot_of(full_name(p.base()).key());
  if (slot) {
    enter(slot, false);
  } else if (!spare_.empty()) {
    slot = spare_.back();
    spare_.pop_back();
  } else {
    slot = uint32_t(slots_.size());
    slots_.emplace_back();
  }
  slots_[slot].piece = p;
  enter(slot, true);
}

void ZoneIndex::apply(const ZoneUpdate& u) {
  if (u.whole) {
    table_.clear();
    slots_.assign(1, Slot());
    slots_.reserve(u.put.size() + 1);
    spare_.clear();
    size_t names = 0;
    for (auto& p : u.put) p.each([&](uint32_t) { names++; }, [&](uint32_t) { names++; });
    table_.reserve(names);
  }
  for (auto& key : u.removed)
    if (uint32_t slot = slot_of(key)) drop(slot);
  for (auto& p : u.put) put(p);
  services_ = u.table;
  serial_ = u.serial;
}

size_t ZoneIndex::bytes() const {
  size_t n = table_.bytes() + slots_.capacity() * sizeof(Slot) + spare_.capacity() * sizeof(uint32_t);
  for (auto& s : slots_)
    if (s.piece) n += s.piece.bytes() + 32;  // with what the heap and the reference count take
  return n;
}

std::optional<base::kube::ObjectName> ZoneIndex::first_ask(uint32_t slot, base::Instant now) {
  if (!slot || slot >= slots_.size()) return {};
  Slot& s = slots_[slot];
  if (s.told != base::Instant() && now - s.told < kTellEvery) return {};
  s.told = now;
  std::string_view key = s.piece.base().labels();  // name, namespace, "svc"
  size_t name = uint8_t(key[0]), ns = uint8_t(key[1 + name]);
  return base::kube::ObjectName{std::string(key.substr(2 + name, ns)), std::string(key.substr(1, name))};
}

// ---- look-up

const NameTable::Entry* ZoneIndex::entry(std::string_view key, uint32_t hash) const {
  return table_.find(hash, [&](const NameTable::Entry& e) { return !(e.at & kReverse) && is(slots_[e.slot].piece.name_at(e.at), key); });
}

std::optional<ZoneIndex::Found> ZoneIndex::find(std::string_view key) const {
  auto* e = entry(key, name_hash(seed_, key));
  if (!e) return {};
  return Found{slots_[e->slot].piece.name_at(e->at), e->slot};
}

// What was seen ahead is the right one unless hashes collide.
std::optional<ZoneIndex::Found> ZoneIndex::find(const Query& q, const Ahead& a) const {
  if (!a.hash) return find(q.key());
  if (!a.slot) return {};
  NameView n = slots_[a.slot].piece.name_at(a.at);
  if (is(n, q.key())) return Found{n, a.slot};
  return find(q.key());
}

void ZoneIndex::look_1(const Query& q, Ahead& a) const {
  a = Ahead();
  if (!q.name_size) return;
  a.hash = name_hash(seed_, q.key());
  table_.prefetch(a.hash);
}

void ZoneIndex::look_2(Ahead& a) const {
  if (!a.hash) return;
  auto* e = table_.find(a.hash, [](const NameTable::Entry& x) { return !(x.at & kReverse); });
  if (!e) return;
  a.slot = e->slot;
  a.at = e->at;
  __builtin_prefetch(&slots_[a.slot]);
}

void ZoneIndex::look_3(const Ahead& a) const {
  if (a.slot) slots_[a.slot].piece.prefetch(a.at);
}

const ZoneIndex::Zone* ZoneIndex::zone_of(const Query& q) const {
  for (auto& z : zones_)
    if (q.labels >= z.labels && q.key_from(q.labels - size_t(z.labels)) == z.key) return &z;
  return nullptr;
}

bool ZoneIndex::in_zone(std::string_view key) const {
  while (true) {
    for (auto& z : zones_)
      if (key == z.key) return true;
    if (key.size() <= 1) return false;
    key.remove_prefix(uint8_t(key[0]) + size_t(1));
  }
}

bool ZoneIndex::namespace_exists(std::string_view ns) const {
  if (!exposed_.empty() && !std::count(exposed_.begin(), exposed_.end(), ns)) return false;
  scratch_.assign(ns);
  return services_ && services_->has_namespace(scratch_);
}

void ZoneIndex::respond(const Query& q, const How& how, base::MutByteView out, Result& r) const {
  r.kind = Kind::not_ours;
  r.rcode = Rcode::noerror;
  r.service = 0;
  r.alias.reset();
  bool transfer = q.type == type::AXFR || q.type == type::IXFR;
  if (auto f = find(q, how.ahead); f && !transfer) return found(q, how, *f, out, r);
  const Zone* zone = zone_of(q);
  if (!zone) return;
  if (transfer) {
    Reply reply{.rcode = Rcode::refused, .flags = how.flags, .udp_payload = how.udp_payload};
    r.rcode = Rcode::refused;
    r.size = write_reply(q, reply, {}, how.limit, out);
    r.kind = Kind::answered;
    return;
  }
  return zone == &zones_.front() ? computed(q, how, *zone, out, r) : reversed(q, how, *zone, out, r);
}

void ZoneIndex::write(const Query& q, const How& how, const BodyView& b, base::MutByteView out, Result& r) const {
  Reply reply{.flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload, .turn = how.turn};
  r.size = write_reply(q, reply, b, how.limit, out);
  r.kind = Kind::answered;
}

void ZoneIndex::found(const Query& q, const How& how, const Found& f, base::MutByteView out, Result& r) const {
  if (f.name.is_service()) r.service = f.slot;
  auto a = q.type == type::ANY ? f.name.first() : f.name.find(q.type);  // RFC 8482 §4.1
  if (a) return write(q, how, *a, out, r);
  const Zone& zone = *zone_of(q);
  bool address = q.type == type::A || q.type == type::AAAA;
  if (address && !f.name.alias().empty()) return aliased(q, how, zone, f.name, out, r);
  soa(q, how, zone, Rcode::noerror, q.type == type::SOA && q.key() == zone.key, out, r);
}

// Names that have no records of their own: namespaces and pods.
void ZoneIndex::computed(const Query& q, const How& how, const Zone& zone, base::MutByteView out, Result& r) const {
  size_t own = q.labels - size_t(zone.labels);
  std::string_view kind = own >= 2 ? q.label(own - 1) : std::string_view();
  if (own == 2 && (kind == "svc" || kind == "pod") && namespace_exists(q.label(0))) return negative(q, how, zone, Rcode::noerror, out, r);
  auto ip = own == 3 && kind == "pod" ? pod_address(q) : std::nullopt;
  if (!ip) return negative(q, how, zone, Rcode::nxdomain, out, r);
  if (q.type != type::ANY && q.type != (ip->is_v4() ? type::A : type::AAAA)) return negative(q, how, zone, Rcode::noerror, out, r);
  uint8_t rr[28] = {0xc0, kHeaderSize, 0, uint8_t(ip->is_v4() ? type::A : type::AAAA), 0, klass::IN};
  base::store_be32(rr + 6, ttl_);
  base::store_be16(rr + 10, uint16_t(ip->bytes().size()));
  std::memcpy(rr + 12, ip->bytes().data(), ip->bytes().size());
  write(q, how, {{rr, 12 + ip->bytes().size()}, 1}, out, r);
}

std::optional<base::IpAddr> ZoneIndex::pod_address(const Query& q) const {
  if (pods_ == PodNames::disabled || !namespace_exists(q.label(1))) return {};
  auto ip = from_dashed(q.label(0));
  if (ip && pods_ == PodNames::verified && !(pod_exists_ && pod_exists_(q.label(1), *ip))) return {};
  return ip;
}

// "1.3.20.172.in-addr.arpa" as an address: exactly as it is written, without leading zeros.
static std::optional<base::IpAddr> address_of(const Query& q, bool v4) {
  uint8_t b[16] = {};
  if (v4) {
    if (q.labels != 6) return {};
    for (size_t i = 0; i < 4; i++) {
      std::string_view l = q.label(i);
      unsigned v = 0;
      if (l.size() > 3 || (l.size() > 1 && l[0] == '0')) return {};
      for (char c : l) {
        if (c < '0' || c > '9') return {};
        v = v * 10 + unsigned(c - '0');
      }
      if (v > 255) return {};
      b[3 - i] = uint8_t(v);
    }
    return base::IpAddr::v4(b);
  }
  if (q.labels != 34) return {};
  for (size_t i = 0; i < 32; i++) {
    std::string_view l = q.label(i);
    const char* hex = "0123456789abcdef";
    const char* at = l.size() == 1 && l[0] ? std::strchr(hex, l[0]) : nullptr;
    if (!at) return {};
    b[15 - i / 2] = uint8_t(b[15 - i / 2] | (at - hex) << (i % 2 ? 4 : 0));
  }
  return base::IpAddr::v6(b);
}

// A cluster IP answers alone; else every service's endpoint with this address, once each.
void ZoneIndex::reversed(const Query& q, const How& how, const Zone& zone, base::MutByteView out, Result& r) const {
  auto ip = address_of(q, &zone == &zones_[1]);
  ptrs_.clear();
  uint16_t records = 0;
  uint32_t last = 0;
  auto one = [&](const NameTable::Entry& e) {
    const Piece& p = slots_[e.slot].piece;
    if (!(e.at & kReverse)) return false;
    ReverseView rev = p.reverse_at(e.at & ~kReverse);
    if (rev.address != *ip || (!rev.cluster_ip && e.slot == last)) return false;
    if (rev.cluster_ip) ptrs_.clear(), records = 0;
    if (ptrs_.size() + kNameMax + 12 > kMessageMax - 600) return true;
    Name target = full_name(p.name_at(rev.name));
    uint8_t head[12] = {0xc0, kHeaderSize, 0, type::PTR, 0, klass::IN};
    base::store_be32(head + 6, ttl_);
    base::store_be16(head + 10, uint16_t(target.size()));
    base::Writer w(ptrs_);
    w.put(head);
    w.put(target.wire());
    records++;
    last = e.slot;
    return rev.cluster_ip;
  };
  if (ip) table_.find(address_hash(*ip), one);
  if (records && (q.type == type::PTR || q.type == type::ANY)) return write(q, how, {ptrs_, records}, out, r);
  if (!records && fallthrough_) return;
  negative(q, how, zone, records ? Rcode::noerror : Rcode::nxdomain, out, r);
}

// NXDOMAIN and NODATA with the zone's SOA (RFC 2308 §2). Before the first whole list nothing may be said not to exist.
void ZoneIndex::negative(const Query& q, const How& how, const Zone& zone, Rcode rc, base::MutByteView out, Result& r) const {
  soa(q, how, zone, rc, false, out, r);
}

// The SOA as the answer, or in the authority section of a negative one.
void ZoneIndex::soa(const Query& q, const How& how, const Zone& zone, Rcode rc, bool asked, base::MutByteView out, Result& r) const {
  if (!asked && !synced()) rc = Rcode::servfail;
  static constexpr uint8_t kNames[] = {2, 'n', 's', 3, 'd', 'n', 's', 0, 0, 10, 'h', 'o', 's', 't', 'm', 'a', 's', 't', 'e', 'r', 0, 0};
  static_assert(sizeof kNames == 22);
  uint8_t rr[12 + sizeof kNames + 20] = {0, 0, 0, type::SOA, 0, klass::IN};
  uint16_t to_zone = uint16_t(0xc000 | (kHeaderSize + q.name_size - zone.key.size()));
  base::store_be16(rr, to_zone);
  base::store_be32(rr + 6, ttl_);
  base::store_be16(rr + 10, sizeof rr - 12);
  std::memcpy(rr + 12, kNames, sizeof kNames);
  base::store_be16(rr + 12 + 7, to_zone);
  base::store_be16(rr + 12 + 20, to_zone);
  uint8_t* p = rr + 12 + sizeof kNames;
  for (uint32_t v : {serial_, 7200u, 1800u, 86400u, ttl_}) base::store_be32(p, v), p += 4;
  Reply reply{.rcode = rc, .flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload,
              .ede = rc == Rcode::servfail ? Ede::not_ready : Ede::none};
  BodyView body{rr, uint16_t(asked ? 1 : 0), uint16_t(asked ? 0 : 1)};
  r.rcode = rc;
  r.size = write_reply(q, reply, body, how.limit, out);
  r.kind = Kind::answered;
}

// ---- ExternalName

struct ZoneIndex::Alias {
  std::vector<Name> hops;                 // every target, in order
  std::optional<Found> end;               // the last one, when it is ours and exists
  bool loop = false;
};

ZoneIndex::Alias ZoneIndex::follow(const NameView& first) const {
  Alias a;
  std::string_view alias = first.alias();
  while (!alias.empty()) {
    if (a.hops.size() == kAliasesMax || is(first, alias)) return a.loop = true, a;
    a.hops.push_back(*Name::from_wire(base::as_bytes(alias)));
    a.end = find(alias);
    alias = a.end ? a.end->name.alias() : std::string_view();
  }
  return a;
}

static void add_hops(MessageWriter& w, const Query& q, const std::vector<Name>& hops, uint32_t ttl) {
  Name owner = *Name::from_wire(base::as_bytes(q.key()));
  for (auto& h : hops) {
    w.add_name(owner, type::CNAME, ttl, h);
    owner = h;
  }
}

// The records of an address answer, under another name than they were rendered for: 12 octets, then the address.
static void add_addresses(MessageWriter& w, const Name& owner, const Query& q, uint32_t ttl, const std::optional<BodyView>& b) {
  for (size_t i = 0; b && i < b->answers; i++) w.add(owner, q.type, ttl, b->octets.subspan(i * b->rotate + 12, b->rotate - size_t(12)));
}

void ZoneIndex::aliased(const Query& q, const How& how, const Zone& zone, const NameView& n, base::MutByteView out, Result& r) const {
  Alias a = follow(n);
  if (a.loop) return negative(q, how, zone, Rcode::noerror, out, r);
  bool ours = in_zone(a.hops.back().key());
  if (!ours && how.can_forward) {
    r.kind = Kind::alias;
    r.alias = a.hops.back();
    return;
  }
  MessageWriter w(*Name::from_wire(base::as_bytes(q.key())));
  add_hops(w, q, a.hops, ttl_);
  auto end = a.end ? a.end->name.find(q.type) : std::nullopt;
  add_addresses(w, a.hops.back(), q, ttl_, end);
  r.rcode = ours && !a.end ? Rcode::nxdomain : Rcode::noerror;  // RFC 6604 §2.1
  if (ours && !end) {
    w.authority();
    w.add_soa(*Name::from_wire(base::as_bytes(zone.key)), ttl_, serial_);
  }
  Reply reply{.rcode = r.rcode, .flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload};
  r.size = write_reply(q, reply, w.body(), how.limit, out);
  r.kind = Kind::answered;
}

// Rdata of these types may hold compressed names; an address answer holds only CNAMEs of them.
static void copy_record(MessageWriter& w, base::ByteView m, const Record& r) {
  size_t at = r.data_at;
  Name target;
  if (r.type != type::CNAME) w.add(r.owner, r.type, r.ttl, m.subspan(r.data_at, r.data_size));
  else if (read_name(m, at, target)) w.add_name(r.owner, type::CNAME, r.ttl, target);
}

static void copy_answers(MessageWriter& w, const Query& q, base::ByteView upstream) {
  if (upstream.empty()) return;
  each_answer(upstream, [&](const Record& r) {
    if (r.klass == klass::IN && (r.type == type::CNAME || r.type == q.type)) copy_record(w, upstream, r);
    return true;
  });
}

size_t ZoneIndex::respond_alias(const Query& q, const How& how, base::ByteView upstream, Rcode rc, base::MutByteView out) const {
  auto f = find(q.key());
  MessageWriter w(*Name::from_wire(base::as_bytes(q.key())));
  if (f && !f->name.alias().empty()) add_hops(w, q, follow(f->name).hops, ttl_);
  copy_answers(w, q, upstream);
  Reply reply{.rcode = rc, .flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload};
  return write_reply(q, reply, w.body(), how.limit, out);
}

// ---- search paths

// <name>.<ns>.svc.<zone> of a client in ns: then <name>.svc.<zone>, <name>.<zone> and <name>.
void ZoneIndex::respond_search(const Query& q, std::string_view ns, const How& how, base::MutByteView out, Result& r) const {
  r.kind = Kind::not_ours;
  const Zone& zone = zones_.front();
  size_t tail = size_t(zone.labels) + 2;
  if (q.labels <= tail || zone_of(q) != &zone) return;
  size_t own = q.labels - tail;
  if (q.label(own) != ns || q.label(own + 1) != "svc") return;
  std::string_view bare = q.key().substr(0, q.label_at[own]);
  for (size_t rest : {own + 1, own + 2, size_t(q.labels)}) {  // the last: the bare name, which may be ours as well
    scratch_.assign(bare).append(q.key_from(rest));
    if (auto f = find(scratch_)) return searched(q, how, *f, out, r);
  }
  auto target = Name::from_wire(base::as_bytes(scratch_));
  if (!how.can_forward || !target || in_zone(target->key())) return;
  r.kind = Kind::alias;
  r.alias = *target;
}

// An ExternalName found on the way is left to the client's next query.
void ZoneIndex::searched(const Query& q, const How& how, const Found& f, base::MutByteView out, Result& r) const {
  if (!f.name.alias().empty()) return;
  Name target = full_name(f.name);
  MessageWriter w(*Name::from_wire(base::as_bytes(q.key())));
  add_hops(w, q, {target}, 0);
  auto a = f.name.find(q.type);
  add_addresses(w, target, q, ttl_, a);
  if (!a) w.authority(), w.add_soa(*Name::from_wire(base::as_bytes(zones_.front().key)), ttl_, serial_);
  write(q, how, w.body(), out, r);
  if (f.name.is_service()) r.service = f.slot;
}

size_t ZoneIndex::respond_search(const Query& q, const How& how, const Name& target, base::ByteView upstream, Rcode rc, base::MutByteView out) const {
  if (rc == Rcode::nxdomain) {
    Result r;
    negative(q, how, zones_.front(), rc, out, r);
    return r.size;
  }
  MessageWriter w(*Name::from_wire(base::as_bytes(q.key())));
  if (rc == Rcode::noerror) add_hops(w, q, {target}, 0);
  copy_answers(w, q, upstream);
  Reply reply{.rcode = rc, .flags = uint16_t(flag::AA | how.flags), .udp_payload = how.udp_payload};
  return write_reply(q, reply, w.body(), how.limit, out);
}

}  // namespace dns
