#include "dns/upstream/upstream.h"

#include <algorithm>

#include "base/core/file.h"
#include "base/core/log.h"
#include "dns/upstream/cares_link.h"
#include "dns/upstream/mdns_link.h"
#include "dns/upstream/secure_link.h"
#include "dns/wire/bailiwick.h"

namespace dns {

using base::IpPort;
using namespace std::chrono_literals;

static constexpr uint16_t kOurUdpSize = 1232;  // DNS flag day 2020: no fragments
static constexpr auto kSweep = 500ms;

bool Upstream::QuestionLess::operator()(const Question& a, const Question& b) const {
  return std::tuple(a.name.key(), a.type, a.dnssec_ok, a.checking_disabled) < std::tuple(b.name.key(), b.type, b.dnssec_ok, b.checking_disabled);
}

Upstream::Upstream(base::Loop& loop, base::Rng& rng, base::Metrics& m, UpstreamConfig c, MakeLink make)
    : loop_(loop),
      rng_(rng),
      metrics_(m),
      config_(std::move(c)),
      make_link_(std::move(make)),
      resolv_conf_(config_.resolv_conf),
      cache_(config_.cache_bytes_max, rng),
      sweep_(loop.timer([this] { retire({}); })),
      ahead_timer_(loop.timer([this] { ask_ahead(); })),
      queries_(m.counter("edgemeshd_dns_upstream_queries_total", "Queries sent to upstream servers.")),
      failures_(m.counter("edgemeshd_dns_upstream_failures_total", "Upstream queries nobody answered in time or usefully.")),
      hits_(m.counter("edgemeshd_dns_cache_hits_total", "Forwarded names answered from the cache.")),
      stale_(m.counter("edgemeshd_dns_stale_answers_total", "Answers given past their time because upstreams were silent.")),
      shared_(m.counter("edgemeshd_dns_shared_queries_total", "Questions that joined an equal one under way.")),
      refused_(m.counter("edgemeshd_dns_upstream_refused_total", "Questions not forwarded because a bound was reached.")),
      looped_(m.counter("edgemeshd_dns_upstream_loops_total",
                        "Loops found: upstream servers that were ourselves, and questions of ours that came back.")),
      hedged_(m.counter("edgemeshd_dns_upstream_hedged_total",
                        "Questions asked of a further server because the one before took longer than usual.")),
      hedge_won_(m.counter("edgemeshd_dns_upstream_hedge_won_total", "Questions the further server answered first.")),
      lies_(
          m.counter("edgemeshd_dns_upstream_lies_total", "Upstream answers not believed: another question, or records nobody asked for.")),
      prefetched_(
          m.counter("edgemeshd_dns_prefetched_total", "Names asked again before their time ended, because they are asked for often.")) {
  if (!make_link_)
    make_link_ = [this](const ServerAddress& a, bool tcp) { return make_link(a, tcp); };
  if (config_.servers.empty()) follow_resolv_conf();
  if (pools_.empty()) rebuild();
}

// Links report what is pending when they go: to nobody any more.
Upstream::~Upstream() {
  flights_.clear();
  pools_.clear();
  retired_.clear();
}

void Upstream::reload(UpstreamConfig c) {
  config_ = std::move(c);
  cache_.set_bytes_max(config_.cache_bytes_max);
  resolv_conf_ = ResolvConf(config_.resolv_conf);
  looked_ = false;
  if (config_.servers.empty()) follow_resolv_conf();
  else rebuild();
}

// ---- servers

void Upstream::follow_resolv_conf() {
  if (!config_.servers.empty() || (looked_ && loop_.now() - looked_at_file_ < 1s)) return;
  looked_ = true;
  looked_at_file_ = loop_.now();
  if (resolv_conf_.changed()) rebuild();
}

static constexpr size_t kCaBytesMax = 4 << 20;

static base::Result<std::shared_ptr<const base::TlsContext>> tls_context(const UpstreamConfig& c, bool https) {
  EM_TRY_ASSIGN(std::string ca, base::read_file(c.ca_file, kCaBytesMax));
  base::TlsConfig t{.ca_pem = std::move(ca)};
  if (https) t.alpn = {"h2"};
  return base::TlsContext::make(std::move(t));
}

static bool needs_tls(const UpstreamConfig& c) {
  auto secure = [](auto& servers) { return std::any_of(servers.begin(), servers.end(), [](auto& s) { return s.is_secure(); }); };
  return secure(c.servers) || std::any_of(c.zones.begin(), c.zones.end(), [&](auto& z) { return secure(z.servers); });
}

base::Result<void> Upstream::check(const UpstreamConfig& c) {
  if (!needs_tls(c)) return {};
  auto t = tls_context(c, false);
  if (t) return {};
  return base::fail(base::Code::invalid, "dns.upstreamCA: {}: upstreams over TLS need the certificates of their authorities there (package ca-certificates)", t.error().what);
}

static std::vector<std::string> devices_of(std::string_view names) {
  std::vector<std::string> out(1);
  for (char c : names) c == ',' ? void(out.emplace_back()) : out.back().push_back(c);
  return out;
}

std::unique_ptr<ServerLink> Upstream::make_link(const ServerAddress& a, bool tcp) {
  if (a.kind == ServerAddress::Kind::mdns) return make_mdns_link(loop_, {.devices = devices_of(a.name)});
  if (!a.is_secure()) return make_cares_link(loop_, {.server = a.at, .within = config_.budget, .tcp_only = tcp});
  return make_secure_link(loop_, {.server = a, .tls = a.kind == ServerAddress::Kind::https ? https_ : tls_, .wall = config_.wall, .within = config_.budget});
}

// Servers that stay keep what is known about their speed and the questions under way.
Upstream::PoolPtr Upstream::make_pool(const Name& zone, const std::vector<ServerAddress>& wanted, const std::vector<PoolPtr>& before) {
  std::vector<ServerPtr> servers;
  for (auto& a : wanted) {
    if (std::find(config_.own.begin(), config_.own.end(), a.at) != config_.own.end()) {
      EM_LOG(warn, "dns", "upstream {} is this server itself: not used; name another server in {}", a.text(), config_.servers.empty() ? config_.resolv_conf : "dns.upstreams");
      continue;
    }
    if (a.is_secure() && !tls_) continue;
    ServerPtr s;
    for (auto& p : before)
      for (auto& known : p->zone() == zone ? p->servers() : std::vector<ServerPtr>())
        if (known->address == a) s = known;
    if (!s) {
      s = std::make_shared<Server>();
      s->address = a;
      s->link = make_link_(a, false);
    }
    s->loops_until = {};  // the list is another one, so perhaps the way is
    servers.push_back(std::move(s));
  }
  return std::make_shared<ServerPool>(zone, std::move(servers));
}

void Upstream::rebuild() {
  auto before = std::move(pools_);
  pools_.clear();
  if (needs_tls(config_)) {  // checked before: check()
    tls_ = tls_context(config_, false).value_or(nullptr);
    https_ = tls_context(config_, true).value_or(nullptr);
  }
  for (auto& z : config_.zones) pools_.push_back(make_pool(z.zone, z.servers, before));
  std::sort(pools_.begin(), pools_.end(), [](auto& a, auto& b) { return a->zone().size() > b->zone().size(); });
  std::vector<ServerAddress> all = config_.servers;
  if (all.empty())
    for (auto& s : resolv_conf_.read()) all.push_back(s);
  pools_.push_back(make_pool(Name(), all, before));
  number_servers();
  available_ = std::any_of(pools_.begin(), pools_.end(), [](auto& p) { return !p->servers().empty(); });
  if (pools_.back()->servers().empty())
    EM_LOG(warn, "dns", "no upstream server: names outside the cluster get SERVFAIL until {} lists one", config_.servers.empty() ? config_.resolv_conf : "dns.upstreams");
  retire(std::move(before));
}

static constexpr size_t kNumbered = 16;  // further ones share the last number's figures

// Labels name no addresses: servers go by their place, in the order of view().
void Upstream::number_servers() {
  size_t n = 0;
  for (auto& p : pools_)
    for (auto& s : p->servers()) {
      s->number = ++n;
      const base::Labels which{{"server", n < kNumbered ? std::to_string(n) : "more"}};
      s->counters = {&metrics_.counter("edgemeshd_dns_server_queries_total",
                                       "Queries sent to each upstream server, by its place in edgemeshctl dns upstreams.", which),
                     &metrics_.counter("edgemeshd_dns_server_unanswered_total", "Of these, without any answer.", which),
                     &metrics_.histogram("edgemeshd_dns_server_seconds", "How long each upstream server took to answer.", which)};
    }
}

// A link may not go from inside one of its callbacks, so the timer lets go of those whose queries have ended.
void Upstream::retire(std::vector<PoolPtr> more) {
  if (more.empty()) std::erase_if(retired_, [](auto& p) { return p->in_flight() == 0; });
  for (auto& p : more) retired_.push_back(std::move(p));
  if (!retired_.empty()) sweep_->arm(kSweep);
}

const Upstream::PoolPtr& Upstream::pool_for(std::string_view key) const {
  for (auto& p : pools_)
    if (is_within(key, p->zone().key())) return p;
  return pools_.back();
}

std::vector<IpPort> Upstream::servers() const {
  std::vector<IpPort> out;
  for (auto& s : pools_.back()->servers())
    if (!s->loops(loop_.now())) out.push_back(s->address.at);
  return out;
}

std::vector<ServerView> Upstream::view() const {
  std::vector<ServerView> out;
  for (auto& p : pools_)
    for (auto& s : p->servers())
      out.push_back({s->number, p->zone().text(), s->address.text(), s->queries, s->stats.silent(), s->stats.measured(), s->stats.down(),
                     s->loops(loop_.now()), s->stats.usual(), s->stats.p95()});
  return out;
}

// ---- loops

static constexpr auto kLoopRest = 60s;
static constexpr auto kProbeEvery = 1s;  // of one server
static constexpr size_t kProbesMax = 64;
static constexpr size_t kProbeLabel = 20;

void Upstream::switch_off(Server& s, const char* how) {
  if (s.loops(loop_.now())) return;
  s.loops_until = loop_.now() + kLoopRest;
  looped_.add();
  EM_LOG(error, "dns", "upstream {} {}: not asked for {} s; name another server in {}", s.address.text(), how, kLoopRest.count(),
         config_.servers.empty() ? config_.resolv_conf : "dns.upstreams");
}

bool Upstream::is_loop(const IpPort& from) {
  for (auto& p : pools_)
    for (auto& s : p->servers()) {
      if (!s->is_own_socket(from)) continue;
      switch_off(*s, "is this server itself");
      return true;
    }
  return false;
}

// Names nobody else can know: what comes back to us under one was sent by the server we asked.
void Upstream::probe(const ServerPtr& s) {
  if (s->probed != base::Instant() && loop_.now() - s->probed < kProbeEvery) return;
  s->probed = loop_.now();
  if (probes_.size() >= kProbesMax) probes_.clear();
  std::string label(kProbeLabel, 'a'), other(kProbeLabel, 'a');
  for (auto* l : {&label, &other})
    for (char& c : *l) c = char('a' + rng_.below(26));
  Name name = *Name::from_text(label + "." + other);
  probes_[std::string(name.key())] = s;
  uint8_t b[kHeaderSize + kNameMax + 4 + kOptSize];
  size_t n = write_query(name, type::HINFO, uint16_t(rng_.u32()), kOurUdpSize, false, false, b);
  s->link->send({b, n}, [](base::ByteView) {});
}

bool Upstream::is_probe(const Query& q) {
  if (probes_.empty() || q.type != type::HINFO) return false;
  auto it = probes_.find(std::string(q.key()));
  if (it == probes_.end()) return false;
  if (auto s = it->second.lock()) switch_off(*s, "sends our own queries back to us, through others");
  probes_.erase(it);
  return true;
}

// With fewer letters a client may hit our random case by chance: then a probe does no harm, but a refusal would.
static constexpr int kLettersMin = 4, kLettersSure = 10;

bool Upstream::is_echo(const Query& q) {
  if (is_probe(q)) return true;
  if (flights_.empty()) return false;
  auto it = flights_.find(Question::of(q));
  if (it == flights_.end()) return false;
  Flight& f = it->second;
  base::ByteView asked = f.asked.wire(), name = q.name();
  if (!std::equal(asked.begin(), asked.end(), name.begin(), name.end())) return false;
  auto letters = std::count_if(asked.begin(), asked.end(), [](uint8_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; });
  if (letters < kLettersMin) return false;
  for (size_t i = 0; i < f.tried.size(); i++)
    if (f.tried[i]) probe(f.pool->servers()[i]);
  if (letters < kLettersSure) return false;
  EM_LOG(warn, "dns", "a question we sent upstream came back to us: an upstream forwards to this server; take it out of the list of upstreams");
  looped_.add();
  if (f.pool->untried(f.tried, loop_.now())) ask_next(f);
  else failed(f, Ede::network_error);
  return true;
}

// ---- asking

const StoredAnswer* Upstream::cached(const Query& q) {
  auto now = loop_.now();
  StoredAnswer* a = cache_.find(q, now);
  if (!a || (now >= a->expires && now >= a->recheck)) return nullptr;
  (now >= a->expires ? stale_ : hits_).add();
  used(*a, q, now);
  return a;
}

// ---- asking ahead

static constexpr uint32_t kOften = 3;    // uses within one life
static constexpr auto kLifeMin = 5s;     // shorter ones are over before it would pay
static constexpr size_t kAheadMax = 64;  // in one turn

// Only notes it: the answer is about to be served from where it stands.
void Upstream::used(StoredAnswer& a, const Query& q, base::Instant now) {
  const auto life = a.expires - a.stored;
  if (++a.uses < kOften || life < kLifeMin || now < a.expires - life / 10 || now >= a.expires) return;
  a.uses = 0;
  if (ahead_.size() >= kAheadMax) return;
  ahead_.push_back(Question::of(q));
  if (!ahead_timer_->armed()) ahead_timer_->arm(0s);
}

void Upstream::ask_ahead() {
  for (const Question& q : std::exchange(ahead_, {})) {
    if (flights_.contains(q)) continue;
    prefetched_.add();
    follow_resolv_conf();
    start(q, {});
  }
}

void Upstream::resolve(const Question& q, Done done) {
  auto now = loop_.now();
  if (StoredAnswer* a = cache_.find(q, now); a && (now < a->expires || now < a->recheck)) {
    (now < a->expires ? hits_ : stale_).add();
    return done({a, Ede::none});
  }
  if (auto it = flights_.find(q); it != flights_.end()) {
    if (it->second.waiters.size() >= config_.waiters_max) return refused_.add(), done({nullptr, Ede::network_error});
    shared_.add();
    it->second.waiters.push_back(std::move(done));
    return;
  }
  follow_resolv_conf();
  start(q, std::move(done));
}

// Never all lower: that is how clients ask, and what comes back in our own case is a loop.
static Name random_case(const Name& n, base::Rng& rng) {
  std::array<uint8_t, kNameMax> b;
  std::array<uint8_t, kNameMax / 8 + 1> bits;
  rng.fill(bits);
  std::copy(n.wire().begin(), n.wire().end(), b.begin());
  bool upper = false;
  size_t last = 0;
  for (size_t i = 0; i < n.size(); i++) {
    if (b[i] < 'a' || b[i] > 'z') continue;
    last = i;
    if (!(bits[i / 8] >> i % 8 & 1)) continue;
    b[i] = uint8_t(b[i] & ~0x20);
    upper = true;
  }
  if (!upper && last) b[last] = uint8_t(b[last] & ~0x20);
  return *Name::from_wire({b.data(), n.size()});
}

void Upstream::start(const Question& q, Done done) {
  const PoolPtr& pool = pool_for(q.name.key());
  auto now = loop_.now();
  bool full = flights_.size() >= config_.in_flight_max, nobody = pool->usable(now) == 0;
  if (full) refused_.add();
  if (full || nobody || pool->resting(now)) {
    if (!done) return;  // asked ahead
    std::vector<Done> one{std::move(done)};
    if (!serve_old(q, one)) one.front()({nullptr, nobody ? Ede::network_error : Ede::no_reachable_authority});
    return;
  }
  Flight& f = flights_[q];
  f.question = q;
  if (done) f.waiters.push_back(std::move(done));
  f.pool = pool;
  f.tried.assign(pool->servers().size(), 0);
  f.started = now;
  f.serial = ++serial_;
  f.timer = loop_.timer([this, q, serial = f.serial] { on_timer(q, serial); });
  f.asked = random_case(q.name, rng_);
  pool->question_sent(now);
  ask_next(f);
}

static constexpr size_t kMeasuredBeside = 2;

// The next server, and beside the first one those whose speed is not known.
void Upstream::ask_next(Flight& f) {
  auto now = loop_.now();
  const uint64_t serial = f.serial;
  const Question q = f.question;  // an answer may come, and end the flight, before send returns
  auto there = [&] {
    auto it = flights_.find(q);
    return it != flights_.end() && it->second.serial == serial;
  };
  size_t i = f.pool->next(f.tried, now);
  bool first = std::all_of(f.tried.begin(), f.tried.end(), [](uint8_t n) { return n == 0; });
  f.next_at = i == ServerPool::kNone ? f.started + config_.budget : now;
  if (i == ServerPool::kNone) return arm(f);
  f.tried[i]++;
  f.last = i;
  f.next_at = now + f.pool->patience(f.tried, i);
  arm(f);
  ask(f, i, !first);
  for (size_t more = 0; first && there() && more < kMeasuredBeside; more++) {
    size_t also = f.pool->to_measure(f.tried, now);
    if (also == ServerPool::kNone) return;
    f.tried[also]++;
    ask(f, also, false);
  }
}

void Upstream::ask(Flight& f, size_t i, bool hedge) {
  if (hedge) hedged_.add();
  send(f, f.pool->servers()[i], false, hedge);
}

void Upstream::send(Flight& f, const ServerPtr& s, bool by_tcp, bool hedge) {
  uint8_t b[kHeaderSize + kNameMax + 4 + kOptSize];
  size_t n = write_query(f.asked, f.question.type, uint16_t(rng_.u32()), kOurUdpSize, f.question.dnssec_ok, f.question.checking_disabled, b);
  queries_.add();
  s->queries++;
  s->counters.queries->add();
  s->asked = loop_.now();
  f.pending++;
  auto keep = s;  // the answer may come before send returns, and change the servers
  auto& link = by_tcp ? s->tcp : s->link;
  link->send({b, n},
             [this, a = Attempt{f.question, f.serial, s, loop_.now(), by_tcp, hedge,
                                by_tcp || s->address.kind != ServerAddress::Kind::plain}](base::ByteView answer) { on_answer(a, answer); });
}

// What a server says about its own speed counts, also when another one was faster.
void Upstream::on_answer(const Attempt& a, base::ByteView m) {
  auto server = a.server.lock();
  if (!server) return;  // it went, and its questions with it
  auto now = loop_.now();
  if (m.empty()) server->stats.unanswered(now), server->counters.unanswered->add();
  else server->counters.took->observe(now - a.sent);
  if (!m.empty() && !a.by_tcp) server->stats.answered(now - a.sent, now);
  auto it = flights_.find(a.question);
  if (it == flights_.end() || it->second.serial != a.serial) return;  // its clients have been served
  Flight& f = it->second;
  f.pending--;
  if (m.empty()) return useless(f);
  f.pool->question_answered();
  Scan s;
  if (!believed(f, m, s)) return lies_.add(), useless(f);
  bool repeated = std::equal(f.asked.wire().begin(), f.asked.wire().end(), m.begin() + kHeaderSize);
  if (!repeated && !a.sure) return ask_by_tcp(f, server);  // forged, or a server that loses the case: TCP cannot be forged from aside
  if (a.hedge) hedge_won_.add();
  accept(f, m, std::move(s));
}

bool Upstream::believed(const Flight& f, base::ByteView m, Scan& s) {
  return scan_answer(m, s) && !s.truncated() && question_is(m, f.question.name.wire(), f.question.type, klass::IN) && keeps_to_question(m);
}

void Upstream::ask_by_tcp(Flight& f, const ServerPtr& s) {
  if (!s->tcp) s->tcp = make_link_(s->address, true);
  send(f, s, true, false);
}

// One attempt came to nothing: the next server now, or wait for the others, or that was all.
void Upstream::useless(Flight& f) {
  if (f.pool->untried(f.tried, loop_.now())) return ask_next(f);
  if (f.pending) return;
  if (f.has_failure) return finish(f, StoredAnswer(f.failure));
  failed(f, f.pool->usable(loop_.now()) ? Ede::no_reachable_authority : Ede::network_error);
}

std::chrono::seconds Upstream::lifetime(const Scan& s) const {
  bool negative = s.rcode == Rcode::nxdomain || s.answers == 0;
  if (s.rcode != Rcode::noerror && s.rcode != Rcode::nxdomain) return config_.failure_kept;  // RFC 9520
  uint32_t ttl = negative ? s.negative_ttl : s.ttl_min;
  if (ttl == UINT32_MAX) return 0s;  // RFC 2308 §5: without SOA it is not kept
  return std::min(std::chrono::seconds(ttl), negative ? config_.negative_max : config_.positive_max);
}

StoredAnswer Upstream::stored(const Question& q, base::ByteView m, Scan s) const {
  if (q.type == type::A || q.type == type::AAAA) s.drop_additional();  // nobody asked for more than the address
  auto now = loop_.now();
  auto life = lifetime(s);
  bool useful = s.rcode == Rcode::noerror || s.rcode == Rcode::nxdomain;
  StoredAnswer a{{m.begin(), m.begin() + std::ptrdiff_t(s.size)}, std::move(s), now, now + life, now + life + (useful ? config_.stale_max : 0s), now};
  std::copy(q.name.wire().begin(), q.name.wire().end(), a.message.begin() + kHeaderSize);  // not our random case
  return a;
}

void Upstream::accept(Flight& f, base::ByteView m, Scan s) {
  bool useful = s.rcode == Rcode::noerror || s.rcode == Rcode::nxdomain;
  StoredAnswer a = stored(f.question, m, std::move(s));
  if (useful) return finish(f, a);
  if (!f.has_failure) f.failure = std::move(a);
  f.has_failure = true;
  useless(f);
}

// Old answers do instead, and are not tried to be refreshed for a while.
bool Upstream::serve_old(const Question& q, const std::vector<Done>& waiters) {
  StoredAnswer* a = cache_.find(q, loop_.now());
  if (!a) return false;
  a->recheck = loop_.now() + config_.stale_recheck;
  StoredAnswer copy = *a;  // a client's callback may ask for more
  for (auto& w : waiters) stale_.add(), w({&copy, Ede::stale_answer});
  return true;
}

void Upstream::failed(Flight& f, Ede why) {
  failures_.add();
  auto waiters = std::move(f.waiters);
  Question q = f.question;
  flights_.erase(q);
  if (serve_old(q, waiters)) return;
  for (auto& w : waiters) w({nullptr, why});
}

// Keeps nothing that may not be kept; what is kept replaces what was.
void Upstream::finish(Flight& f, const StoredAnswer& a) {
  bool useful = a.scan.rcode == Rcode::noerror || a.scan.rcode == Rcode::nxdomain;
  if (!useful && cache_.find(f.question, loop_.now())) return failed(f, Ede::stale_answer);
  if (!useful) failures_.add();
  auto waiters = std::move(f.waiters);
  StoredAnswer copy = a;
  if (copy.expires > copy.stored) cache_.put(f.question, copy);
  flights_.erase(Question(f.question));
  for (auto& w : waiters) w({&copy, Ede::none});
}

void Upstream::arm(Flight& f) {
  auto now = loop_.now();
  auto at = std::min(f.next_at, f.started + config_.budget);
  auto stale = f.started + config_.stale_after;
  if (stale > now) at = std::min(at, stale);
  f.timer->arm(at - now);
}

// Clients that waited long enough get an old answer or none; the question itself goes on and refreshes the cache.
void Upstream::on_timer(const Question& q, uint64_t serial) {
  auto it = flights_.find(q);
  if (it == flights_.end() || it->second.serial != serial) return;
  Flight& f = it->second;
  auto now = loop_.now();
  if (now - f.started >= config_.budget) {
    f.pool->question_unanswered();
    return f.has_failure ? finish(f, StoredAnswer(f.failure)) : failed(f, Ede::no_reachable_authority);
  }
  if (now - f.started >= config_.stale_after && !f.waiters.empty()) {
    auto waiters = std::move(f.waiters);
    f.waiters.clear();
    if (!serve_old(q, waiters)) f.waiters = std::move(waiters);
    it = flights_.find(q);  // a client's callback may have asked for more
    if (it == flights_.end() || it->second.serial != serial) return;
  }
  now >= it->second.next_at ? ask_next(it->second) : arm(it->second);
}

}  // namespace dns
