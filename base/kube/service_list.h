// ServiceList: the services of a table in name order, packed, as a list of shared sorted chunks. A copy shares every chunk; a change
// copies one chunk and the list of chunks, so successive tables share all that did not change.
#pragma once
#include <memory>
#include <vector>

#include "base/kube/packed.h"

namespace base::kube {

class ServiceList {
 public:
  ServiceList() = default;
  ServiceList(const ServiceList& o) : edit_(o.edit_ + 1), chunks_(o.chunks_), size_(o.size_) {}
  ServiceList& operator=(const ServiceList&) = delete;
  void set(PackedService);       // by its id
  void erase(const ObjectName&);
  PackedService find(const ObjectName&) const;
  size_t size() const { return size_; }
  template <class F>
  void each(F f) const {
    for (const auto& c : chunks_)
      for (const PackedService& s : c->items) f(s);
  }

 private:
  struct Chunk {
    uint64_t edit;  // the list that made it may write to it; its copies have other numbers and may not
    std::vector<PackedService> items;
  };
  template <class Id>
  size_t chunk_of(const Id&) const;  // the one that holds it or would
  std::vector<PackedService>& writable(size_t i);
  uint64_t edit_ = 0;
  std::vector<std::shared_ptr<Chunk>> chunks_;  // none empty
  size_t size_ = 0;
};

}  // namespace base::kube
