#include "tunnel/lan/lan_discovery.h"

#include <algorithm>
#include <set>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kProbeGap = 250ms, kSecond = 1s;
constexpr base::Duration kAnswerFrom = 20ms, kAnswerTo = 120ms;
constexpr base::Duration kFirstPause = 1s, kPauseMax = 1h;
constexpr base::Duration kLookAgain = 4s;  // a look() sooner than that after the last one changes nothing
constexpr base::Duration kGoodbye = 1s;    // RFC 6762 §10.1
constexpr int kProbes = 3, kAnnouncements = 2;
constexpr int kRenamesMax = 5;  // until the links change: whoever disputes random names does it on purpose
constexpr double kReadPerSecond = 50, kReadBurst = 100;
constexpr size_t kInstancesMax = 3;  // of one tag on one link: a process and the remains of those before

template <class T>
bool contains(const std::vector<T>& list, const T& x) {
  return std::find(list.begin(), list.end(), x) != list.end();
}

base::Counter& messages(base::Metrics& m, const char* event) {
  return m.counter(
      "edgemeshd_tunnel_lan_messages_total",
      "Multicast DNS messages on this node's links: sent, received about nodes, ignored (from elsewhere, damaged, or too many).",
      {{"event", event}});
}
base::Gauge& nodes(base::Metrics& m, const char* kind) {
  return m.gauge("edgemeshd_tunnel_lan_nodes", "Nodes heard on this node's links: peers known by name, and strangers.", {{"kind", kind}});
}
}  // namespace

LanDiscovery::Counters::Counters(base::Metrics& m)
    : sent(messages(m, "sent")),
      received(messages(m, "received")),
      ignored(messages(m, "ignored")),
      peers(nodes(m, "peer")),
      strangers(nodes(m, "stranger")) {}

LanDiscovery::LanDiscovery(Config c, Hooks h, base::Rng& rng, base::Metrics& m)
    : config_(std::move(c)), hooks_(std::move(h)), rng_(rng), counters_(m), instance_(rng.u32()) {
  if (config_.tags.size() > kLanTagsMax) config_.tags.resize(kLanTagsMax);
}

base::Duration LanDiscovery::chance(base::Duration from, base::Duration to) {
  return from + base::Duration(int64_t(rng_.below(uint64_t((to - from).count()))));
}

void LanDiscovery::set_links(std::vector<LanLink> list, base::Instant now) {
  if (list.size() > kLanLinksMax) list.resize(kLanLinksMax);
  if (list == shown_links_) return;
  shown_links_ = list;
  renames_ = 0;
  std::set<LanTag> gone;
  auto listed = [&](int index) { return std::any_of(list.begin(), list.end(), [&](const LanLink& l) { return l.index == index; }); };
  std::erase_if(entries_, [&](const Entry& e) { return !listed(e.what.link) && (gone.insert(e.what.tag), true); });
  std::erase_if(links_, [&](const auto& l) { return !listed(l.first); });
  for (auto& l : list) {
    auto [it, is_new] = links_.try_emplace(l.index);
    if (!is_new && it->second.is == l) continue;
    it->second.is = std::move(l);
    begin(it->second, now);
  }
  for (LanTag t : gone) hooks_.on_found(t);
  compute_deadline(now);
}

void LanDiscovery::begin(Link& l, base::Instant now) {
  l.probes_left = l.is.addresses.empty() ? 0 : kProbes;
  l.announcements_left = l.is.addresses.empty() ? 0 : kAnnouncements;
  l.next_probe = now + chance(0ms, kProbeGap);
  l.answer_due.reset();
  ask_soon(l, now);
}

void LanDiscovery::ask_soon(Link& l, base::Instant now) {
  l.next_query = now + chance(kAnswerFrom, kAnswerTo);
  l.query_pause = kFirstPause;
}

void LanDiscovery::look(base::Instant now) {
  for (auto& [index, l] : links_)
    if (l.query_pause > kLookAgain) ask_soon(l, now);
  compute_deadline(now);
}

// ---- in

void LanDiscovery::on_datagram(int index, const base::IpPort& from, base::ByteView b, base::Instant now) {
  auto it = links_.find(index);
  if (it == links_.end()) return;
  Link& l = it->second;
  if (!is_neighbour(l, from.ip) || !l.in.take(1, kReadPerSecond, kReadBurst, now)) return counters_.ignored.add();
  auto m = read_lan(b);
  if (!m) return counters_.ignored.add();
  if (!m->response) on_query(l, *m, now);
  for (const LanService& s : m->services) on_service(l, s, now);
  compute_deadline(now);
}

bool LanDiscovery::is_neighbour(const Link& l, const base::IpAddr& ip) const {
  bool near = (ip.is_v6() && ip.is_link_local()) ||
              std::any_of(l.is.on_link.begin(), l.is.on_link.end(), [&](const base::Cidr& c) { return c.contains(ip); });
  return near && std::none_of(shown_links_.begin(), shown_links_.end(), [&](const LanLink& own) { return contains(own.sources, ip); });
}

void LanDiscovery::on_query(Link& l, const LanMessage& m, base::Instant now) {
  if (m.browses || !m.asked.empty() || !m.proposed.empty()) counters_.received.add();
  auto own = [this](const LanLabel& x) { return is_own(x); };
  if (std::any_of(m.proposed.begin(), m.proposed.end(), own)) return rename(now);
  auto is_known = [&](LanTag tag) {
    return std::any_of(m.known.begin(), m.known.end(),
                       [&](const LanKnown& k) { return k.label == LanLabel{tag, instance_} && k.ttl >= kLanTtl.count() / 2; });
  };
  bool told = std::all_of(config_.tags.begin(), config_.tags.end(), is_known);
  bool wanted = (m.browses && !told) || std::any_of(m.asked.begin(), m.asked.end(), own);
  if (!wanted || l.probes_left > 0 || l.is.addresses.empty() || l.answer_due) return;
  l.answer_due = now + chance(kAnswerFrom, kAnswerTo);
  if (l.last_told != base::Instant{}) l.answer_due = std::max(*l.answer_due, l.last_told + kSecond);
}

bool LanDiscovery::is_own(const LanLabel& l) const { return l.instance == instance_ && contains(config_.tags, l.tag); }

// Another process says it is this one. Names have no meaning beyond their tag, so another one is as good.
void LanDiscovery::rename(base::Instant now) {
  if (renames_ >= kRenamesMax) return;
  renames_++;
  instance_ = rng_.u32();
  for (auto& [index, l] : links_) begin(l, now);
}

void LanDiscovery::on_service(Link& l, const LanService& s, base::Instant now) {
  if (is_own(s.label)) return rename(now);
  if (contains(config_.tags, s.label.tag)) return;  // an earlier process of this node, or one that pretends
  counters_.received.add();
  Found what{s.label.tag, l.is.index, s.udp_port,
             s.tcp_port,  {},         now + (s.ttl == 0 ? kGoodbye : std::min<base::Duration>(std::chrono::seconds(s.ttl), kLanTtl))};
  for (const auto& ip : s.addresses) {
    bool on_link = std::any_of(l.is.on_link.begin(), l.is.on_link.end(), [&](const base::Cidr& c) { return c.contains(ip); });
    if (on_link && !contains(l.is.addresses, ip)) what.addresses.push_back(ip);
  }
  auto of_tag = [&](const Entry& e) { return e.what.tag == s.label.tag && e.what.link == l.is.index; };
  auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return of_tag(e) && e.instance == s.label.instance; });
  if (known == entries_.end()) {
    if (what.addresses.empty() || s.ttl == 0) return;
    if (size_t(std::count_if(entries_.begin(), entries_.end(), of_tag)) >= kInstancesMax) {
      auto oldest = std::min_element(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
        return std::pair(!of_tag(a), a.heard) < std::pair(!of_tag(b), b.heard);
      });
      entries_.erase(oldest);
    } else if (entries_.size() >= kLanFoundMax && !make_room(s.label.tag)) {
      return counters_.ignored.add();
    }
    entries_.push_back({std::move(what), s.label.instance, ++heard_});
  } else {
    if (s.ttl == 0) what.addresses = known->what.addresses;  // as they were, for a second
    bool same = known->what.addresses == what.addresses && known->what.udp_port == what.udp_port && known->what.tcp_port == what.tcp_port;
    known->what = std::move(what);
    known->heard = ++heard_;
    if (same) return;
  }
  count();
  hooks_.on_found(s.label.tag);
}

// A stranger gives way to anybody, a peer only to another peer: whoever floods the link with tags only pushes out strangers.
bool LanDiscovery::make_room(LanTag tag) {
  bool peer = hooks_.is_peer(tag);
  auto worse = [&](const Entry& a, const Entry& b) {
    return std::pair(hooks_.is_peer(a.what.tag), a.heard) < std::pair(hooks_.is_peer(b.what.tag), b.heard);
  };
  auto it = std::min_element(entries_.begin(), entries_.end(), worse);
  if (it == entries_.end() || (hooks_.is_peer(it->what.tag) && !peer)) return false;
  LanTag gone = it->what.tag;
  entries_.erase(it);
  if (hooks_.is_peer(gone)) hooks_.on_found(gone);
  return true;
}

void LanDiscovery::expire(base::Instant now) {
  std::set<LanTag> gone;
  std::erase_if(entries_, [&](const Entry& e) { return now >= e.what.expires && (gone.insert(e.what.tag), true); });
  for (LanTag t : gone) hooks_.on_found(t);
}

// ---- out

void LanDiscovery::tick(base::Instant now) {
  expire(now);
  for (auto& [index, l] : links_) drive(l, now);
  count();
  compute_deadline(now);
}

void LanDiscovery::drive(Link& l, base::Instant now) {
  if (l.probes_left > 0 && now >= l.next_probe) {
    for (LanTag t : config_.tags) send(l, make_lan_probe({own_service(l, t, uint32_t(kLanTtl.count()))}));
    l.next_probe = now + kProbeGap;
    if (--l.probes_left == 0) l.next_announcement = now + kProbeGap;
  }
  if (l.probes_left == 0 && l.announcements_left > 0 && now >= l.next_announcement) {
    tell(l, uint32_t(kLanTtl.count()), now);
    l.next_announcement = now + kSecond;
    l.announcements_left--;
  }
  if (l.answer_due && now >= *l.answer_due) tell(l, uint32_t(kLanTtl.count()), now);
  if (now >= l.next_query) {
    send(l, make_lan_query(known_on(l, now)));
    l.next_query = now + l.query_pause + chance(kAnswerFrom, kAnswerTo);
    l.query_pause = std::min<base::Duration>(2 * l.query_pause, kPauseMax);
  }
}

void LanDiscovery::tell(Link& l, uint32_t ttl, base::Instant now) {
  for (LanTag t : config_.tags) send(l, make_lan_response({own_service(l, t, ttl)}));
  l.last_told = now;
  l.answer_due.reset();
}

void LanDiscovery::say_goodbye() {
  for (auto& [index, l] : links_)
    if (l.last_told != base::Instant{}) tell(l, 0, l.last_told);
}

LanService LanDiscovery::own_service(const Link& l, LanTag tag, uint32_t ttl) const {
  LanService s{{tag, instance_}, config_.udp_port, config_.tcp_port, l.is.addresses, ttl};
  if (s.addresses.size() > kLanAddressesMax) s.addresses.resize(kLanAddressesMax);
  return s;
}

std::vector<LanKnown> LanDiscovery::known_on(const Link& l, base::Instant now) const {
  std::vector<LanKnown> out;
  for (const Entry& e : entries_) {
    auto left = std::chrono::duration_cast<std::chrono::seconds>(e.what.expires - now);
    if (e.what.link == l.is.index && left >= kLanTtl / 2) out.push_back({{e.what.tag, e.instance}, uint32_t(left.count())});
  }
  return out;
}

void LanDiscovery::send(const Link& l, base::ByteView b) {
  counters_.sent.add();
  hooks_.send(l.is.index, b);
}

void LanDiscovery::compute_deadline(base::Instant now) {
  base::Instant t = base::Instant::max();
  for (const auto& [index, l] : links_) {
    t = std::min(t, l.next_query);
    if (l.probes_left > 0) t = std::min(t, l.next_probe);
    else if (l.announcements_left > 0) t = std::min(t, l.next_announcement);
    if (l.answer_due) t = std::min(t, *l.answer_due);
  }
  for (const Entry& e : entries_) t = std::min(t, e.what.expires);
  next_ = t == base::Instant::max() ? t : std::max(t, now);
}

void LanDiscovery::count() {
  std::set<LanTag> tags;
  for (const Entry& e : entries_) tags.insert(e.what.tag);
  auto peers = std::count_if(tags.begin(), tags.end(), [this](LanTag t) { return hooks_.is_peer(t); });
  counters_.peers.set(int64_t(peers));
  counters_.strangers.set(int64_t(tags.size()) - int64_t(peers));
}

// ---- what is known

std::vector<LanDiscovery::Found> LanDiscovery::found() const {
  std::vector<const Entry*> sorted;
  for (const Entry& e : entries_) sorted.push_back(&e);
  std::sort(sorted.begin(), sorted.end(), [](const Entry* a, const Entry* b) { return a->heard > b->heard; });
  std::vector<Found> out;
  for (const Entry* e : sorted) out.push_back(e->what);
  return out;
}

std::vector<base::IpPort> LanDiscovery::udp_at(LanTag tag) const {
  std::vector<base::IpPort> out;
  for (const Found& f : found())
    for (const auto& ip : f.addresses)
      if (f.tag == tag && out.size() < kLanAddressesMax && !contains(out, {ip, f.udp_port})) out.push_back({ip, f.udp_port});
  return out;
}

std::vector<base::IpPort> LanDiscovery::signal_at(LanTag tag) const {
  std::vector<base::IpPort> out;
  for (const Found& f : found())
    for (const auto& ip : f.addresses)
      if (f.tag == tag && f.tcp_port && out.size() < kLanAddressesMax && !contains(out, {ip, f.tcp_port})) out.push_back({ip, f.tcp_port});
  return out;
}

}  // namespace tunnel
