// Any bytes as a file of EdgeMesh's: a configuration, or one error line that begins with the file's name; so does every note.
#include "base/conf/edgemesh_config.h"
#include "base/conf/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto root = base::conf::parse_yaml({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
  if (!root) return 0;
  (void)base::conf::is_edgemesh_config(*root);
  auto c = base::conf::map_edgemesh_config(*root, "fuzz.yaml", {"edge-1", "ns", false});
  if (!c && c.error().what.find("fuzz.yaml:") != 0) __builtin_trap();
  if (!c) return 0;
  for (const auto& n : c->notes)
    if (n.find("fuzz.yaml:") != 0) __builtin_trap();
  return 0;
}
