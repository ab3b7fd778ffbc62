// ObjectMerge: objects that several files may define, resolved to one per name, and the difference to what was told before.
// Pure: no I/O. Used by DirSource.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/kube/source.h"

namespace base::kube {

class ObjectMerge {
 public:
  // The objects that `file` defines now (none: it is gone), as read: a name may occur twice.
  void set_file(const std::string& file, const std::vector<PackedObject>& objects);
  void tell_all(ObjectSink&);      // replace() and synced() for every kind
  void tell_changes(ObjectSink&);  // upsert() and remove() for what differs from what was told
  std::vector<std::string> conflicts() const;  // one line per object defined more than once

 private:
  struct KeyOrder {  // kind and name: an object stands for all of its name
    static auto key(const PackedObject& o) { return std::tuple(o.kind(), o.ns(), o.name()); }
    bool operator()(const PackedObject& a, const PackedObject& b) const { return key(a) < key(b); }
  };
  struct Entry {
    std::vector<PackedObject> definitions;  // in order of (file, line)
    PackedObject told;
    std::unique_ptr<std::string> conflict;  // few have one
  };
  static const PackedObject& winner(const Entry&);
  void note_conflict(Entry&);
  void report_conflicts(ObjectSink&);

  std::map<PackedObject, Entry, KeyOrder> entries_;
  std::map<std::string, std::vector<PackedObject>> by_file_;
  std::set<PackedObject, KeyOrder> touched_;
  std::vector<std::string> new_conflicts_;
};

}  // namespace base::kube
