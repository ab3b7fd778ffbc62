// Any bytes as a list answer (in two portions) and as lines of a watch: read or refused, within the bounds.
#include "base/kube/json_objects.h"
#include "base/kube/list_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace base::kube;
  if (size < 2) return 0;
  static JsonReader json;
  const Kind kind = Kind(data[0] % kKinds);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  ListReader list({.item_bytes = 4096, .frame_bytes = 4096, .depth = 32},
                  {.on_item = [&](std::string& item) {
                     if (item.size() > 4096 || item.front() != '{') __builtin_trap();
                     auto o = json.object(kind, item, "fuzz");
                     if (!o.object && (o.trouble.find("fuzz") != 0 || o.trouble.find('\n') != std::string::npos)) __builtin_trap();
                     if (o.object && (o.object->kind() != kind || o.object->id != o.id)) __builtin_trap();
                   },
                   .on_skipped = [](const std::string&) {}});
  const size_t cut = text.size() * data[1] / 256;
  if (list.feed(text.substr(0, cut)) && list.feed(text.substr(cut)) && list.complete()) {
    std::string frame = list.frame();
    (void)json.list_frame(frame, "fuzz");
  }
  std::string line(text);
  auto e = json.event(kind, line, "fuzz");
  if (e && e->object && e->object->id != e->id) __builtin_trap();
  if (e && e->trouble.find('\n') != std::string::npos) __builtin_trap();
  if (json.status(line).message.find('\n') != std::string::npos) __builtin_trap();
  return 0;
}
