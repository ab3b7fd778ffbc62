// Whole files: read with a bound, written so that a reader sees the old or the new content and never half of it
// (temporary beside it, fsync, rename, fsync of the folder). For state and keys, not for data paths: these calls block.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/core/result.h"

namespace base {

// Code::not_found when there is no such file, Code::limit when it is larger than bytes_max. Errors name the path.
Result<std::string> read_file(const std::string& path, size_t bytes_max);
// After an error the old content is still there and no temporary is left.
Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode);

}  // namespace base
