#include "base/core/memory.h"

#include <malloc.h>

namespace base {

void give_back_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

void return_large_blocks() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
#endif
}

}  // namespace base
