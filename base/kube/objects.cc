#include "base/kube/objects.h"

#include "base/conf/yaml.h"
#include "base/core/limits.h"
#include "base/kube/fields.h"
#include "base/kube/object_body.h"

namespace base::kube {
namespace {

using conf::Value;

struct KindRow {
  const char* name;
  std::string_view api_versions[3];
  bool cluster_scoped;
};
constexpr KindRow kRows[kKinds] = {
    {"Namespace", {"v1"}, true},
    {"Node", {"v1"}, true},
    {"Pod", {"v1"}, false},
    {"Service", {"v1"}, false},
    {"Endpoints", {"v1"}, false},
    {"EndpointSlice", {"discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"}, false},
    {"DestinationRule", {"networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "networking.istio.io/v1"}, false},
    {"MeshNode", {"mesh.edgemeshd.io/v1alpha1"}, true},
    {"ServiceEntry", {"networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "networking.istio.io/v1"}, false},
    {"Gateway", {"gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1"}, false},
    {"HTTPRoute", {"gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1"}, false},
    {"Gateway", {"networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "networking.istio.io/v1"}, false},
    {"VirtualService", {"networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "networking.istio.io/v1"}, false},
};

std::optional<Kind> find_kind(std::string_view api_version, std::string_view kind) {
  for (size_t i = 0; i < kKinds; ++i) {
    if (kind != kRows[i].name) continue;
    for (auto v : kRows[i].api_versions)
      if (!v.empty() && v == api_version) return Kind(i);
  }
  return std::nullopt;
}

Result<ObjectPtr> parse_object(Kind kind, const Value& v, std::string_view file) {
  FieldErrors errors{file, to_string(kind), {}};
  const Fields f(&v, errors);
  auto o = std::make_shared<Object>();
  o->place = {std::string(file), v.mark.line};
  parse_into(*o, kind, f, [&] { errors.object += " " + o->id.str(); });
  if (errors.first) return tl::unexpected(*errors.first);
  return ObjectPtr(std::move(o));
}

const std::string* text_of(const Value& v, std::string_view key) {
  const Value* m = v.find(key);
  return m ? m->text() : nullptr;
}

// Items of typed lists may leave out kind and apiVersion: they have those of the list.
Result<void> parse_one(const Value& v, std::string_view file, const std::string& list_kind, const std::string& list_api, ParsedDocument& out) {
  if (!v.map()) return fail(Code::invalid, "{}:{}:{}: an object (a map) expected, not {}", file, v.mark.line, v.mark.column, v.type_name());
  const std::string* kind = text_of(v, "kind");
  const std::string* api = text_of(v, "apiVersion");
  if (!kind && list_kind.empty()) return fail(Code::invalid, "{}:{}:{}: not a Kubernetes object: kind is missing", file, v.mark.line, v.mark.column);
  if (!api && list_api.empty()) return fail(Code::invalid, "{}:{}:{}: not a Kubernetes object: apiVersion is missing", file, v.mark.line, v.mark.column);
  const auto known = find_kind(api ? *api : list_api, kind ? *kind : list_kind);
  if (!known) return ++out.skipped, Result<void>{};
  EM_TRY_ASSIGN(ObjectPtr o, parse_object(*known, v, file));
  out.objects.push_back(std::move(o));
  return {};
}

}  // namespace

const char* to_string(Kind k) { return kRows[size_t(k)].name; }
bool is_cluster_scoped(Kind k) { return kRows[size_t(k)].cluster_scoped; }

Result<void> parse_document(const Value& v, std::string_view file, ParsedDocument& out) {
  const std::string* kind = text_of(v, "kind");
  const Value* items = v.find("items");
  if (!kind || !kind->ends_with("List") || !items) return parse_one(v, file, "", "", out);
  if (items->is_null()) return {};
  if (!items->list()) return fail(Code::invalid, "{}:{}:{}: {}: items: needs a list, not {}", file, items->mark.line, items->mark.column, *kind, items->type_name());
  const std::string item_kind = kind->substr(0, kind->size() - 4);
  const std::string* api = text_of(v, "apiVersion");
  for (const Value& item : *items->list()) EM_TRY(parse_one(item, file, item_kind, item_kind.empty() || !api ? "" : *api, out));
  return {};
}

Result<ParsedDocument> parse_objects(std::string_view text, std::string_view file) {
  ParsedDocument out;
  EM_TRY(conf::parse_yaml_stream(text, file, [&](Value&& v) { return parse_document(v, file, out); }));
  return out;
}

std::optional<ObjectName> parse_object_name(std::string_view s) {
  const size_t slash = s.find('/');
  ObjectName n;
  if (slash == std::string_view::npos) n.name = s;
  else n.ns = s.substr(0, slash), n.name = s.substr(slash + 1);
  if (n.name.empty() || n.name.find('/') != std::string::npos || slash == 0) return std::nullopt;
  return n;
}

}  // namespace base::kube
