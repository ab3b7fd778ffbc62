#include "base/core/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <string_view>

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

bool keep_memory_out_of_core_dumps() {
  constexpr std::string_view kElfHeadersOnly = "0x10";  // core(5)
  int fd = ::open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool done = ::write(fd, kElfHeadersOnly.data(), kElfHeadersOnly.size()) == ssize_t(kElfHeadersOnly.size());
  ::close(fd);
  return done;
}

}  // namespace base
