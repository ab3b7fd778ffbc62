// Finds the manifests of a source directory and tells whether a file has changed, without reading it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/core/result.h"

namespace base::kube {

struct FileSignature {  // changes whenever the content may have
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileSignature&) const = default;
};

struct FileWalk {
  std::map<std::string, FileSignature> files;
  std::vector<std::string> directories;  // the ones that were looked into
};

bool is_manifest_name(std::string_view file_name);
// path: a directory (with one level of subdirectories) or a file. Symbolic links are followed.
Result<FileWalk> walk_manifests(const std::string& path);

}  // namespace base::kube
