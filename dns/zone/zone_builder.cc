#include "dns/zone/zone_builder.h"

namespace dns {

using base::kube::ObjectName;

ZoneBuilder::ZoneBuilder(ZoneConfig c, EndpointAddresses a) : config_(std::move(c)), addresses_(std::move(a)) {}

ZoneUpdate ZoneBuilder::begin(base::kube::ServiceTablePtr table) {
  table_ = std::move(table);
  ZoneUpdate u;
  u.table = table_;
  u.serial = table_ ? uint32_t(table_->generation()) : 0;
  return u;
}

ZoneUpdate ZoneBuilder::whole(base::kube::ServiceTablePtr table) {
  ZoneUpdate u = begin(std::move(table));
  u.whole = true;
  u.put = render_zones(config_);
  if (!table_) return u;
  u.put.reserve(u.put.size() + table_->size());
  table_->each([&](const base::kube::ServicePtr& s) {
    if (Piece p = render_service(*s, config_, addresses_)) u.put.push_back(std::move(p));
  });
  return u;
}

ZoneUpdate ZoneBuilder::apply(base::kube::ServiceTablePtr table, const base::kube::ServiceDiff& diff) {
  if (!table_) return whole(std::move(table));
  ZoneUpdate u = begin(std::move(table));
  for (auto& id : diff.removed) replace(id, u);
  for (auto& id : diff.changed) replace(id, u);
  return u;
}

ZoneUpdate ZoneBuilder::again(const std::vector<ObjectName>& ids) {
  base::kube::ServiceDiff d;
  d.changed = ids;
  return apply(table_, d);
}

void ZoneBuilder::replace(const ObjectName& id, ZoneUpdate& u) const {
  auto s = table_->find(id);
  Piece p = s ? render_service(*s, config_, addresses_) : Piece();
  if (p) return u.put.push_back(std::move(p));
  if (auto name = service_name(id, config_)) u.removed.emplace_back(name->key());
}

}  // namespace dns
