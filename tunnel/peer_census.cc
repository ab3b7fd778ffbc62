#include "tunnel/peer_census.h"

#include <algorithm>
#include <set>

namespace tunnel {

std::vector<PeerHint> PeerCensus::take(std::vector<PeerHint> said, base::Instant now) {
  std::set<std::string> here;
  for (PeerHint& h : said) {
    if (h.revoked) {
      known_.erase(h.name);
      continue;
    }
    here.insert(h.name);
    Entry& e = known_[h.name];
    e = {std::move(h), std::nullopt, false};
  }
  for (auto& [name, e] : known_)
    if (!here.contains(name) && !e.gone) e.gone = now;
  freeze_bulk(now);
  std::erase_if(known_, [&](const auto& k) { return k.second.gone && !k.second.is_frozen && now - *k.second.gone >= kGoneLife; });
  std::vector<PeerHint> out;
  for (const auto& [name, e] : known_) {
    out.push_back(e.hint);
    if (!e.gone || e.is_frozen) continue;
    out.back().overlay_ips.clear();  // another node may have them by now
    out.back().pod_cidrs.clear();
  }
  return out;
}

void PeerCensus::freeze_bulk(base::Instant now) {
  auto is_recent = [&](const Entry& e) { return e.gone && !e.is_frozen && now - *e.gone < kBulkWindow; };
  auto recent = size_t(std::count_if(known_.begin(), known_.end(), [&](const auto& k) { return is_recent(k.second); }));
  auto there = size_t(std::count_if(known_.begin(), known_.end(), [&](const auto& k) { return !k.second.gone || is_recent(k.second); }));
  bool goes_on = frozen() > 0 && recent > 0;
  if (!goes_on && (recent < 2 || recent * 10 <= there)) return;
  if (!goes_on) known_before_ = there;
  for (auto& [name, e] : known_)
    if (is_recent(e)) e.is_frozen = true;
}

bool PeerCensus::is_due(base::Instant now) const {
  return std::any_of(known_.begin(), known_.end(),
                     [&](const auto& k) { return k.second.gone && !k.second.is_frozen && now - *k.second.gone >= kGoneLife; });
}

size_t PeerCensus::frozen() const {
  return size_t(std::count_if(known_.begin(), known_.end(), [](const auto& k) { return k.second.is_frozen; }));
}

}  // namespace tunnel
