// A frontend at rest: as bytes, for the thousands that discovery and the kernel's copy keep.
#pragma once
#include "base/core/shared_bytes.h"
#include "edgemesh/intercept/intercept.h"

namespace edgemesh::detail {

base::SharedBytes pack(const Frontend&);  // the same bytes for equal frontends
Frontend unpack(const base::SharedBytes&);

}  // namespace edgemesh::detail
