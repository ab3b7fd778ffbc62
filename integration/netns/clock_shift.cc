// Preloaded into a program: its wall clock is off by the seconds that stand in the file of CLOCK_SHIFT_FILE, read at every call, so
// that the clock can jump while the program runs. The machine's clock is left alone.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long shift() {
  const char* path = getenv("CLOCK_SHIFT_FILE");
  FILE* f = path ? fopen(path, "re") : nullptr;
  long long seconds = 0;
  if (f) {
    if (fscanf(f, "%lld", &seconds) != 1) seconds = 0;
    fclose(f);
  }
  return seconds;
}

extern "C" int clock_gettime(clockid_t id, timespec* t) noexcept {
  const long r = syscall(SYS_clock_gettime, id, t);
  if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)) t->tv_sec += shift();
  return int(r);
}

extern "C" int gettimeofday(timeval* t, void*) noexcept {
  timespec s{};
  clock_gettime(CLOCK_REALTIME, &s);
  t->tv_sec = s.tv_sec;
  t->tv_usec = s.tv_nsec / 1000;
  return 0;
}

extern "C" time_t time(time_t* out) noexcept {
  timespec s{};
  clock_gettime(CLOCK_REALTIME, &s);
  if (out) *out = s.tv_sec;
  return s.tv_sec;
}
