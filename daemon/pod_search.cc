#include "daemon/pod_search.h"

#include <algorithm>

namespace edgemeshd {

using base::conf::DnsAutopath;
using base::kube::Object;
using base::kube::PackedObject;
using base::kube::PodObject;

// Sources other than an API server's give pods of all nodes; one that names no node may be here.
bool PodSearch::counts(const PodObject& p) const {
  const bool ended = p.phase == "Succeeded" || p.phase == "Failed";
  return !ended && !p.host_network && (p.node.empty() || p.node == node_);
}

bool PodSearch::wants(const Pod& p) const {
  return who_ == DnsAutopath::all ? p.label != "false" : who_ == DnsAutopath::labelled && p.label == "true";
}

void PodSearch::forget(const Object& o) {
  for (const auto& ip : std::get<PodObject>(o.body).ips) {
    const auto it = at_.find(ip);
    if (it == at_.end()) continue;
    std::erase_if(it->second, [&](const Pod& p) { return p.id == o.id; });
    if (it->second.empty()) at_.erase(it);
  }
}

void PodSearch::changed(const PackedObject& before, const PackedObject& after) {
  if (before) forget(before.unpack());
  if (!after) return;
  const Object o = after.unpack();
  const auto& pod = std::get<PodObject>(o.body);
  if (!counts(pod)) return;
  const auto label = o.labels.find(kLabel);
  for (const auto& ip : pod.ips) at_[ip].push_back({o.id, label == o.labels.end() ? "" : label->second});
}

const std::string* PodSearch::namespace_of(const base::IpAddr& client) const {
  const auto it = at_.find(client);
  if (it == at_.end()) return nullptr;
  const auto& pods = it->second;
  const bool agreed = std::ranges::all_of(pods, [&](const Pod& p) { return wants(p) && p.id.ns == pods.front().id.ns; });
  return agreed ? &pods.front().id.ns : nullptr;
}

}  // namespace edgemeshd
