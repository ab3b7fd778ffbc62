// Snapshot: the objects a source gave, as one file, so that a node can start and serve when its source cannot be reached. Pure:
// bytes in, values out; SnapshotKeeper (snapshot_keeper.h) reads and writes the file.
//
//   0  magic "emobject"      8  version, u32      12  zero, u32      16  written, u64 seconds since 1970
//   24 body length, u64      32 checksum, u64 (FNV-1a over everything else)      40  body
//
// The body is private to a version: counts and numbers as LEB128, text with its length. Any other version is not read, whatever
// it holds; the next write replaces it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/kube/packed.h"

namespace base::kube {

inline constexpr uint32_t kSnapshotVersion = 1;

struct Snapshot {
  uint64_t written_s = 0;
  std::vector<PackedObject> objects;  // sorted by kind and name
  std::vector<ObjectName> in_use;    // services this node had made first contact with
  uint64_t content = 0;              // of one that was decoded: as SnapshotBytes::content
};

struct SnapshotBytes {
  std::string bytes;
  uint64_t content = 0;              // the same for the same objects, whenever they were written
};
SnapshotBytes encode_snapshot(const Snapshot&);
// All or nothing. The error says what is wrong, without a path.
Result<Snapshot> decode_snapshot(std::string_view);

}  // namespace base::kube
