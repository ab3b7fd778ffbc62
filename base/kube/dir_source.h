// DirSource: a directory of manifests (*.yaml, *.yml, *.json; one level of subdirectories, names beginning with '.' left
// out), or one such file. Followed with inotify; changes are taken up 20 ms after they began and only once the file has
// come to rest. Files may be written in place, renamed over, or swapped as Kubernetes does for ConfigMaps ("..data").
//
// - A file that cannot be read or parsed keeps its last good objects; one line with file:line:column is given to the sink.
// - An object defined twice: the later path (or later document) wins, with a line. Nodes and MeshNodes are the exception:
//   the first one stays, since a second node of that name must not take over its addresses.
// - Many files are read in slices of 256 KiB, a turn of the loop each; nothing is told before all are read.
// - A directory that is not there is looked for every second; until then nothing is synced.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/kube/source.h"
#include "base/loop/loop.h"

namespace base::kube {

struct FileStatus {
  std::string path;
  size_t objects = 0;   // of the last good content
  size_t skipped = 0;   // of kinds nobody reads
  std::string error;    // "" or the line
};

class DirSource : public ObjectSource {
 public:
  virtual std::vector<FileStatus> files() const = 0;  // in path order
};

std::unique_ptr<DirSource> make_dir_source(Loop&, std::string path);

}  // namespace base::kube
