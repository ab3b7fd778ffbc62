// Snapshot files: whatever is on the disk is read within bounds; what is accepted is written back to the same content. The header is
// made valid here, so that the fuzzer works on the body; half of the inputs are whole files.
#include <cstdlib>

#include "base/core/bytes.h"
#include "base/kube/snapshot.h"

using namespace base;

static std::string with_header(std::string_view body) {
  std::string s = kube::encode_snapshot({}).bytes.substr(0, 40);
  s += body;
  auto fnv = [](std::string_view b, uint64_t h) {
    for (char c : b) h = (h ^ uint8_t(c)) * 0x100000001b3;
    return h;
  };
  store_be64(reinterpret_cast<uint8_t*>(s.data() + 24), body.size());
  store_be64(reinterpret_cast<uint8_t*>(s.data() + 32), fnv(body, fnv(std::string_view(s).substr(0, 32), 0xcbf29ce484222325)));
  return s;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view in(reinterpret_cast<const char*>(data), size);
  const auto s = in.starts_with("emobject") ? kube::decode_snapshot(in) : kube::decode_snapshot(with_header(in));
  if (!s) return 0;
  const auto again = kube::encode_snapshot(*s);
  const auto back = kube::decode_snapshot(again.bytes);
  if (!back || back->objects.size() != s->objects.size() || kube::encode_snapshot(*back).bytes != again.bytes) abort();
  return 0;
}
