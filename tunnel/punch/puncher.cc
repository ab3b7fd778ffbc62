#include "tunnel/punch/puncher.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kWaitForPath = 400ms, kWaitForRelay = 3s;  // one that answers will soon carry
constexpr base::Duration kLives[] = {0s, 700ms, 1500ms, 900ms, 9s};  // by rung
constexpr int kRoundTrips[] = {0, 4, 6, 6, 4};                    // and so many more
base::Duration life_of(PunchRung r, base::Duration rtt) { return kLives[size_t(r)] + kRoundTrips[size_t(r)] * std::min<base::Duration>(rtt, 1s); }
constexpr base::Duration kBlindLife = 3s;
constexpr base::Duration kFollow = 200ms;  // the side that follows listens a little longer
constexpr base::Duration kAskAgain = 2s, kStunRepeat = 150ms;
constexpr int kStunTries = 8;  // 1.2 s: a relay or this node may be busy; a shorter attempt ends before
constexpr size_t kBirthsFree = 2;                 // one for each TTL of the holes; more of them only where it pays
constexpr uint8_t kShortTtl = 2, kLongerTtl = 3;  // behind one NAT; behind two
constexpr int kPredictedPorts = 16;
constexpr base::Duration kHoleGap = 500us, kHolesAgain = 4s, kProbeGap = 5ms;  // 200 per second
constexpr size_t kBirthdayProbes = 1600;  // 8 s
constexpr uint16_t kFirstPort = 1024;

bool is_private(const base::IpAddr& ip) {
  static const base::Cidr kPrivate[] = {*base::Cidr::parse("10.0.0.0/8"), *base::Cidr::parse("172.16.0.0/12"), *base::Cidr::parse("192.168.0.0/16"),
                                        *base::Cidr::parse("100.64.0.0/10")};
  return ip.is_v4() && std::any_of(std::begin(kPrivate), std::end(kPrivate), [&](const auto& c) { return c.contains(ip); });
}
// A packet there may meet a NAT of the peer's: public IPv4.
bool may_meet_nat(const base::IpAddr& ip) { return ip.is_v4() && !is_private(ip); }

}  // namespace

const char* to_string(BirthdaySkip why) {
  static constexpr const char* kNames[] = {"moved", "predictable", "unseen"};
  return kNames[size_t(why)];
}

Puncher::Puncher(bool drives, const PunchRules& rules, PunchEnv& env, base::Rng& rng)
    : drives_(drives), rules_(rules), env_(env), rng_(rng), ladder_(rules, rng) {}

Puncher::~Puncher() {
  if (has_birthday_) env_.take_birthday(false);
  for (uint32_t s : sockets_) env_.close_socket(s);
}

void Puncher::set_remote(std::vector<Candidate> list, NatClass nat) {
  remote_ = std::move(list);
  bool counts_up = !remote_nat_.delta && nat.delta && rules_.predict;
  remote_nat_ = nat;
  if (!counts_up || !own_ || rung_ != PunchRung::birthday) return;
  end();  // the peer found out while it looked
  sweep();
  ladder_.start(now_);
}

void Puncher::want(base::Instant now) {
  now_ = now;
  bool following = rung_ && !own_ && !blind_;
  if (rung_ && (rung_ != PunchRung::plain || following)) {  // it goes on; what is new is used by the next one
    if (rung_ == PunchRung::plain) probe(targets(true), 0, {0, 100}, 0);
    return;
  }
  end();
  won_.reset();
  probe(targets(false), 0, {0, 100, 400}, 0);  // neighbours: no NAT between
  wait_path_ = now + (env_.stun_servers().empty() ? kWaitForPath : kWaitForRelay);
  if (drives_) ladder_.start(now);
  else ask_at_ = std::max(now + kWaitForPath, asked_ + kAskAgain);
}

void Puncher::success(base::Instant now) {
  now_ = now;
  wait_path_.reset();
  ask_at_.reset();
  ladder_.stop();
  if (rung_) {
    won_ = rung_;
    if (own_) env_.on_attempt(*rung_, true, now - began_);
  }
  end();
  sweep();
}

void Puncher::stop() {
  wait_path_.reset();
  ask_at_.reset();
  ladder_.stop();
  won_.reset();
  end();
  sweep();
}

// ---- attempts

void Puncher::begin(PunchRung r, base::Duration life) {
  end();
  rung_ = r;
  own_ = false;
  began_ = now_;
  until_ = now_ + life;
}

void Puncher::end() {
  rung_.reset();
  blind_ = false;
  gather_.reset();
  aim_.reset();
  probes_.clear();
  if (std::exchange(has_birthday_, false)) env_.take_birthday(false);
}

void Puncher::give_up() {
  if (own_) {
    env_.on_attempt(*rung_, false, now_ - began_);
    ladder_.failed(now_);
  }
  end();
  sweep();
}

void Puncher::sweep() {
  if (rung_) return;
  std::erase_if(sockets_, [&](uint32_t s) {
    if (env_.is_socket_used(s)) return false;
    env_.close_socket(s);
    return true;
  });
}

void Puncher::tick(base::Instant now) {
  now_ = now;
  if (rung_ && now >= until_) give_up();
  if (blind_ && env_.has_path()) end();  // now it can be agreed upon
  if (!rung_ && env_.has_path()) {
    if (drives_) {
      auto next = ladder_.take(now, env_.own_nat(), remote_nat_, births_ < kBirthsFree || env_.is_busy());
      if (next) begin_own(*next);
    } else if (ask_at_ && now >= *ask_at_) {
      asked_ = now;
      ask_at_.reset();
      env_.tell({++round_, PunchRung::ask, false, {}}, [](bool) {});
    }
  }
  if (!rung_ && wait_path_ && now >= *wait_path_ && !env_.has_path()) begin_blind();
  if (gather_ && now >= gather_->due) ask_stun();
  while (!probes_.empty() && probes_.begin()->first <= now) {
    Probe p = probes_.extract(probes_.begin()).mapped();
    if (p.free || env_.take_probe(now)) env_.send_probe(p.to, p.ttl);
  }
}

std::optional<base::Instant> Puncher::next_deadline() const {
  std::optional<base::Instant> out;
  auto earliest = [&](std::optional<base::Instant> t) {
    if (t && (!out || *t < *out)) out = t;
  };
  if (rung_) earliest(until_);
  else if (env_.has_path() || !drives_) earliest(ladder_.next_deadline());
  if (!rung_ && !env_.has_path()) earliest(wait_path_);
  if (!rung_ && env_.has_path()) earliest(ask_at_);
  if (gather_) earliest(gather_->due);
  if (!probes_.empty()) earliest(probes_.begin()->first);
  return out;
}

void Puncher::begin_own(PunchRung r) {
  wait_path_.reset();
  if (r == PunchRung::birthday && !env_.take_birthday(true)) return ladder_.failed(now_);
  begin(r, life_of(r, env_.path_rtt()));
  own_ = true;
  has_birthday_ = r == PunchRung::birthday;
  round_++;
  switch (r) {
    case PunchRung::plain:
      probe(targets(false), 0, {0, 100, 400}, 0);
      probe(targets(true), 0, {0, 20}, kShortTtl);
      tell(false, {}, [this](bool ok) {
        if (ok) probe(targets(true), 0, {0, 60, 300}, 0);
      });
      return;
    case PunchRung::fresh:
      if (!gather(1)) give_up();
      return;
    case PunchRung::predict:
      if (!is_hard_side()) return tell(false, {}, [](bool) {});
      if (!gather(2)) give_up();
      return;
    default:
      look_first();
  }
}

// No path to agree on anything: both do this at about the same time, again and again.
void Puncher::begin_blind() {
  wait_path_ = now_ + kBlindLife + 2s;
  begin(PunchRung::plain, kBlindLife);
  blind_ = true;
  probe(targets(true), 0, {0, 25, 100, 400, 1600}, 0);
  probe(targets(false), 0, {400, 1600}, 0);
}

void Puncher::tell(bool ready, std::vector<Candidate> where, std::function<void(bool)> then) {
  uint32_t round = round_;
  env_.tell({round, *rung_, ready, std::move(where)}, [this, round, then = std::move(then)](bool ok) {
    if (rung_ && round == round_) then(ok);
  });
}

bool Puncher::is_hard_side() const { return env_.own_nat().is_hard() && !remote_nat_.is_hard(); }

void Puncher::on_punch(const PunchNow& p, base::Instant now) {
  now_ = now;
  if (p.rung == PunchRung::ask) {
    if (drives_ && !ladder_.is_climbing()) want(now);
    return;
  }
  bool is_answer = own_ && rung_ == p.rung && round_ == p.round && p.ready;
  if (drives_ && !is_answer) return;  // only the driver announces
  if (std::any_of(p.candidates.begin(), p.candidates.end(), [&](const auto& c) { return !is_known(c.at.ip); })) return;
  wait_path_.reset();
  ask_at_.reset();
  if (!drives_ && !begin_following(p)) return;
  switch (p.rung) {
    case PunchRung::plain:
      probe(targets(false), 0, {0, 100, 400}, 0);
      return probe(targets(true), 0, {0, 60, 300, 700}, 0);
    case PunchRung::fresh: return (void)follow_fresh(p);
    case PunchRung::predict:
      if (!p.candidates.empty()) {
        std::vector<base::IpPort> to;
        for (const auto& c : p.candidates) to.push_back(c.at);
        return probe(to, 0, {0, 250}, 0);
      }
      if (is_hard_side() && gather(2)) return;
      return give_up();
    default:
      if (p.candidates.empty() && !is_hard_side()) return give_up();
      if (!p.candidates.empty()) aim_ = p.candidates[0].at.ip;
      if (is_answer) return probe_ports(*aim_);  // the own side was looked at before it was announced
      return look_first();
  }
}

bool Puncher::begin_following(const PunchNow& p) {
  bool gamble = p.rung == PunchRung::birthday;
  if (gamble && !has_birthday_ && !env_.take_birthday(true)) return false;
  has_birthday_ = false;
  begin(p.rung, life_of(p.rung, env_.path_rtt()) + kFollow);
  has_birthday_ = gamble;
  round_ = p.round;
  return true;
}

// ---- fresh ports

bool Puncher::follow_fresh(const PunchNow& p) {
  std::vector<base::IpPort> to;
  for (const auto& c : p.candidates) to.push_back(c.at);
  if (p.ready) {  // the peer's hole for this socket is open
    if (!sockets_.empty()) probe(to, sockets_.back(), {0, 60, 300}, 0);
    return true;
  }
  fresh_to_ = std::move(to);
  if (gather(1)) return true;
  give_up();
  return false;
}

bool Puncher::gather(size_t servers) {
  auto known = env_.stun_servers();
  if (known.size() < servers) return false;
  auto socket = env_.open_socket();
  if (!socket) return false;
  sockets_.push_back(*socket);
  gather_ = Gather{};
  gather_->socket = *socket;
  gather_->servers.assign(known.begin(), known.begin() + long(servers));
  gather_->due = now_;
  ask_stun();
  return true;
}

void Puncher::ask_stun() {
  Gather& g = *gather_;
  if (g.tries == 0) rng_.fill(g.id);
  if (g.tries++ >= kStunTries) return rung_ == PunchRung::birthday ? skip_birthday(BirthdaySkip::unseen) : give_up();
  g.due = now_ + std::max(kStunRepeat, env_.path_rtt());
  env_.send_stun({g.servers[g.mapped.size()], {}, 0, g.socket}, g.id);
}

bool Puncher::on_stun(uint32_t socket, const StunMessage& m, base::Instant now) {
  now_ = now;
  if (!gather_ || gather_->socket != socket || gather_->id != m.id || !m.mapped) return false;
  gather_->mapped.push_back(*m.mapped);
  gather_->tries = 0;
  if (gather_->mapped.size() < gather_->servers.size()) ask_stun();
  else on_gathered();
  return true;
}

void Puncher::on_gathered() {
  if (rung_ == PunchRung::predict) return open_predicted();
  if (rung_ == PunchRung::birthday) return on_looked();
  Gather g = *std::exchange(gather_, std::nullopt);
  Candidate seen{CandidateKind::srflx, g.mapped.back()};
  if (own_) return tell(false, {seen}, [](bool) {});
  probe(fresh_to_, g.socket, {0, 20}, (round_ / 2) % 2 ? kShortTtl : kLongerTtl);
  uint32_t socket = g.socket;
  tell(true, {seen}, [this, socket](bool ok) {
    if (ok) probe(fresh_to_, socket, {0, 100, 400}, 0);  // the driver has sent by now: nothing of ours can come too early
  });
}

// ---- prediction

void Puncher::open_predicted() {
  Gather g = *std::exchange(gather_, std::nullopt);
  auto to = outside();
  std::vector<uint16_t> ports;
  for (const auto& m : g.mapped) ports.push_back(m.port);
  int step = port_step(ports) ? port_step(ports) : env_.own_nat().delta;
  if (!to || !step) return give_up();
  probe({*to}, g.socket, {0}, kShortTtl);
  std::vector<Candidate> next;
  for (int i = 1; i <= kPredictedPorts; i++)
    if (int port = int(ports.back()) + step * i; port >= kFirstPort && port <= 65535) next.push_back({CandidateKind::srflx, {g.mapped.back().ip, uint16_t(port)}});
  uint32_t socket = g.socket;
  tell(true, std::move(next), [this, to = *to, socket](bool ok) {
    if (ok) probe({to}, socket, {0, 100, 400}, 0);
  });
}

// ---- birthday

// The easy side asks from its own port, one server: that is the address the other side's holes are for.
void Puncher::look_first() {
  auto servers = env_.stun_servers();
  if (servers.empty()) return skip_birthday(BirthdaySkip::unseen);
  if (is_hard_side()) {
    if (!gather(std::min<size_t>(servers.size(), 2))) skip_birthday(BirthdaySkip::unseen);
    return;
  }
  gather_ = Gather{};
  gather_->servers = {servers[0]};
  gather_->due = now_;
  ask_stun();
}

void Puncher::on_looked() {
  Gather g = *std::exchange(gather_, std::nullopt);
  auto own = env_.own_outside();
  bool hard = is_hard_side();
  bool moved = !own || (hard ? own->ip != g.mapped.back().ip : *own != g.mapped.back());
  if (moved) return skip_birthday(BirthdaySkip::moved);
  if (hard && g.servers.size() == 2) {
    bool same_port = g.mapped[0] == g.mapped[1] && g.servers[0].ip != g.servers[1].ip;
    int step = env_.own_nat().delta ? 0 : port_step({g.mapped[0].port, g.mapped[1].port});  // known before: then prediction has failed
    if (step && rules_.predict) env_.on_port_step(step);
    if (same_port || (step && rules_.predict)) return skip_birthday(BirthdaySkip::predictable);
  }
  births_++;
  if (hard) open_holes(g.socket);
  else if (aim_) probe_ports(*aim_);
  else tell(false, {}, [](bool) {});
}

void Puncher::skip_birthday(BirthdaySkip why) {
  env_.on_birthday_skipped(why);
  bool anew = own_ && why == BirthdaySkip::predictable && env_.own_nat().delta;
  if (why != BirthdaySkip::unseen) env_.ask_outside();
  if (own_) anew ? ladder_.start(now_) : ladder_.failed(now_);
  end();
  sweep();
}

// One short packet from each socket: as many holes, at ports nobody knows, all for the peer's one address.
void Puncher::open_holes(uint32_t first_socket) {
  auto to = outside();
  auto own = env_.own_outside();
  if (!to || !own) return give_up();
  uint8_t ttl = births_ % 2 ? kShortTtl : kLongerTtl;
  base::Instant at = now_;
  for (size_t i = 0; i < rules_.birthday_sockets; i++) {
    auto socket = i == 0 ? std::optional(first_socket) : env_.open_socket();
    if (!socket) break;
    if (i > 0) sockets_.push_back(*socket);
    for (base::Duration again : {base::Duration{0}, kHolesAgain}) probes_.insert({at + again, {{*to, {}, 0, *socket}, ttl, true}});
    at += kHoleGap;
  }
  tell(true, {{CandidateKind::srflx, *own}}, [](bool) {});
}

void Puncher::probe_ports(const base::IpAddr& ip) {
  std::vector<uint16_t> ports(65536 - kFirstPort);
  for (size_t i = 0; i < ports.size(); i++) ports[i] = uint16_t(kFirstPort + i);
  base::Instant at = now_;
  for (size_t i = 0; i < kBirthdayProbes; i++) {
    std::swap(ports[i], ports[i + rng_.below(ports.size() - i)]);
    probes_.insert({at, {{{ip, ports[i]}, {}, 0, 0}, 0, true}});
    at += kProbeGap;
  }
}

// ---- sending

void Puncher::probe(const std::vector<base::IpPort>& to, uint32_t socket, std::initializer_list<int> moments_ms, uint8_t ttl) {
  for (int ms : moments_ms)
    for (const auto& a : to) probes_.insert({now_ + ms * 1ms, {{a, {}, 0, socket}, ttl, false}});
}

std::vector<base::IpPort> Puncher::targets(bool behind_nat) const {
  std::vector<base::IpPort> out;
  for (const auto& c : remote_)
    if (may_meet_nat(c.at.ip) == behind_nat) out.push_back(c.at);
  return out;
}

// The attempt's addresses differ from the peer's candidates in the port only: no enrolled node can aim our packets at others.
bool Puncher::is_known(const base::IpAddr& ip) const {
  return std::any_of(remote_.begin(), remote_.end(), [&](const auto& c) { return c.at.ip == ip; });
}

std::optional<base::IpPort> Puncher::outside() const {
  for (auto kind : {CandidateKind::srflx, CandidateKind::advertised, CandidateKind::host})
    for (const auto& c : remote_)
      if (c.kind == kind && may_meet_nat(c.at.ip)) return c.at;
  return std::nullopt;
}

}  // namespace tunnel
