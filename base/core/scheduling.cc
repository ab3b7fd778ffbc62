#include "base/core/scheduling.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace base {
namespace {

// As the kernel's: the C library has none.
struct Attributes {
  uint32_t size = sizeof(Attributes), policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
};

constexpr uint64_t kShortTurnNs = 100'000;  // the least the kernel takes

}  // namespace

void run_in_background() {
  const sched_param none{};
  (void)::sched_setscheduler(0, SCHED_IDLE, &none);
}

void answer_promptly() {
  if (::sched_getscheduler(0) != SCHED_OTHER) return;  // whoever started us decided otherwise
  Attributes a;
  a.nice = ::getpriority(PRIO_PROCESS, 0);
  a.runtime = kShortTurnNs;
  (void)::syscall(SYS_sched_setattr, 0, &a, 0);
}

}  // namespace base
