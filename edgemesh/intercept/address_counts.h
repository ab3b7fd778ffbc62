// How many frontends need an address: a sorted list, since there are tens of thousands of them and a batch changes few.
#pragma once
#include <algorithm>
#include <map>
#include <vector>

#include "base/net/addr.h"

namespace edgemesh::detail {

class AddressCounts {
 public:
  int of(const base::IpAddr& ip) const {
    const auto it = std::ranges::lower_bound(list_, ip, {}, &Entry::ip);
    return it != list_.end() && it->ip == ip ? it->count : 0;
  }

  void add(const std::map<base::IpAddr, int>& changes) {
    std::vector<Entry> fresh;
    for (const auto& [ip, by] : changes) {
      const auto it = std::ranges::lower_bound(list_, ip, {}, &Entry::ip);
      if (it == list_.end() || it->ip != ip) {
        if (by) fresh.push_back({ip, by});
      } else {
        none_ += long(it->count + by == 0) - long(it->count == 0);
        it->count += by;
      }
    }
    if (size_t(none_) > list_.size() / 8) {
      std::erase_if(list_, [](const Entry& e) { return e.count == 0; });
      none_ = 0;
    }
    if (fresh.size() <= 32) {
      for (const Entry& e : fresh) list_.insert(std::ranges::lower_bound(list_, e.ip, {}, &Entry::ip), e);
      return;
    }
    list_.insert(list_.end(), fresh.begin(), fresh.end());
    std::ranges::sort(list_, {}, &Entry::ip);
  }

  std::vector<base::IpAddr> all() const {
    std::vector<base::IpAddr> out;
    for (const Entry& e : list_)
      if (e.count) out.push_back(e.ip);
    return out;
  }

 private:
  struct Entry {
    base::IpAddr ip;
    int count;
  };
  std::vector<Entry> list_;
  long none_ = 0;  // entries that count nothing and wait for their address to come back
};

}  // namespace edgemesh::detail
