// Any bytes as a manifest: parsed or refused, within the bounds, and what was parsed joins into a table.
#include "base/kube/objects.h"
#include "base/kube/service_join.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace base::kube;
  auto parsed = parse_objects({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
  if (!parsed) return parsed.error().what.find("fuzz.yaml") == 0 ? 0 : (__builtin_trap(), 0);
  for (const ObjectPtr& o : parsed->objects) {
    if (o->kind() != Kind::service) continue;
    JoinInputs in{*o, {}, nullptr, nullptr, [](const std::string&) { return std::string(); }};
    for (const ObjectPtr& x : parsed->objects) {
      if (x->kind() == Kind::endpoint_slice) in.slices.push_back(x.get());
      if (x->kind() == Kind::endpoints) in.endpoints = x.get();
      if (x->kind() == Kind::destination_rule) in.rule = x.get();
    }
    join_service(in);
  }
  return 0;
}
