#include "base/kube/object_merge.h"

#include <algorithm>

namespace base::kube {

void ObjectMerge::set_file(const std::string& file, const std::vector<PackedObject>& objects) {
  std::vector<PackedObject> touched;
  if (auto had = by_file_.extract(file)) touched = std::move(had.mapped());
  for (const PackedObject& k : touched) std::erase_if(entries_[k].definitions, [&](const PackedObject& o) { return o.place().file == file; });
  if (!objects.empty()) by_file_[file] = objects;
  for (const PackedObject& o : objects) {
    auto& d = entries_[o].definitions;
    d.insert(std::upper_bound(d.begin(), d.end(), o, [](const PackedObject& a, const PackedObject& b) { return a.place() < b.place(); }), o);
    touched.push_back(o);
  }
  for (const PackedObject& k : touched) note_conflict(entries_[k]);
  touched_.insert(touched.begin(), touched.end());
}

const PackedObject& ObjectMerge::winner(const Entry& e) {
  const Kind k = e.definitions.front().kind();
  return k == Kind::node || k == Kind::mesh_node ? e.definitions.front() : e.definitions.back();
}

void ObjectMerge::note_conflict(Entry& e) {
  std::string line;
  if (e.definitions.size() > 1) {
    const PackedObject& used = winner(e);
    const PackedObject& other = &used == &e.definitions.back() ? e.definitions[e.definitions.size() - 2] : e.definitions.back();
    line = fmt::format("{}: {} is also defined at {}; {} is used: remove or rename one", other.place().str(), used.label(), used.place().str(), used.place().str());
  }
  if (line == (e.conflict ? *e.conflict : "")) return;
  e.conflict = line.empty() ? nullptr : std::make_unique<std::string>(line);
  if (!line.empty()) new_conflicts_.push_back(std::move(line));
}

void ObjectMerge::report_conflicts(ObjectSink& sink) {
  for (const auto& line : new_conflicts_) sink.error(line);
  new_conflicts_.clear();
}

void ObjectMerge::tell_all(ObjectSink& sink) {
  report_conflicts(sink);
  std::vector<std::vector<PackedObject>> all(kKinds);
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& e = it->second;
    if (e.definitions.empty()) {
      it = entries_.erase(it);
      continue;
    }
    e.told = winner(e);
    all[size_t(e.told.kind())].push_back(e.told);
    ++it;
  }
  touched_.clear();
  for (size_t k = 0; k < kKinds; ++k) sink.replace(Kind(k), std::move(all[k]));
  for (size_t k = 0; k < kKinds; ++k) sink.synced(Kind(k));
}

void ObjectMerge::tell_changes(ObjectSink& sink) {
  report_conflicts(sink);
  for (const PackedObject& k : std::exchange(touched_, {})) {
    Entry& e = entries_[k];
    if (e.definitions.empty()) {
      const bool was_told = bool(e.told);
      entries_.erase(k);
      if (was_told) sink.remove(k.kind(), k.id());
      continue;
    }
    const PackedObject now = winner(e);
    const bool same = e.told && e.told.same_content(now);
    e.told = now;
    if (!same) sink.upsert(now);
  }
}

std::vector<std::string> ObjectMerge::conflicts() const {
  std::vector<std::string> out;
  for (const auto& [k, e] : entries_)
    if (e.conflict) out.push_back(*e.conflict);
  return out;
}

}  // namespace base::kube
