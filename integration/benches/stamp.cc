// stamp FILE PROGRAM ARGUMENT...: writes the time (CLOCK_MONOTONIC, seconds) into FILE and becomes PROGRAM: when its process began,
// without what led to it.
#include <unistd.h>

#include <cstdio>
#include <ctime>

int main(int argc, char** argv) {
  if (argc < 3) return fprintf(stderr, "stamp FILE PROGRAM ARGUMENT...\n"), 2;
  FILE* f = fopen(argv[1], "w");
  if (!f) return perror(argv[1]), 1;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  fprintf(f, "%ld.%09ld\n", long(t.tv_sec), t.tv_nsec);
  fclose(f);
  execv(argv[2], argv + 2);
  return perror(argv[2]), 1;
}
