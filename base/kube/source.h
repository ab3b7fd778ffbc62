// ObjectSource: where objects come from (a directory, an API server, the hub), seen as list and watch. Every source says
// the same things in the same order: per kind one replace() and synced(), then upsert() and remove() as things change, and
// replace() again whenever it had to list anew. Only real changes are told. All calls come on the source's loop.
#pragma once
#include <string>
#include <vector>

#include "base/kube/packed.h"

namespace base::kube {

class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  virtual void replace(Kind, std::vector<PackedObject>) = 0;  // all objects of that kind, sorted by name
  virtual void upsert(PackedObject) = 0;
  virtual void remove(Kind, const ObjectName&) = 0;
  virtual void synced(Kind) = 0;                 // the first complete list was delivered
  virtual void error(const std::string& line) = 0;  // for the operator: place, what, mend. What was good before stays
};

class ObjectSource {
 public:
  virtual ~ObjectSource() = default;
  // The sink must outlive the source. May deliver before it returns.
  virtual void start(ObjectSink&) = 0;
  // Whether Pods are wanted: a source that has to ask for each kind asks for the node's own pods only while they are.
  virtual void follow_pods(bool) {}
  // The same for the kinds that speak of host names (kHostKinds).
  virtual void follow_hosts(bool) {}
  // Standing troubles, one line each, for status pages; empty when all is well.
  virtual std::vector<std::string> problems() const = 0;
};

}  // namespace base::kube
