#include "cloud/ca/node_records.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/core/file.h"

namespace cloud {
namespace {

using Json = nlohmann::ordered_json;
using base::Cidr;
using base::Code;
using base::IpAddr;

constexpr size_t kRecordsBytesMax = 64 << 20;  // 100,000 nodes are ~40 MB

template <class T>
Json texts_of(const std::vector<T>& v) {
  Json out = Json::array();
  for (auto& e : v) out.push_back(e.str());
  return out;
}

// nlohmann throws on a missing key or a wrong type; load() catches it in one place.
template <class T>
std::vector<T> parsed(const Json& list) {
  std::vector<T> out;
  for (auto& e : list) out.push_back(T::parse(e.get<std::string>()).value());
  return out;
}

NodeRecord record_of(const Json& j) {
  return {parsed<IpAddr>(j.at("overlay")), parsed<Cidr>(j.at("podCIDRs")), j.at("roles").get<std::vector<std::string>>(),
          j.at("keys").get<std::vector<std::string>>(), j.at("notAfter").get<int64_t>()};
}

Json json_of(const NodeRecord& r) {
  return {{"overlay", texts_of(r.overlay_ips)}, {"podCIDRs", texts_of(r.pod_cidrs)}, {"roles", r.roles}, {"keys", r.keys}, {"notAfter", r.not_after}};
}

}  // namespace

base::Result<NodeRecords> NodeRecords::load(const std::string& path) {
  EM_TRY_ASSIGN(std::string text, base::read_file(path, kRecordsBytesMax));
  try {
    Json j = Json::parse(text);
    if (int v = j.at("version").get<int>(); v != 1) return base::fail(Code::unsupported, "{}: version {}; this program reads 1", path, v);
    NodeRecords out;
    out.trust_domain = j.at("trustDomain").get<std::string>();
    out.overlay4 = Cidr::parse(j.at("overlay4").get<std::string>()).value();
    out.overlay6 = Cidr::parse(j.at("overlay6").get<std::string>()).value();
    for (auto& [name, r] : j.at("nodes").items()) out.nodes[name] = record_of(r);
    return out;
  } catch (const std::exception& e) {
    return base::fail(Code::invalid, "{}: not readable ({}); restore it from a backup", path, e.what());
  }
}

base::Result<void> NodeRecords::save(const std::string& path) const {
  Json list = Json::object();
  for (auto& [name, r] : nodes) list[name] = json_of(r);
  Json j = {{"version", 1}, {"trustDomain", trust_domain}, {"overlay4", overlay4.str()}, {"overlay6", overlay6.str()}, {"nodes", list}};
  return base::write_file_atomic(path, j.dump(1) + "\n", 0600);
}

std::string NodeRecords::holder_of(const IpAddr& a) const {
  for (auto& [name, r] : nodes)
    if (std::find(r.overlay_ips.begin(), r.overlay_ips.end(), a) != r.overlay_ips.end()) return name;
  return {};
}

std::string NodeRecords::overlapping(const Cidr& c, const std::string& except) const {
  for (auto& [name, r] : nodes)
    if (name != except && std::any_of(r.pod_cidrs.begin(), r.pod_cidrs.end(), [&](auto& o) { return o.overlaps(c); })) return name;
  return {};
}

}  // namespace cloud
