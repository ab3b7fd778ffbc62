#include "lb/health/silent_flows.h"

#include <algorithm>

namespace lb {

using base::IpPort;

// Flows that began lately and were there in an earlier look too.
std::map<SilentFlows::Place, std::vector<const Flow*>> SilentFlows::silent_places() const {
  std::map<Place, std::vector<const Flow*>> out;
  for (const auto& [flow, seen] : unanswered_)
    if (seen.first < seen.last && looks_ - seen.first <= kLately) out[{flow.frontend, flow.endpoint}].push_back(&flow);
  std::erase_if(out, [](const auto& p) { return p.second.size() < kFlowsMin; });
  return out;
}

std::set<IpPort> SilentFlows::look(std::span<const Flow> flows) {
  ++looks_;
  std::map<Place, size_t> known;
  for (const Flow& f : flows)
    if (auto it = unanswered_.find(f); it != unanswered_.end()) it->second.last = looks_, ++known[{f.frontend, f.endpoint}];
  std::erase_if(unanswered_, [&](const auto& f) { return f.second.last != looks_; });
  for (const Flow& f : flows) {
    if (unanswered_.size() >= kFlowsMax) break;
    if (size_t& n = known[{f.frontend, f.endpoint}]; n < kOfOneMax && unanswered_.try_emplace(f, Seen{looks_, looks_}).second) ++n;
  }
  for (const auto& [place, silent] : silent_places()) suspicions_[place.first].last = looks_;
  std::erase_if(suspicions_, [&](const auto& s) { return looks_ - s.second.last > kForgottenAfter; });
  std::set<IpPort> out;
  for (const auto& [frontend, s] : suspicions_) out.insert(frontend);
  return out;
}

std::vector<SilentFlows::Silent> SilentFlows::judge(std::span<const Flow> answered) {
  if (answered.size() > kAnsweredMax) return suspicions_.clear(), std::vector<Silent>{};
  for (const Flow& f : answered) {
    const auto it = suspicions_.find(f.frontend);
    if (it == suspicions_.end() || !it->second.answered.insert(f).second || !it->second.baseline) continue;
    ++it->second.fresh[f.endpoint];
    it->second.clients.insert(f.client.ip);
  }
  std::vector<Silent> out;
  for (const auto& [place, flows] : silent_places()) {
    const Suspicion& s = suspicions_.at(place.first);
    if (!s.baseline || looks_ - *s.baseline < kProof || s.fresh.contains(place.second)) continue;
    const bool others_answer = std::ranges::any_of(s.fresh, [](const auto& f) { return f.second >= kFlowsMin; });
    const bool several = std::ranges::any_of(flows, [&](const Flow* f) { return f->client.ip != flows.front()->client.ip; });
    if (others_answer && (several || s.clients.contains(flows.front()->client.ip))) out.push_back({place.first, place.second});
  }
  for (auto& [frontend, s] : suspicions_)
    if (!s.baseline) s.baseline = looks_;
  std::erase_if(suspicions_, [](const auto& s) { return s.second.answered.size() > kAnsweredMax; });  // begins anew
  for (const Silent& gone : out)
    std::erase_if(unanswered_, [&](const auto& f) { return f.first.frontend == gone.frontend && f.first.endpoint == gone.endpoint; });
  return out;
}

}  // namespace lb
