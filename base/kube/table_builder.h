// Makes the ServiceTableBuilder of service_table.h: give sink() to an ObjectSource, read table() and on_change().
// Troubles that need more than one object to see (a rule nobody can serve, two MeshNodes with one overlay address) are
// logged once, stay in problems() while they last, and never stop the rest.
#pragma once
#include <memory>

#include "base/kube/service_table.h"
#include "base/kube/source.h"
#include "base/loop/loop.h"

namespace base::kube {

class TableBuilder : public ServiceTableBuilder, public ObjectSink {
 public:
  virtual void each_object(const std::function<void(const PackedObject&)>&) const = 0;  // all that the sources gave, by kind and name
  virtual void publish_now() = 0;  // on_change at once instead of at the end of the turn
  // Pods, and what speaks of host names (kHostKinds), are in no table: each change of one is told as it comes. One of the two may be none.
  // To be set before objects come.
  using OnObject = std::function<void(const PackedObject& before, const PackedObject& after)>;
  virtual void on_pod(OnObject) = 0;
  virtual void on_hosts(OnObject) = 0;
};

std::unique_ptr<TableBuilder> make_service_table_builder(Loop&);

}  // namespace base::kube
