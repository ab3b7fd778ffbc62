#include "base/sim/source_dir.h"

namespace base {

std::string source_path(const std::string& below) { return std::string(EDGEMESH_SOURCE_DIR "/") + below; }

}  // namespace base
