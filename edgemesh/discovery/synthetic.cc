#include "edgemesh/discovery/synthetic.h"

namespace edgemesh {

using base::IpAddr;

static IpAddr address_at(base::Family family, uint16_t n) {
  if (family == base::Family::v4) return IpAddr::v4(0xF0600000u | n);  // 240.96.0.0/16
  uint8_t b[16] = {0xfd, 0x65, 0x64, 0x67, 0x65, 0x6d, 0, 5};
  b[14] = uint8_t(n >> 8);
  b[15] = uint8_t(n);
  return IpAddr::v6(b);
}

const IpAddr& SyntheticAddresses::of(const std::string& node, const IpAddr& endpoint) {
  Key key{node, endpoint};
  if (auto it = by_endpoint_.find(key); it != by_endpoint_.end()) return it->second;
  size_t start = base::hash_bytes(base::as_bytes(node)) * 31 + base::hash_bytes(endpoint.bytes());
  IpAddr address;
  for (size_t i = 0; i < 0x10000; i++) {  // far more addresses than the endpoints of any node's table
    uint16_t n = uint16_t(start + i);
    if (n == 0 || n == 0xffff) continue;
    address = address_at(endpoint.family(), n);
    if (!by_address_.count(address)) break;
  }
  by_address_[address] = key;
  return by_endpoint_[key] = address;
}

const std::pair<std::string, IpAddr>* SyntheticAddresses::endpoint_at(const IpAddr& synthetic) const {
  auto it = by_address_.find(synthetic);
  return it == by_address_.end() ? nullptr : &it->second;
}

void SyntheticAddresses::keep_only(const std::set<Key>& keep) {
  std::erase_if(by_endpoint_, [&](const auto& e) { return !keep.count(e.first); });
  std::erase_if(by_address_, [&](const auto& e) { return !keep.count(e.second); });
}

}  // namespace edgemesh
