#include "dns/server/responder.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/core/wall_clock.h"
#include "dns/wire/response.h"

namespace dns {

using Kind = Responder::Answered::Kind;

struct Responder::Held {
  Query query;
  std::array<uint8_t, kNameMax + 4> question;
  std::optional<Name> alias;
  std::vector<Name> further;         // of the search path, in case nobody has that
  std::shared_ptr<NameChain> chain;  // or null
  bool search;
  Transport transport;
  base::IpAddr client;
  Zone zone;
  base::Instant asked;
  QueryTap::Sample sample;
  Held(const Query& q, const std::optional<Name>& a, bool s, Transport t, const base::IpAddr& c, Zone z, base::Instant now)
      : query(q), alias(a), search(s), transport(t), client(c), zone(z), asked(now) {
    std::memcpy(question.data(), q.question.data(), q.question.size());
    query.question = {question.data(), q.question.size()};
  }
  Held(const Held&) = delete;
};

Responder::Responder(base::Loop& loop, base::Metrics& m, ZoneIndex& z, Upstream& u, Hooks h, size_t udp_payload_max)
    : loop_(loop),
      zone_(z),
      upstream_(u),
      hooks_(std::move(h)),
      udp_payload_max_(udp_payload_max),
      scratch_(kMessageMax),
      alive_(std::make_shared<Responder*>(this)),
      dropped_(m.counter("edgemeshd_dns_dropped_total", "Datagrams that were no query and got no answer.")),
      searched_(m.counter("edgemeshd_dns_autopath_total", "Answers found along the search path of a pod that opted in.")),
      limited_(m.counter("edgemeshd_dns_client_limited_total", "Queries refused because their client had too many others at upstream.")),
      configured_(
          m.counter("edgemeshd_dns_configured_total", "Queries about names that hosts, zones or rewrites of the configuration speak of.")),
      rate_dropped_(m.counter("edgemeshd_dns_rate_limited_total", "Queries over UDP beyond dns.rateLimit, by what became of them.",
                              {{"action", "dropped"}})),
      rate_truncated_(m.counter("edgemeshd_dns_rate_limited_total", "Queries over UDP beyond dns.rateLimit, by what became of them.",
                                {{"action", "truncated"}})) {
  static const char* const rcodes[kRcodes] = {"noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "other"};
  static const char* const zones[kZones] = {"none", "cluster", "config", "outside"};
  for (int t = 0; t < 2; t++)
    queries_[t] = &m.counter("edgemeshd_dns_queries_total", "Queries received.", {{"transport", t ? "tcp" : "udp"}});
  for (size_t of = 0; of < kZones; of++) {
    for (size_t i = 0; i < kRcodes; i++)
      answers_[of][i] = &m.counter("edgemeshd_dns_answers_total",
                                   "Answers sent by response code and by whose name was asked: the cluster's, the configuration's, others.",
                                   {{"rcode", rcodes[i]}, {"zone", zones[of]}});
    waited_[of] = of == size_t(Zone::none)
                      ? nullptr
                      : &m.histogram("edgemeshd_dns_wait_seconds",
                                     "How long answers took that needed an upstream, by whose name was asked.", {{"zone", zones[of]}});
  }
}

void Responder::count() {
  if (hooks_.watch) {
    if (watch_kept_) hooks_.watch->seen({first_name_.data(), first_name_size_}, first_client_, loop_.now());
    hooks_.watch->passed(tally_.queries[0] + tally_.queries[1]);
  }
  watch_asked_ = watch_kept_ = false;
  for (int t = 0; t < 2; t++)
    if (tally_.queries[t]) queries_[t]->add(tally_.queries[t]);
  for (size_t z = 0; z < kZones; z++)
    for (size_t i = 0; i < kRcodes; i++)
      if (tally_.answers[z][i]) answers_[z][i]->add(tally_.answers[z][i]);
  tally_ = {};
}

void Responder::retire() {
  hooks_.tap = nullptr;
  hooks_.watch = nullptr;
  hooks_.local = nullptr;
  hooks_.rate = nullptr;
  routed_ = nullptr;
}

size_t Responder::limit(const Query& q, Transport t) const { return t == Transport::tcp ? kMessageMax : udp_limit(q, udp_payload_max_); }

ZoneIndex::How Responder::how(const Query& q, Transport t) const {
  bool forward = upstream_.available();
  return {uint16_t(forward ? flag::RA : 0), limit(q, t), turn_, uint16_t(udp_payload_max_), forward};
}

Responder::Answered Responder::replied(size_t size, Rcode rc) {
  tally_.answers[size_t(asked_zone_)][std::min<size_t>(uint16_t(rc), kRcodes - 1)]++;
  return {Kind::reply, size};
}

Responder::Answered Responder::refuse(Rcode rc, Ede ede, Transport t, base::MutByteView out) {
  Reply r{.rcode = rc, .flags = how(*query_, t).flags, .udp_payload = uint16_t(udp_payload_max_), .ede = ede};
  return replied(write_reply(*query_, r, {}, limit(*query_, t), out), rc);
}

Responder::Answered Responder::own_error(Parsed p, Transport t, base::MutByteView out) {
  if (p == Parsed::badvers) return refuse(Rcode::badvers, Ede::none, t, out);
  Rcode rc = p == Parsed::notimp ? Rcode::notimp : Rcode::formerr;
  query_->has_opt = false;
  return replied(write_header_error(*query_, rc, out), rc);
}

Responder::Answered Responder::answer(base::ByteView message, Transport t, const Asker& from, base::MutByteView out) {
  query_ = &own_;
  message_ = message;
  return answer_parsed(parse_query(message, own_), {}, t, from, out);
}

Responder::Answered Responder::answer_parsed(Parsed p, const ZoneIndex::Ahead& ahead, Transport t, const Asker& from, base::MutByteView out) {
  if (hooks_.tap && p != Parsed::drop && hooks_.tap->due()) return answer_tapped(p, ahead, t, from, out);
  return answer_plain(p, ahead, t, from, out);
}

Responder::Answered Responder::answer_tapped(Parsed p, const ZoneIndex::Ahead& ahead, Transport t, const Asker& from, base::MutByteView out) {
  const auto sample = hooks_.tap->query(message_, from(), t == Transport::tcp);
  const Answered a = answer_plain(p, ahead, t, from, out);
  if (a.kind == Kind::reply) hooks_.tap->answer(sample, *query_, {out.data(), a.size});
  if (a.kind == Kind::wait) sample_ = sample;
  return a;
}

Responder::Answered Responder::answer_plain(Parsed p, const ZoneIndex::Ahead& ahead, Transport t, const Asker& from, base::MutByteView out) {
  if (p == Parsed::drop || (upstream_.in_flight() && upstream_.is_loop(from()))) {
    dropped_.add();
    return {Kind::drop};
  }
  tally_.queries[size_t(t)]++;
  if (query_->has_cookie) bake(from().ip);
  if (query_->has_keepalive) {
    query_->has_keepalive = t == Transport::tcp;
    query_->keepalive_tenths = uint16_t(std::min<int64_t>(hooks_.tcp_idle.count() * 10, UINT16_MAX));
  }
  turn_++;
  asked_zone_ = Zone::none;
  if (!watch_asked_ && hooks_.watch && p == Parsed::ok) remember_first(from);
  if (hooks_.rate && t == Transport::udp)
    if (auto a = limited(p, from, out)) return *a;
  if (p != Parsed::ok) return own_error(p, t, out);
  if (query_->klass != klass::IN && query_->klass != klass::ANY) return refuse(Rcode::refused, Ede::not_supported, t, out);
  return local(ahead, t, from, out);
}

// The watch looks at it when the batch has left (count()): its tables are longer than the way of an answer.
void Responder::remember_first(const Asker& from) {
  watch_asked_ = true;
  if (!hooks_.watch->is_due(loop_.now())) return;
  watch_kept_ = true;
  first_client_ = from().ip;
  first_name_size_ = query_->key().size();
  std::memcpy(first_name_.data(), query_->key().data(), first_name_size_);
}

// A source beyond its share. None: it is not.
std::optional<Responder::Answered> Responder::limited(Parsed p, const Asker& from, base::MutByteView out) {
  const auto v = hooks_.rate->judge(from().ip, loop_.now());
  if (v == RateLimit::Verdict::answer) return {};
  if (v == RateLimit::Verdict::drop || p != Parsed::ok) return rate_dropped_.add(), Answered{Kind::drop};
  rate_truncated_.add();
  Reply r{.flags = uint16_t(how(*query_, Transport::udp).flags | flag::TC), .udp_payload = uint16_t(udp_payload_max_)};
  return replied(write_reply(*query_, r, {}, limit(*query_, Transport::udp), out), Rcode::noerror);
}

Responder::Answered Responder::local(const ZoneIndex::Ahead& ahead, Transport t, const Asker& from, base::MutByteView out) {
  auto& r = zone_result_;
  ZoneIndex::How h = how(*query_, t);
  h.ahead = ahead;
  if (hooks_.local)
    if (auto a = configured(h, t, from, out)) return *a;
  in_zone(h, from, out);
  asked_zone_ = r.kind == ZoneIndex::Result::Kind::not_ours ? Zone::outside : Zone::cluster;
  if (routed_ && asked_zone_ == Zone::outside) {
    routed_->respond(*query_, h, false, out, found_);
    if (found_.kind == LocalNames::Found::Kind::answered) return asked_zone_ = Zone::cluster, replied(found_.size, found_.rcode);
  }
  if (r.service && hooks_.on_service_query) tell(r.service);
  if (is_asked_early()) return forwarded(t, from, out);
  if (r.kind == ZoneIndex::Result::Kind::answered) return replied(r.size, r.rcode);
  return r.alias ? wait(t, from, out) : forwarded(t, from, out);
}

// What the zone says, with the search path of a pod that opted in. An alias may lead to a name of a route also where nobody is upstream.
void Responder::in_zone(ZoneIndex::How h, const Asker& from, base::MutByteView out) {
  const bool upstream = h.can_forward;
  h.can_forward |= routed_ != nullptr;
  for (bool again = true; again;) {
    zone_.respond(*query_, h, out, zone_result_);
    by_search_ = zone_result_.rcode == Rcode::nxdomain && hooks_.search_namespace && search(h, from, out);
    again = h.can_forward && !upstream && zone_result_.alias && !leads_to_routed();
    h.can_forward = upstream;
  }
}

// SERVFAIL of the zone itself: it has no whole list yet.
bool Responder::is_asked_early() const {
  const ZoneIndex::Result& r = zone_result_;
  return !asked_early_.empty() && r.kind == ZoneIndex::Result::Kind::answered && r.rcode == Rcode::servfail &&
         query_->key().ends_with(asked_early_);
}

// What routes and gateways say about a name that another one led to.
bool Responder::routed(const Name& name, uint16_t qtype, StoredAnswer& a) const {
  if (!routed_) return false;
  std::array<uint8_t, kHeaderSize + kNameMax + 4 + kOptSize> octets;
  Query q;
  if (parse_query({octets.data(), write_query(name, qtype, 0, 1232, false, false, octets)}, q) != Parsed::ok) return false;
  q.has_opt = false;
  LocalNames::Found f;
  a.message.resize(kMessageMax);
  routed_->respond(q, {0, kMessageMax, turn_, 1232, true, {}}, false, a.message, f);
  if (f.kind != LocalNames::Found::Kind::answered) return false;
  a.message.resize(f.size);
  return scan_answer(a.message, a.scan);
}

bool Responder::leads_to_routed() const {
  StoredAnswer a;
  const Name& end = *zone_result_.alias;
  if (!by_search_) return routed(end, query_->type, a);
  return std::ranges::any_of(search_path(end), [&](const Name& n) { return routed(n, query_->type, a); });
}

// Names the configuration speaks of. None: it does not speak of this one.
std::optional<Responder::Answered> Responder::configured(const ZoneIndex::How& h, Transport t, const Asker& from, base::MutByteView out) {
  chain_.reset();
  hooks_.local->respond(*query_, h, true, out, found_);
  if (found_.kind == LocalNames::Found::Kind::not_here) return {};
  configured_.add();
  asked_zone_ = Zone::config;
  if (found_.kind == LocalNames::Found::Kind::answered) return replied(found_.size, found_.rcode);
  return follow(found_, h, t, from, out);
}

// From name to name, until one has an answer here or has to be asked upstream.
Responder::Answered Responder::follow(const LocalNames::Found& first, const ZoneIndex::How& h, Transport t, const Asker& from, base::MutByteView out) {
  auto chain = std::make_shared<NameChain>(*query_);
  other_.resize(kMessageMax);
  ZoneIndex::How whole{h.flags, kMessageMax, h.turn, h.udp_payload, h.can_forward, {}};
  for (LocalNames::Found f = first; chain->go_on(f);) {
    hooks_.local->respond(chain->query(), whole, false, other_, f);
    if (f.kind == LocalNames::Found::Kind::alias) continue;
    auto& r = zone_result_;
    r.alias.reset();
    size_t size = f.size;
    if (f.kind == LocalNames::Found::Kind::not_here) {
      zone_.respond(chain->query(), whole, other_, r);
      if (r.service && hooks_.on_service_query) tell(r.service);
      if (r.kind == ZoneIndex::Result::Kind::not_ours && routed_) routed_->respond(chain->query(), whole, false, other_, f);
      if (r.kind != ZoneIndex::Result::Kind::answered && f.kind != LocalNames::Found::Kind::answered) {
        chain->alias = std::exchange(r.alias, std::nullopt);
        chain_ = std::move(chain);
        return wait(t, from, out);
      }
      size = f.kind == LocalNames::Found::Kind::answered ? f.size : r.size;
    }
    Rcode rc;
    size = chain->compose(*query_, {other_.data(), size}, h, out, rc);
    return replied(size, rc);
  }
  return refuse(Rcode::servfail, Ede::none, t, out);  // a circle
}

// A name that is not there, asked by a pod that wants the rest of its search path tried for it.
bool Responder::search(const ZoneIndex::How& h, const Asker& from, base::MutByteView out) {
  if (query_->type != type::A && query_->type != type::AAAA) return false;
  const std::string* ns = hooks_.search_namespace(from().ip);
  if (!ns) return false;
  ZoneIndex::Result r;
  zone_.respond_search(*query_, *ns, h, out, r);
  if (r.kind == ZoneIndex::Result::Kind::not_ours) return false;  // the first answer stands
  searched_.add();
  zone_result_ = r;
  return true;
}

Responder::Answered Responder::forwarded(Transport t, const Asker& from, base::MutByteView out) {
  if (query_->type == type::AXFR || query_->type == type::IXFR) return refuse(Rcode::refused, Ede::not_supported, t, out);
  if (query_->type == type::ANY) {  // RFC 8482 §4.2
    static constexpr uint8_t hinfo[] = {0xc0, 12, 0, type::HINFO, 0, 1, 0, 0, 0x0e, 0x10, 0, 9, 7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    Reply r{.flags = flag::RA, .udp_payload = uint16_t(udp_payload_max_)};
    return replied(write_reply(*query_, r, {hinfo, 1}, limit(*query_, t), out), Rcode::noerror);
  }
  if (upstream_.is_echo(*query_)) return refuse(Rcode::servfail, Ede::network_error, t, out);
  if (const StoredAnswer* a = upstream_.cached(*query_))
    return replied(write_stored(*query_, *a, loop_.now(), flag::RA, Ede::none, limit(*query_, t), uint16_t(udp_payload_max_), out), a->scan.rcode);
  return wait(t, from, out);
}

// One client's names, however many it invents, leave room for those of others.
Responder::Answered Responder::wait(Transport t, const Asker& from, base::MutByteView out) {
  waiting_for_ = from().ip;
  auto it = waiting_.find(waiting_for_);
  if (it == waiting_.end() || it->second < base::limits::kDnsWaitingPerClientMax) return {Kind::wait};
  limited_.add();
  return refuse(Rcode::refused, Ede::prohibited, t, out);
}

void Responder::done_waiting(const base::IpAddr& client) {
  auto it = waiting_.find(client);
  if (it != waiting_.end() && --it->second == 0) waiting_.erase(it);
}

void Responder::bake(const base::IpAddr& client) {
  if (!wall_s_ || loop_.now() - wall_at_ >= std::chrono::seconds(1)) {
    wall_at_ = loop_.now();
    wall_s_ = uint32_t(base::wall_now().unix_seconds);
  }
  make_cookie(*query_, client, wall_s_, hooks_.cookie_secret);
}

void Responder::tell(uint32_t service) {
  if (auto id = zone_.first_ask(service, loop_.now())) hooks_.on_service_query(*id);
}

void Responder::wait_for(Transport t, Later later) {
  auto held = std::make_shared<Held>(*query_, zone_result_.alias, by_search_, t, waiting_for_, asked_zone_, loop_.now());
  held->chain = std::move(chain_);
  waiting_[waiting_for_]++;
  held->sample = std::exchange(sample_, {});
  if (by_search_ && !held->chain) {
    held->further = search_path(*held->alias);
    held->alias = held->further.front();
    held->further.erase(held->further.begin());
  }
  ask(std::move(held), std::move(later));
}

// What is left of a pod's search path once the cluster's domains are tried; the name itself comes last.
std::vector<Name> Responder::search_path(const Name& bare) const {
  std::vector<Name> out;
  for (const Name& domain : hooks_.search_domains) {
    base::ByteVec wire(bare.wire().begin(), bare.wire().end() - 1);  // without the root
    base::Writer(wire).put(domain.wire());
    if (auto n = Name::from_wire(wire)) out.push_back(*n);
  }
  out.push_back(bare);
  return out;
}

static constexpr auto kSearchMax = std::chrono::seconds(1);  // clients ask again after five

// A denial leads on to the next name of the search path; no answer at all does not, as the rest might be about another host.
void Responder::ask(std::shared_ptr<Held> held, Later later) {
  const auto& alias = held->chain ? held->chain->alias : held->alias;
  Question q = Question::of(held->chain ? held->chain->query() : held->query);
  if (alias) q.name = *alias;
  if (StoredAnswer a; alias && routed(q.name, q.type, a)) return finish(*held, {&a, Ede::none}, later);
  if (!upstream_.available() && !held->further.empty()) return ask_further(std::move(held), std::move(later));
  upstream_.resolve(q, [alive = std::weak_ptr(alive_), held, later = std::move(later)](const Upstream::Outcome& o) {
    auto self = alive.lock();
    if (!self) return;
    Responder& r = **self;
    if (held->further.empty() || !o.answer || o.answer->scan.rcode != Rcode::nxdomain) return r.finish(*held, o, later);
    if (r.loop_.now() - held->asked >= kSearchMax) return r.finish(*held, {nullptr, Ede::no_reachable_authority}, later);
    r.ask_further(held, later);
  });
}

void Responder::ask_further(std::shared_ptr<Held> held, Later later) {
  held->alias = held->further.front();
  held->further.erase(held->further.begin());
  ask(std::move(held), std::move(later));
}

void Responder::finish(const Held& h, const Upstream::Outcome& o, const Later& later) {
  done_waiting(h.client);
  size_t most = limit(h.query, h.transport);
  uint16_t payload = uint16_t(udp_payload_max_);
  Rcode rc = o.answer ? o.answer->scan.rcode : Rcode::servfail;
  size_t size = 0;
  base::ByteView message = o.answer ? base::ByteView(o.answer->message) : base::ByteView();
  if (h.chain) {
    const Query& end = h.chain->query();
    ZoneIndex::How whole{flag::RA, kMessageMax, turn_, payload, true, {}};
    other_.resize(kMessageMax);
    size_t n = h.chain->alias ? zone_.respond_alias(end, whole, message, rc, other_)
               : o.answer     ? write_stored(end, *o.answer, loop_.now(), flag::RA, o.ede, kMessageMax, payload, other_)
                              : 0;
    size = n ? h.chain->compose(h.query, {other_.data(), n}, how(h.query, h.transport), scratch_, rc)
             : write_reply(h.query, {.rcode = rc, .flags = flag::RA, .udp_payload = payload, .ede = o.ede}, {}, most, scratch_);
  } else if (h.search) {
    size = zone_.respond_search(h.query, how(h.query, h.transport), *h.alias, message, rc, scratch_);
  } else if (h.alias) {
    size = zone_.respond_alias(h.query, how(h.query, h.transport), message, rc, scratch_);
  } else if (o.answer) {
    size = write_stored(h.query, *o.answer, loop_.now(), flag::RA, o.ede, most, payload, scratch_);
  } else {
    size = write_reply(h.query, {.rcode = rc, .flags = flag::RA, .udp_payload = payload, .ede = o.ede}, {}, most, scratch_);
  }
  answers_[size_t(h.zone)][std::min<size_t>(uint16_t(rc), kRcodes - 1)]->add();
  waited_[size_t(h.zone)]->observe(loop_.now() - h.asked);
  if (h.sample && hooks_.tap) hooks_.tap->answer(h.sample, h.query, {scratch_.data(), size});
  later({scratch_.data(), size});
}

}  // namespace dns
