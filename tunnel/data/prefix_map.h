// Inner addresses to values. PrefixMap: the longest prefix that holds an address (hosts are prefixes too), one hash table per
// length in use. InnerFilter: is an address inside a short list of prefixes. Raw network-order addresses, as packets have them.
#pragma once
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "base/net/addr.h"

namespace tunnel {

inline base::IpAddr inner_address(const uint8_t* a, bool v6) { return v6 ? base::IpAddr::v6(a) : base::IpAddr::v4(a); }
base::IpAddr masked(const base::IpAddr&, uint8_t len);

template <class V>
class PrefixMap {
 public:
  void set(const base::Cidr& c, V v) { of(c.ip)[c.len][masked(c.ip, c.len)] = v; }
  // Only while it still has that value: another may have taken the prefix over.
  void remove(const base::Cidr& c, V v) {
    auto& lengths = of(c.ip);
    auto table = lengths.find(c.len);
    if (table == lengths.end()) return;
    auto it = table->second.find(masked(c.ip, c.len));
    if (it == table->second.end() || it->second != v) return;
    table->second.erase(it);
    if (table->second.empty()) lengths.erase(table);
  }
  V find(const uint8_t* addr, bool v6) const {  // V{}: none
    base::IpAddr a = inner_address(addr, v6);
    for (const auto& [len, table] : v6 ? v6_ : v4_)
      if (auto it = table.find(masked(a, len)); it != table.end()) return it->second;
    return V{};
  }

 private:
  using Lengths = std::map<uint8_t, std::unordered_map<base::IpAddr, V>, std::greater<>>;
  Lengths& of(const base::IpAddr& a) { return a.is_v4() ? v4_ : v6_; }
  Lengths v4_, v6_;
};

class InnerFilter {
 public:
  InnerFilter() = default;
  explicit InnerFilter(const std::vector<base::Cidr>&);
  bool contains(const uint8_t* addr, bool v6) const;

 private:
  struct Prefix {
    bool v6;
    uint64_t net[2], mask[2];
  };
  std::vector<Prefix> prefixes_;
};

}  // namespace tunnel
