// Any text: where the plain reader reads at all, values and places are the library's.
#include "base/conf/plain_yaml.h"

#include "base/conf/yaml_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto plain = base::conf::read_plain_yaml(text, 1);
  if (plain && base::conf::show(*plain) + "\n" != base::conf::by_library(text)) __builtin_trap();
  return 0;
}
