// Any bytes as a configuration file: a configuration or one error line that begins with the file's name.
#include "base/conf/daemon_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto c = base::conf::parse_daemon_config({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
  if (!c && c.error().what.find("fuzz.yaml") != 0) __builtin_trap();
  return 0;
}
