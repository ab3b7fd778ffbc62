#include "tunnel/stun/stun_client.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kEvery = 25s, kFirstRepeat = 200ms, kRepeatMax = 5s, kForget = 90s;
}  // namespace

bool StunClient::set_servers(std::vector<base::IpPort> list) {
  if (list.size() > kStunServersMax) list.resize(kStunServersMax);
  if (list == list_) return false;
  list_ = std::move(list);
  size_t lost = std::erase_if(servers_, [&](const auto& e) { return e.second.mapped && !e.second.is_other && std::find(list_.begin(), list_.end(), e.first) == list_.end(); });
  auto is_listed = [&](const base::IpPort& at, bool other) {
    return std::any_of(list_.begin(), list_.end(), [&](const auto& l) { return other ? l.ip == at.ip : l == at; });
  };
  std::erase_if(servers_, [&](const auto& e) { return !is_listed(e.first, e.second.is_other); });
  for (const auto& at : list_) servers_[at];
  return lost > 0;
}

base::Instant StunClient::due(const Server& s) const {
  if (s.asked == base::Instant{}) return {};
  return s.asked + (s.tries == 0 ? base::Duration(kEvery) : std::min<base::Duration>(kFirstRepeat * (1 << std::min(s.tries - 1, 8)), kRepeatMax));
}

std::vector<StunClient::Ask> StunClient::tick(base::Instant now) {
  std::vector<Ask> out;
  bool all = std::exchange(urgent_, false);
  for (const auto& at : asked_at()) {
    Server& s = servers_[at];
    if (all) s.asked = {}, s.tries = 0;
    if (now < due(s)) continue;
    if (s.tries == 0) rng_.fill(s.id);
    if (s.order == 0) s.order = ++asked_;
    s.asked = now;
    s.tries++;
    out.push_back({at, s.id});
  }
  return out;
}

bool StunClient::is_news(base::Instant now) {
  bool lost = false;
  for (auto& [at, s] : servers_) {
    if (!s.mapped || now - s.answered <= kForget) continue;
    s.mapped.reset();
    lost = true;
  }
  return lost;
}

bool StunClient::on_answer(const base::IpPort& server, const StunMessage& m, base::Instant now) {
  auto it = servers_.find(server);
  if (it == servers_.end() || m.type != StunType::success || !m.mapped || it->second.id != m.id || it->second.tries == 0) return false;
  Server& s = it->second;
  s.answered = now;
  s.tries = 0;
  base::IpPort other{server.ip, m.other_port};
  if (m.other_port && !s.is_other && server.ip.is_v4()) servers_.try_emplace(other).first->second.is_other |= other != server && !std::count(list_.begin(), list_.end(), other);
  bool moved = s.mapped && s.mapped != m.mapped, was_old = std::exchange(s.is_old, false);
  if (moved && !was_old) {
    for (auto& [at, elsewhere] : servers_) {
      if (at == server) continue;
      elsewhere.is_old = true;
      elsewhere.asked = {};
    }
  }
  return std::exchange(s.mapped, m.mapped) != m.mapped || was_old;
}

std::optional<base::Instant> StunClient::next_deadline() const {
  std::optional<base::Instant> out;
  for (const auto& at : asked_at())
    if (auto it = servers_.find(at); it != servers_.end() && (!out || due(it->second) < *out)) out = due(it->second);
  return out;
}

// In the order of the list, then the other ports.
std::vector<base::IpPort> StunClient::asked_at() const {
  auto out = list_;
  for (const auto& [at, s] : servers_)
    if (s.is_other) out.push_back(at);
  return out;
}

std::vector<NatSample> StunClient::samples() const {
  std::vector<std::pair<uint64_t, NatSample>> sorted;
  for (const auto& [at, s] : servers_)
    if (s.mapped && !s.is_old) sorted.push_back({s.order, {at, *s.mapped}});
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<NatSample> out;
  for (auto& [order, sample] : sorted) out.push_back(sample);
  return out;
}

std::vector<base::IpPort> StunClient::mapped() const {
  std::vector<base::IpPort> out;
  for (const auto& [at, s] : servers_)
    if (s.mapped && !s.is_other && std::find(out.begin(), out.end(), *s.mapped) == out.end()) out.push_back(*s.mapped);
  return out;
}

std::optional<base::IpPort> StunClient::outside() const {
  for (const auto& [at, s] : servers_)
    if (s.mapped && !s.is_old && !s.is_other && s.mapped->ip.is_v4()) return s.mapped;
  return std::nullopt;
}

std::vector<base::IpPort> StunClient::answering() const {
  std::vector<base::IpPort> out, later;
  for (const auto& [at, s] : servers_) {
    if (!s.mapped || !at.ip.is_v4()) continue;
    bool known = std::any_of(out.begin(), out.end(), [&](const auto& o) { return o.ip == at.ip; });
    (known ? later : out).push_back(at);
  }
  out.insert(out.end(), later.begin(), later.end());
  return out;
}

}  // namespace tunnel
