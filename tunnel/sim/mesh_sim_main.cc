// mesh_sim --seed N [--seeds COUNT] [--nodes N] [--log LEVEL]: random meshes with faults (random_mesh.h), a few nodes or a fleet. Prints one line with the trace hash
// per seed; exit 1 on a violation. A single seed that fails is run again, showing each change of the keys and paths between the
// first two nodes that did not meet.
#include <fmt/core.h>

#include <cstdlib>
#include <cstring>

#include "base/core/log.h"
#include "tunnel/sim/random_mesh.h"

namespace {

bool run(uint64_t seed, size_t nodes, bool explain) {
  tunnel::RandomMesh mesh(seed, nodes);
  bool ok = mesh.go();
  std::string replay = fmt::format("mesh_sim --seed {}{}", seed, nodes ? fmt::format(" --nodes {}", nodes) : "");
  fmt::print("{}: {}\n", replay, mesh.summary());
  if (ok) return true;
  fmt::print(stderr, "{}: {}", replay, mesh.failure());
  if (!explain || !mesh.apart()) return false;
  tunnel::RandomMesh again(seed, nodes);
  again.watch(*mesh.apart(), [](const std::string& text) { fmt::print(stderr, "{}", text); });
  again.go();
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1, count = 1, nodes = 0;
  bool verbose = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--seed")) seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (!std::strcmp(argv[i], "--seeds")) count = std::strtoull(argv[i + 1], nullptr, 10);
    if (!std::strcmp(argv[i], "--nodes")) nodes = std::strtoull(argv[i + 1], nullptr, 10);
    if (!std::strcmp(argv[i], "--log")) base::set_log_level(base::LogLevel(std::atoi(argv[i + 1]))), verbose = true;
  }
  if (!verbose) base::set_log_sink([](base::LogLevel, std::string_view) {});
  bool ok = true;
  for (uint64_t i = 0; i < count; i++) ok = run(seed + i, nodes, count == 1) && ok;
  return ok ? 0 : 1;
}
